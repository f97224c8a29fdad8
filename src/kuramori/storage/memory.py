"""A repository in memory: for tests, and for trying things out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

from kuramori.errors import N_, FileNotInStorageError, Phrase, ShortReadError
from kuramori.ids import is_hex_id
from kuramori.storage.backend import CONFIG_HANDLE, Buffer, FileInfo, FileType, Handle


class MemoryBackend:
    """A :class:`~kuramori.storage.backend.Backend` that keeps its files in a dictionary."""

    def __init__(self, files: Mapping[Handle, bytes] | None = None, *, name: str = "memory",
                 connections: int = 2) -> None:
        """Begin with a copy of ``files`` (such as another one's :meth:`snapshot`), or empty.

        Args:
            name: shown as its location.
            connections: how many operations at once it claims to like.
        """
        self._files: dict[Handle, bytes] = dict(files or {})
        self._guard = threading.Lock()
        self._name = name
        self._connections = connections

    @property
    def location(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def connections(self) -> int:
        """How many operations at once make sense."""
        return self._connections

    @property
    def worker_location(self) -> str | None:
        """None: no other process sees this memory."""
        return None

    def snapshot(self) -> dict[Handle, bytes]:
        """Return a copy of all files as they are at this moment."""
        with self._guard:
            return dict(self._files)

    def create(self) -> None:
        """Nothing needs to be made."""

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Keep a file."""
        content = b"".join(parts)
        with self._guard:
            self._files[_checked(handle)] = content

    def stage(self) -> _StagedMemoryFile:
        """Begin a pack whose name is not known yet."""
        return _StagedMemoryFile(self)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file."""
        content = self._content(handle, "load")
        if length is None:
            length = max(len(content) - offset, 0)
        if offset + length > len(content):
            raise ShortReadError(location=self.location, operation="load", name=str(handle),
                                 detail=Phrase(N_("{wanted} bytes were expected and it has {size}"),
                                               wanted=offset + length, size=len(content)))
        return content[offset : offset + length]

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        return len(self._content(handle, "look at"))

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type as they are when the listing begins."""
        for handle, content in self.snapshot().items():
            if handle.type is file_type and handle != CONFIG_HANDLE:
                yield FileInfo(handle.name, len(content))

    def remove(self, handle: Handle) -> None:
        """Forget a file."""
        with self._guard:
            if self._files.pop(_checked(handle), None) is None:
                raise self._missing(handle, "remove")

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """There are none."""
        return 0

    def close(self) -> None:
        """Nothing is held open. The files stay."""

    def _content(self, handle: Handle, operation: str) -> bytes:
        with self._guard:
            content = self._files.get(_checked(handle))
        if content is None:
            raise self._missing(handle, operation)
        return content

    def _missing(self, handle: Handle, operation: str) -> FileNotInStorageError:
        return FileNotInStorageError(location=self.location, operation=operation, name=str(handle))


class _StagedMemoryFile:
    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._content = bytearray()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return len(self._content)

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order."""
        for part in parts:
            self._content += part

    def read_back(self) -> bytes:
        """Return everything written so far."""
        return bytes(self._content)

    def commit(self, handle: Handle) -> None:
        """Make the file visible."""
        self._backend.save(handle, [self._content])
        self._content = bytearray()

    def discard(self) -> None:
        """Drop what was written."""
        self._content = bytearray()


def _checked(handle: Handle) -> Handle:
    if handle != CONFIG_HANDLE and not is_hex_id(handle.name):
        raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
    return handle
