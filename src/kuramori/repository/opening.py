"""Making and opening a repository (format sections 1.3 and 1.4)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kuramori.clock import Clock, SystemClock
from kuramori.crypto.derivation import KdfParameters
from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import (
    N_,
    DamagedError,
    FileNotInStorageError,
    KuramoriError,
    NoRepositoryError,
    Phrase,
    RepositoryError,
    RepositoryExistsError,
    StorageError,
    UnsupportedRepositoryError,
)
from kuramori.ids import is_hex_id
from kuramori.model.config import RepositoryConfig, decode_config, encode_config
from kuramori.model.polynomial import random_polynomial
from kuramori.repository.keys import find_master_key, write_key
from kuramori.repository.keys_ahead import KeysAhead
from kuramori.repository.listings import list_files
from kuramori.repository.repository import JustRead, Repository
from kuramori.repository.transfers import is_remote
from kuramori.secret import Secret
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle

if TYPE_CHECKING:
    from kuramori.repository.last_keys import LastKeys


def _ignore(error: KuramoriError) -> None:
    pass


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open a repository."""

    key_hint: str = ""
    """Id of the key to try first."""
    clock: Clock = field(default_factory=SystemClock)
    cache_directory: Path | None = None
    """Folder of the local cache; None for no cache."""
    last_keys_directory: Path | None = None
    """Folder of caches in which it is kept which key opened a repository last; None to keep it nowhere."""
    ledger_directory: Path | None = None
    """Folder where this machine remembers snapshots (:mod:`kuramori.ledger.snapshot_ledger`); None to
    remember nothing."""
    ledger_warning: Callable[[KuramoriError], None] = _ignore
    """Told of a ledger that is damaged or cannot be used."""
    index_directory: Path | None = None
    """Folder of caches in which the index of a large repository is kept ready; None for none. Also for a repository on
    this machine, which needs no cache."""


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """How to make a repository."""

    version: int = 2
    clock: Clock = field(default_factory=SystemClock)
    hostname: str = ""
    username: str = ""
    """Both are written into the key file, for information."""
    kdf: KdfParameters = field(default_factory=KdfParameters)
    polynomial: str = ""
    """The chunker polynomial of another repository, so that ``restic copy`` deduplicates; empty
    for a random one."""
    last_keys_directory: Path | None = None
    """As in :class:`OpenOptions`."""


def create_repository(backend: Backend, password: Secret, options: CreateOptions | None = None) -> Repository:
    """Make a repository and return it open.

    The key is written first and the config last: a place without a config is no repository, so a
    crash in between leaves one that :func:`create_repository` takes up again, if nothing else is in
    it.

    Raises:
        RepositoryExistsError: there is one, or something of one.
        UnsupportedRepositoryError: the version is not 1 or 2.
    """
    options = options or CreateOptions()
    if options.version not in (1, 2):
        raise UnsupportedRepositoryError(location=backend.location,
            detail=Phrase(N_("version {version} is not known"), version=options.version))
    backend.create()
    try:
        backend.size(CONFIG_HANDLE)
    except FileNotInStorageError:
        pass
    else:
        raise RepositoryExistsError(location=backend.location, detail=N_("it has a config file"))
    adopted = _adopt_interrupted_init(backend, password)
    master = adopted or MasterKey.random()
    polynomial = options.polynomial or f"{random_polynomial():x}"
    config = RepositoryConfig(options.version, secrets.token_hex(32), polynomial)
    decode_config(encode_config(config))
    key_id = write_key(backend, master, password, clock=options.clock, username=options.username,
                       hostname=options.hostname, parameters=options.kdf)
    sealed = master.seal(encode_config(config))
    if adopted is None:
        _refuse_other_keys(backend, key_id)
    backend.save(CONFIG_HANDLE, [sealed])
    if options.last_keys_directory is not None and is_remote(backend):
        _last_keys(options.last_keys_directory).remember(bytes(sealed), backend.location, key_id)
    return Repository(backend, config, master, key_id, options.clock)


def _refuse_other_keys(backend: Backend, key_id: str) -> None:
    """Take our new key back and raise if there are other keys, which had not been listed: they hold another master key,
    and no program could tell which of the two the config needs."""
    if any(info.name != key_id for info in backend.list(FileType.KEY)):
        with suppress(StorageError):
            backend.remove(Handle(FileType.KEY, key_id))
        raise RepositoryExistsError(location=backend.location, detail=N_(
            "keys have appeared in it just now: somebody else makes it, or the store had not listed them"))


def _adopt_interrupted_init(backend: Backend, password: Secret) -> MasterKey | None:
    """Look for what an interrupted ``init`` left: keys and nothing else. Return their master key
    if ``password`` opens one; anything that holds data is refused."""
    for file_type in (FileType.SNAPSHOT, FileType.INDEX, FileType.PACK):
        for info in backend.list(file_type):
            raise RepositoryExistsError(location=backend.location,
                                        detail=Phrase(N_("it has no config, but a file {file_type}/{name}"),
                                                      file_type=file_type.value, name=info.name))
    if not list_files(backend, FileType.KEY):
        return None
    try:
        return find_master_key(backend, password)[0]
    except RepositoryError as error:
        raise RepositoryExistsError(
            location=backend.location, detail=N_("it has no config, but keys that this password does not open")
        ) from error


def open_repository(backend: Backend, password: Secret | Callable[[], Secret],
                    options: OpenOptions | None = None) -> Repository:
    """Open the repository that lies in ``backend``.

    Args:
        password: it, or what gives it, which is asked only where there is a repository.

    Raises:
        NoRepositoryError: there is none.
        WrongPasswordError: no key opens.
        DamagedError: the config or the keys are damaged.
        UnsupportedRepositoryError: its version is not known.
    """
    options = options or OpenOptions()
    sealed, key, key_id, key_file = _unlock(backend, password, options)
    try:
        config = decode_config(open_config(backend, key, sealed))
    except (OpenError, ValueError) as error:
        raise DamagedError(what=N_("the config"), detail=str(error)) from None
    cache = None
    if options.cache_directory is not None:
        from kuramori.storage.cache import CacheBackend  # not needed by those who use none

        backend = cache = CacheBackend(backend, options.cache_directory, config.id)
    repository = Repository(backend, config, key, key_id, options.clock)
    repository.just_read = JustRead(key_file, options.clock.monotonic())
    repository.cache = cache
    if options.index_directory is not None:
        from kuramori.repository.complete_snapshots import CompleteSnapshots
        from kuramori.repository.local_index import LocalIndex  # not needed by those who use none

        repository.local_index = LocalIndex(options.index_directory, config.id, key)
        repository.complete_snapshots = CompleteSnapshots(options.index_directory, config.id, key)
    if options.ledger_directory is not None:
        _give_ledgers(repository, options.ledger_directory, options.ledger_warning)
    return repository


def _load_config(backend: Backend, ahead: KeysAhead | None) -> bytes:
    try:
        sealed = backend.load(CONFIG_HANDLE) if ahead is None else ahead.config()
    except FileNotInStorageError:
        raise NoRepositoryError(location=backend.location) from None
    if not sealed:
        raise DamagedError(what=N_("the config"), detail=N_("it is empty"))
    return sealed


def open_config(backend: Backend, key: MasterKey, sealed: bytes) -> bytes:
    """Return the plain config. It has no hash for a name, so only its MAC shows an accident on the way: it is read once
    more then.

    Args:
        sealed: as it was read.

    Raises:
        OpenError: the second reading was wrong too.
        StorageError: there was none.
    """
    try:
        return key.open(sealed)
    except OpenError:
        return key.open(backend.load(CONFIG_HANDLE))


def _unlock(backend: Backend, password: Secret | Callable[[], Secret],
            options: OpenOptions) -> tuple[bytes, MasterKey, str, bytes]:
    """Return the config as it was read, the master key, the name of the key file that it is from, and that file."""
    last_keys, ahead = None, None
    if options.last_keys_directory is not None and is_remote(backend):
        last_keys = _last_keys(options.last_keys_directory)
        likely = options.key_hint or last_keys.guess(backend.location)
        if is_hex_id(likely) or not likely:
            ahead = KeysAhead(backend, likely)
            _import_meanwhile(options)
    sealed = _load_config(backend, ahead)
    secret = password() if callable(password) else password
    if last_keys is None:
        return sealed, *find_master_key(backend, secret, options.key_hint)
    key, key_id, key_file = find_master_key(backend, secret, options.key_hint or last_keys.get(sealed), ahead)
    last_keys.remember(sealed, backend.location, key_id)
    return sealed, key, key_id, key_file


def _import_meanwhile(options: OpenOptions) -> None:
    """Import what opening needs next while the store answers: that takes about as long."""
    if options.cache_directory is not None:
        import kuramori.storage.cache
    if options.index_directory is not None:
        import kuramori.repository.complete_snapshots
        import kuramori.repository.local_index
    if options.ledger_directory is not None:
        import kuramori.ledger.pack_ledger
        import kuramori.ledger.snapshot_ledger
    import kuramori.repository.locks  # noqa: F401


def _last_keys(directory: Path) -> LastKeys:
    from kuramori.repository.last_keys import LastKeys  # not needed by those who have no cache

    return LastKeys(directory)


def _give_ledgers(repository: Repository, directory: Path, warn: Callable[[KuramoriError], None]) -> None:
    from kuramori.ledger.pack_ledger import PackLedger  # not needed by those who keep none
    from kuramori.ledger.snapshot_ledger import SnapshotLedger

    repository.ledger = SnapshotLedger(directory, repository.id, repository.clock, warn)
    repository.pack_ledger = PackLedger(directory, repository.id, repository.clock, warn)
