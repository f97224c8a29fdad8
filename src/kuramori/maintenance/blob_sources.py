"""Other repositories that may hold what one has lost: the same blobs have the same ids there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kuramori.errors import (
    DamagedError,
    FileNotInStorageError,
    RepositoryLockedError,
    SameRepositoryError,
    ShortReadError,
)
from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.progress import Progress
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType


class BlobSources:
    """Fetches blobs, each from the first repository that has it whole. Used by one thread."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        """Begin with those in the order of preference; their indexes must be loaded."""
        self.repositories = tuple(repositories)

    def fetch(self, blob_type: BlobType, blob_id: Id) -> bytes | None:
        """Return a blob, verified by its id, or None if nobody has it whole.

        Raises:
            StorageError: a repository that has it does not answer.
        """
        for repository in self.repositories:
            if not repository.index.has(blob_type, blob_id):
                continue
            try:
                return repository.load_blob(blob_type, blob_id)
            except (DamagedError, FileNotInStorageError, ShortReadError):
                continue
        return None


@contextmanager
def locked_sources(repositories: Sequence[Repository], lock: Lock, progress: Progress, *, no_lock: bool,
                   retry_seconds: float,
                   waiting: Callable[[RepositoryLockedError], None] | None) -> Iterator[BlobSources]:
    """Hold shared locks on repositories and load their indexes, for the time of a ``with`` block.

    Args:
        lock: ours, on the repository that is repaired.
        no_lock: take none on the others.

    Raises:
        SameRepositoryError: one of them is the repository that is repaired.
        RepositoryLockedError, DamagedError, StorageError: one of them cannot be used.
    """
    with ExitStack() as stack:
        for repository in repositories:
            if any(info.name == lock.name for info in repository.backend.list(FileType.LOCK)):
                raise SameRepositoryError(location=repository.backend.location)
            if not no_lock:
                stack.enter_context(hold_lock(repository, retry_seconds=retry_seconds, reading=True, waiting=waiting))
            repository.load_index(progress)
        yield BlobSources(repositories)
