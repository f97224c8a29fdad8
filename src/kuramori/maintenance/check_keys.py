"""A small part of a check: the config and the key files, which restic does not look at."""

from __future__ import annotations

import msgspec

from kuramori.crypto.derivation import SALT_LENGTH
from kuramori.crypto.master_key import SEAL_OVERHEAD, OpenError
from kuramori.errors import N_, DamagedError, FileNotInStorageError, KuramoriError, Phrase
from kuramori.ids import hash_id
from kuramori.maintenance.check_result import CheckResult
from kuramori.model.config import decode_config
from kuramori.model.key_file import KeyFile, decode_key_file
from kuramori.repository.keys import load_key_file
from kuramori.repository.opening import open_config
from kuramori.repository.repository import Repository
from kuramori.storage.backend import CONFIG_HANDLE, FileType

_LARGEST_KEY_FILE = 1024 * 1024


_SHORTLY_BEFORE = 60.0
"""What was read within so many seconds before is not read again."""


def check_config(repository: Repository, result: CheckResult) -> None:
    """Read the config again, unless that was done just now: it is the one file that has no hash for a name."""
    if _read_just_now(repository):
        return
    try:
        backend = repository.backend
        config = decode_config(open_config(backend, repository.key, backend.load(CONFIG_HANDLE)))
        if config.id != repository.config.id:
            raise ValueError("it is the config of another repository")
    except (OpenError, ValueError) as error:
        result.errors.append(DamagedError(what=N_("the config"), detail=str(error)))
    except KuramoriError as error:
        result.errors.append(error)


def check_keys(repository: Repository, result: CheckResult) -> None:
    """Look at every key file without its password.

    A malformed one is an error though another one opens: restic gives up on the whole repository
    when it meets it before the right one.
    """
    for info in sorted(repository.backend.list(FileType.KEY), key=lambda info: info.name):
        try:
            if info.size > _LARGEST_KEY_FILE:
                raise ValueError("it is far too long for a key")
            content = _load_key(repository, info.name)
            if hash_id(content).hex() != info.name:
                raise ValueError("its content does not match its name")
            problem = _key_problem(decode_key_file(content))
            if problem:
                raise ValueError(problem)
        except FileNotInStorageError:
            continue  # somebody removed it meanwhile, which is possible without a lock
        except (msgspec.DecodeError, ValueError) as error:
            result.errors.append(DamagedError(what=Phrase(N_("key {name}"), name=info.name), detail=str(error)))
        except KuramoriError as error:
            result.errors.append(error)


def _read_just_now(repository: Repository) -> bool:
    read = repository.just_read
    return read is not None and repository.clock.monotonic() - read.at < _SHORTLY_BEFORE


def _load_key(repository: Repository, name: str) -> bytes:
    read = repository.just_read
    if name == repository.key_id and read is not None and _read_just_now(repository):
        return read.key_file
    return load_key_file(repository.backend, name)


def _key_problem(key: KeyFile) -> str | None:
    if key.kdf != "scrypt":
        return f"unknown key derivation {key.kdf[:40]!r}"
    if len(key.salt) != SALT_LENGTH:
        return f"its salt has {len(key.salt)} bytes, not {SALT_LENGTH}"
    if key.N < 2 or key.N & (key.N - 1) or key.r < 1 or key.p < 1:
        return "its scrypt parameters are malformed"
    if len(key.data) <= SEAL_OVERHEAD:
        return "it is too short to hold a master key"
    return None
