"""A wrapper whose writes vanish, for ``--dry-run``."""

from __future__ import annotations

from collections.abc import Sequence

from kuramori.storage.backend import Buffer, Handle
from kuramori.storage.forwarding import ForwardingBackend


class _VanishingFile:
    """A staged file that keeps only its size."""

    def __init__(self) -> None:
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def write(self, parts: Sequence[Buffer]) -> None:
        """Count the bytes."""
        self._size += sum(len(part) for part in parts)

    def read_back(self) -> bytes:
        """Return as many zero bytes as were written."""
        return bytes(self._size)

    def commit(self, handle: Handle) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""


class DryRunBackend(ForwardingBackend):
    """Reads from another backend; what is written is counted and forgotten."""

    @property
    def worker_location(self) -> None:
        """None: a worker would write for real."""
        return None

    def create(self) -> None:
        """Do nothing."""

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Do nothing."""

    def stage(self) -> _VanishingFile:
        """Begin a file that will vanish."""
        return _VanishingFile()

    def remove(self, handle: Handle) -> None:
        """Do nothing."""

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Do nothing."""
        return 0
