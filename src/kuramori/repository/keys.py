"""Key files: every one holds the same master key, sealed with another password (format 1.3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from kuramori.clock import Clock
from kuramori.crypto.derivation import SALT_LENGTH, DerivationError, KdfParameters, derive_key
from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import (
    N_,
    AmbiguousIdError,
    DamagedError,
    FileNotInStorageError,
    KuramoriError,
    NoKeyListedError,
    Phrase,
    TooManyKeysError,
    UsageError,
    WrongPasswordError,
)
from kuramori.ids import hash_id, is_hex_id
from kuramori.model.json import go_json
from kuramori.model.key_file import KeyFile, MacKey, MasterKeyFile, decode_key_file, encode_key_file
from kuramori.model.times import format_datetime
from kuramori.repository.keys_ahead import KeysAhead
from kuramori.repository.listings import list_files
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle

MAXIMUM_KEYS_TRIED = 20
_MAXIMUM_KEY_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key file says of itself; informational only."""

    id: str
    username: str
    hostname: str
    created: str
    current: bool
    """Whether this repository was opened with it."""


def write_key(backend: Backend, master: MasterKey, password: Secret, *, clock: Clock,
              username: str, hostname: str, parameters: KdfParameters) -> str:
    """Seal the master key with a password, verify it, store it; return the key file's name."""
    salt = os.urandom(SALT_LENGTH)
    user_key = derive_key(password, salt, parameters)
    encrypt, mac_k, mac_r = master.reveal()
    document = go_json(MasterKeyFile(mac=MacKey(k=mac_k, r=mac_r), encrypt=encrypt))
    sealed = bytes(user_key.seal(document))
    content = encode_key_file(KeyFile(
        created=format_datetime(clock.now()), username=username, hostname=hostname, kdf="scrypt",
        N=parameters.N, r=parameters.r, p=parameters.p, salt=salt, data=sealed,
    ))
    if open_key_file(content, password, "the new key").reveal() != master.reveal():
        raise DamagedError(what=N_("the new key"), detail=N_("it does not open to the master key"))
    name = hash_id(content).hex()
    backend.save(Handle(FileType.KEY, name), [content])
    return name


def open_key_file(content: bytes, password: Secret, what: str) -> MasterKey:
    """Return the master key of a key file.

    Raises:
        OpenError: the password is wrong (or ``data`` was changed: the two cannot be told apart).
        DamagedError: the file is malformed.
    """
    try:
        key_file = decode_key_file(content)
        if key_file.kdf != "scrypt":
            raise DamagedError(what=what, detail=Phrase(N_("unknown key derivation {kdf!r}"), kdf=key_file.kdf[:40]))
        user_key = derive_key(password, key_file.salt, KdfParameters(key_file.N, key_file.r, key_file.p))
        document = user_key.open(key_file.data)
        master = msgspec.json.decode(document, type=MasterKeyFile)
        return MasterKey(master.encrypt, master.mac.k, master.mac.r)
    except (msgspec.DecodeError, ValueError, DerivationError) as error:
        raise DamagedError(what=what, detail=str(error)) from None


def find_master_key(backend: Backend, password: Secret, key_hint: str = "",
                    ahead: KeysAhead | None = None) -> tuple[MasterKey, str, bytes]:
    """Return the master key that the password opens, the name of its key file and that file.

    A damaged key file does not keep the others from being tried; its error is raised when none
    opens.

    Args:
        ahead: what was asked for already; None for nothing.

    Raises:
        WrongPasswordError: no key opens.
        NoKeyListedError: there is none.
        TooManyKeysError: the limit was reached before one opened.
        DamagedError: no key opens, and at least one is damaged.
    """
    damaged: DamagedError | None = None
    tried = 0
    for name in _names_to_try(backend, key_hint, ahead):
        if tried >= MAXIMUM_KEYS_TRIED:
            raise TooManyKeysError(count=tried)
        tried += 1
        try:
            content = (ahead.content(name) if ahead is not None else None) or load_key_file(backend, name)
            if len(content) > _MAXIMUM_KEY_FILE:
                raise DamagedError(what=Phrase(N_("key {name}"), name=name), detail=N_("it is far too long for a key"))
            return open_key_file(content, password, f"key {name}"), name, content
        except OpenError:
            continue
        except FileNotInStorageError:
            tried -= 1  # a wrong hint, or somebody is changing a password
        except DamagedError as error:
            damaged = damaged or error
    if damaged is not None:
        raise damaged
    if not tried:
        raise NoKeyListedError(location=backend.location)
    raise WrongPasswordError(location=backend.location)


def load_key_file(backend: Backend, name: str) -> bytes:
    """Return a key file. One that does not match its name is read once more, because an accident on the way would look
    like a wrong password; what comes then may still not match, and may open all the same.

    Raises:
        FileNotInStorageError, StorageError
    """
    handle = Handle(FileType.KEY, name)
    content = backend.load(handle)
    return content if hash_id(content).hex() == name else backend.load(handle)


def _names_to_try(backend: Backend, key_hint: str, ahead: KeysAhead | None) -> Iterator[str]:
    whole = [key_hint] if is_hex_id(key_hint) else []
    yield from whole  # where it opens, nothing needs to be listed
    names = ahead.names() if ahead is not None else []
    names = names or [info.name for info in list_files(backend, FileType.KEY)]
    hinted = whole or [name for name in names if key_hint and name.startswith(key_hint)]
    yield from (name for name in hinted if name not in whole)
    yield from (name for name in names if name not in hinted)
    # Before the password is called wrong: is there a key that was not listed?
    yield from (info.name for info in list_files(backend, FileType.KEY) if info.name not in {*names, *hinted})


def list_keys(repository: Repository) -> list[KeyInfo]:
    """Return what every readable key file says, sorted by name.

    Raises:
        DamagedError: one of them is malformed.
    """
    found = []
    for info in sorted(repository.backend.list(FileType.KEY), key=lambda info: info.name):
        content = repository.load_file(FileType.KEY, info.name)
        try:
            key_file = decode_key_file(content)
        except (msgspec.DecodeError, ValueError) as error:
            raise DamagedError(what=Phrase(N_("key {name}"), name=info.name), detail=str(error)) from None
        found.append(KeyInfo(info.name, key_file.username, key_file.hostname, key_file.created,
                             info.name == repository.key_id))
    return found


def add_key(repository: Repository, password: Secret, *, username: str = "", hostname: str = "",
            parameters: KdfParameters | None = None) -> str:
    """Add a key for another password; return its name."""
    return write_key(repository.backend, repository.key, password, clock=repository.clock,
                     username=username, hostname=hostname, parameters=parameters or KdfParameters())


def remove_key(repository: Repository, id_prefix: str) -> str:
    """Delete a key; return its name. The key in use is refused.

    Raises:
        UsageError: no key or several begin so, or it is the one in use.
    """
    names = [info.name for info in repository.backend.list(FileType.KEY) if info.name.startswith(id_prefix)]
    if not names or not id_prefix:
        raise UsageError(detail=Phrase(N_("there is no key {id}"), id=id_prefix))
    if len(names) > 1:
        raise AmbiguousIdError(name=id_prefix, count=len(names))
    if names[0] == repository.key_id:
        raise UsageError(detail=N_("the key that opened the repository cannot be removed"))
    repository.remove(FileType.KEY, names[0])
    return names[0]


def change_password(repository: Repository, password: Secret, *, username: str = "", hostname: str = "",
                    parameters: KdfParameters | None = None) -> str:
    """Replace the key in use by one for another password; return the new key's name.

    The new key is stored and read back before the old one is deleted.
    """
    name = add_key(repository, password, username=username, hostname=hostname, parameters=parameters)
    content = repository.load_file(FileType.KEY, name)
    try:
        open_key_file(content, password, f"key {name}")
    except OpenError as error:
        raise DamagedError(what=Phrase(N_("key {name}"), name=name), detail=str(error)) from None
    old, repository.key_id = repository.key_id, name
    try:
        repository.remove(FileType.KEY, old)
    except FileNotInStorageError:
        pass
    except KuramoriError:
        repository.key_id = old
        raise
    return name
