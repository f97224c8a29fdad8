"""Whether a store lets us delete, found out before anything depends on it.

A store for appending only (a REST server, or a policy of an object store) lets a backup in and keeps
everything. A prune that found that out at its end would have written new packs beside the old ones.
"""

from __future__ import annotations

import secrets

from kuramori.errors import DeletionRefusedError, FileNotInStorageError, StoragePermissionError
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType, Handle


def require_deletion(repository: Repository) -> None:
    """Return if files of the repository may be deleted, as far as the store says. Asks to delete an index file
    that does not exist: nothing changes. A folder of this machine is not asked: what its rights forbid shows with
    the first lock.

    Raises:
        DeletionRefusedError: they may not.
        StorageError: the store does not answer.
    """
    if repository.backend.worker_location is not None:
        return
    try:
        repository.backend.remove(Handle(FileType.INDEX, secrets.token_hex(32)))
    except FileNotInStorageError:
        return
    except StoragePermissionError:
        raise DeletionRefusedError(location=repository.backend.location) from None
