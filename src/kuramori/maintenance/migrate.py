"""``migrate``: bring a repository to a newer form of the format, as restic does.

There is one migration: version 1 becomes 2, which can compress. Nothing but the config changes; what
is stored stays as it is, and ``prune --repack-uncompressed`` compresses it when one wants.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kuramori.crypto.master_key import OpenError
from kuramori.errors import (
    N_,
    ConfigCopyError,
    DamagedError,
    MigrationRefusedError,
    Phrase,
    RepositoryLockedError,
    UsageError,
)
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.kept_copies import keep_copy
from kuramori.model.config import RepositoryConfig, decode_config, encode_config
from kuramori.progress import Progress
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.storage.backend import CONFIG_HANDLE

UPGRADE_TO_VERSION_2 = "upgrade_repo_v2"


@dataclass(frozen=True, slots=True)
class Migration:
    """A change that can be made to a repository."""

    name: str
    """As restic names it."""
    description: str
    """One line, marked for translation."""


_MIGRATIONS = (Migration(UPGRADE_TO_VERSION_2, N_("make the repository one of version 2, which can compress")),)


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """How to migrate."""

    copies: str | None = None
    """A folder where a copy of the old config is kept, as ``config-<repository id>-version-1``; made if it
    is missing; None for no copy."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class MigrateResult:
    """What came of it."""

    applied: bool = False
    """False where the repository is of the new form already."""
    copy: str | None = None
    """Where the copy of the old config is."""


def applicable_migrations(repository: Repository) -> list[Migration]:
    """Return what can be done to a repository."""
    return [migration for migration in _MIGRATIONS if repository.version < 2]


def migrate(repository: Repository, name: str, options: MigrateOptions | None = None,
            progress: Progress | None = None) -> MigrateResult:
    """Apply a migration. Takes an exclusive lock and checks the repository before; may be called again.

    Raises:
        UsageError: no migration has that name.
        MigrationRefusedError: the check found damage; nothing was changed.
        ConfigCopyError: the copy could not be kept; nothing was changed.
        RepositoryLockedError, LockLostError, StorageError: the config is the old one or the new one, whole.
    """
    if name not in {migration.name for migration in _MIGRATIONS}:
        raise UsageError(detail=Phrase(N_("there is no migration {name}"), name=name))
    options = options or MigrateOptions()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock:
        return _upgrade(repository, options, lock, progress)


def _upgrade(repository: Repository, options: MigrateOptions, lock: Lock, progress: Progress | None) -> MigrateResult:
    result = MigrateResult()
    old = repository.backend.load(CONFIG_HANDLE)
    config = _decode(repository, old)
    if config.version >= 2:  # also where somebody did it after we had opened the repository
        repository.config = config
        return result
    found = check(repository, CheckOptions(no_lock=True), progress)
    if not found.sound:
        raise MigrationRefusedError(location=repository.backend.location, count=len(found.errors),
                                    detail=found.errors[0])
    if options.copies is not None:
        try:
            os.makedirs(options.copies, mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigCopyError(path=options.copies, detail=error.strerror or str(error)) from None
        result.copy = keep_copy(options.copies, f"config-{repository.id}-version-1", old, ConfigCopyError)
    new = msgspec.structs.replace(config, version=2)
    sealed = repository.key.seal(encode_config(new))
    lock.check()
    # One step for every store: whoever looks sees the old config or the new one.
    repository.backend.save(CONFIG_HANDLE, [sealed])
    try:
        repository.config = _decode(repository, repository.backend.load(CONFIG_HANDLE))
    except DamagedError:
        repository.backend.save(CONFIG_HANDLE, [old])
        raise
    result.applied = True
    return result


def _decode(repository: Repository, sealed: bytes) -> RepositoryConfig:
    try:
        config = decode_config(repository.key.open(sealed))
        if config.id != repository.id:
            raise ValueError("it is the config of another repository")
    except (OpenError, ValueError) as error:
        raise DamagedError(what=N_("the config"), detail=str(error)) from None
    return config
