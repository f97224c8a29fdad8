"""What every wrapper of a backend would otherwise repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kuramori.storage.backend import Backend, Buffer, FileInfo, FileType, Handle, StagedFile


class ForwardingBackend:
    """A :class:`~kuramori.storage.backend.Backend` that passes everything on to another one.
    Wrappers derive from it and override what they change."""

    def __init__(self, inner: Backend) -> None:
        """Pass everything on to ``inner``."""
        self._inner = inner

    @property
    def inner(self) -> Backend:
        """The wrapped backend."""
        return self._inner

    @property
    def location(self) -> str:
        """The wrapped backend's location."""
        return self._inner.location

    @property
    def connections(self) -> int:
        """The wrapped backend's number."""
        return self._inner.connections

    @property
    def worker_location(self) -> str | None:
        """The wrapped backend's, where going past the wrapper changes nothing."""
        return self._inner.worker_location

    def create(self) -> None:
        """See :class:`~kuramori.storage.backend.Backend`, as for all methods here."""
        self._inner.create()

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file."""
        self._inner.save(handle, parts)

    def stage(self) -> StagedFile:
        """Begin a pack."""
        return self._inner.stage()

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file."""
        return self._inner.load(handle, offset, length)

    def size(self, handle: Handle) -> int:
        """Return a file's size in bytes."""
        return self._inner.size(handle)

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type."""
        return self._inner.list(file_type)

    def remove(self, handle: Handle) -> None:
        """Delete a file."""
        self._inner.remove(handle)

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete what killed processes left."""
        return self._inner.remove_leftovers(older_than_seconds)

    def close(self) -> None:
        """Give back connections."""
        self._inner.close()
