"""A wrapper whose writes vanish, for ``--dry-run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kuramori.storage.backend import Backend, Buffer, FileInfo, FileType, Handle


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


class DryRunBackend:
    """Reads from another backend; what is written is counted and forgotten."""

    def __init__(self, inner: Backend) -> None:
        """Read from ``inner``."""
        self._inner = inner

    @property
    def inner(self) -> Backend:
        """The backend that is read from."""
        return self._inner

    @property
    def location(self) -> str:
        """Where the inner one is."""
        return self._inner.location

    @property
    def connections(self) -> int:
        """As the inner one's."""
        return self._inner.connections

    @property
    def worker_location(self) -> str | None:
        """None: a worker would write for real."""
        return None

    def create(self) -> None:
        """Do nothing."""

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Do nothing."""

    def stage(self) -> _VanishingFile:
        """Begin a file that will vanish."""
        return _VanishingFile()

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Read from the inner backend."""
        return self._inner.load(handle, offset, length)

    def size(self, handle: Handle) -> int:
        """Ask the inner backend."""
        return self._inner.size(handle)

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """List the inner backend."""
        return self._inner.list(file_type)

    def remove(self, handle: Handle) -> None:
        """Do nothing."""

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Do nothing."""
        return 0

    def close(self) -> None:
        """Close the inner backend."""
        self._inner.close()
