"""Stores that refuse for a time to let go of what was written (object lock)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend

RETAINED_TYPES = frozenset({FileType.CONFIG, FileType.KEY, FileType.SNAPSHOT, FileType.PACK})
"""What is retained. Locks must go when their holder goes. Index files are replaced by every prune and can be made anew
from the packs."""


@runtime_checkable
class RetainingStore(Protocol):
    """What a store can do besides :class:`~kuramori.storage.backend.Backend`. May be used by several threads."""

    @property
    def retention_days(self) -> int | None:
        """For how long what is written is retained; None for not at all."""
        ...

    def retained_until(self, handle: Handle) -> datetime | None:
        """Return until when a file may not be deleted (aware), None if it may be now, or is not there.

        Raises:
            StorageError
        """
        ...

    def extend_retention(self, handle: Handle, until: datetime) -> None:
        """Retain a file until an instant (aware) that is later than before. One that is not there is left alone.

        Raises:
            StorageError
        """
        ...


def retaining_store(backend: Backend) -> RetainingStore | None:
    """Return the store behind all wrappers if it was told to retain what is written, else None. What is asked of it is
    not tried again."""
    while isinstance(backend, ForwardingBackend):
        backend = backend.inner
    return backend if isinstance(backend, RetainingStore) and backend.retention_days is not None else None
