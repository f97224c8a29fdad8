"""Packs on their way to a store that takes files only whole: they wait in a temporary file without a name.

What is written is sealed already, so the file holds no secret; it has no name, so a killed process leaves nothing.
"""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import overload

from kuramori.errors import StorageError, StorageFullError
from kuramori.storage.backend import A_PACK, Buffer, Handle
from kuramori.storage.durable_file import FULL_DISK

_PIECE = 256 * 1024


class SpooledFile:
    """A :class:`~kuramori.storage.backend.StagedFile` that is saved as a whole when it is committed.

    A commit that failed may be repeated: the content stays until :meth:`discard`.
    """

    def __init__(self, save: Callable[[Handle, Sequence[Buffer]], None], location: str) -> None:
        """Begin an empty file.

        Args:
            save: stores a file; given the content in pieces, which it may go over more than once.
            location: of the store, for errors.

        Raises:
            StorageFullError, StorageError: there is no place for temporary files.
        """
        self._save = save
        self._location = location
        self._size = 0
        try:
            self._file = tempfile.TemporaryFile(buffering=0, prefix="kuramori-")
        except OSError as error:
            raise self._error(error) from error

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def through(self, save: Callable[[Handle, Sequence[Buffer]], None]) -> SpooledFile:
        """Commit by another function from now on, such as one that tries again; return this file."""
        self._save = save
        return self

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order."""
        try:
            for part in parts:
                view = memoryview(part).cast("B")
                while view:
                    written = self._file.write(view) or 0
                    self._size += written
                    view = view[written:]
        except OSError as error:
            raise self._error(error) from error

    def read_back(self) -> bytes:
        """Return everything written so far."""
        return b"".join(SpooledParts(self._file.fileno(), self._size))

    def commit(self, handle: Handle) -> None:
        """Save the file under its name, then drop it here."""
        self._save(handle, SpooledParts(self._file.fileno(), self._size))
        self.discard()

    def discard(self) -> None:
        """Drop it. May be called more than once."""
        self._file.close()

    def _error(self, error: OSError) -> StorageError:
        if error.errno in FULL_DISK:
            return StorageFullError(location=tempfile.gettempdir(), operation="write", name=A_PACK)
        return StorageError(location=self._location, operation="prepare", name=A_PACK,
                            detail=error.strerror or str(error))


class PieceSequence(Sequence[Buffer]):
    """Content in pieces of which each is made when it is asked for, and whose length is known before."""

    @property
    @abstractmethod
    def total_size(self) -> int:
        """Bytes of all pieces together."""

    @property
    def content(self) -> Sequence[Buffer]:
        """The same pieces for who only looks at them, such as to hash them: asking for one has no consequence."""
        return self


class SpooledParts(PieceSequence):
    """The content of a file in pieces, each read when it is asked for."""

    def __init__(self, descriptor: int, size: int, piece: int = _PIECE) -> None:
        """Read from ``descriptor``, which holds ``size`` bytes and stays open as long as this is used.

        Args:
            piece: bytes of each piece but the last.
        """
        self._descriptor = descriptor
        self._size = size
        self._piece = piece

    @property
    def total_size(self) -> int:
        """Bytes of the file."""
        return self._size

    def with_pieces(self, piece: int) -> SpooledParts:
        """Return the same in pieces of another size in bytes."""
        return SpooledParts(self._descriptor, self._size, piece)

    def __len__(self) -> int:
        """Return how many pieces there are."""
        return -(-self._size // self._piece)

    @overload
    def __getitem__(self, number: int) -> bytes: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[bytes]: ...

    def __getitem__(self, number: int | slice) -> bytes | Sequence[bytes]:
        """Return one piece, or several."""
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return os.pread(self._descriptor, min(self._piece, self._size - number * self._piece), number * self._piece)


class _CutParts(PieceSequence):
    """Buffers cut into pieces."""

    def __init__(self, parts: Sequence[Buffer], piece: int) -> None:
        views = [memoryview(part).cast("B") for part in parts]
        self._pieces = [view[start : start + piece] for view in views for start in range(0, len(view), piece)]

    @property
    def total_size(self) -> int:
        """Bytes of all of them."""
        return sum(map(len, self._pieces))

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, number: int) -> memoryview: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[memoryview]: ...

    def __getitem__(self, number: int | slice) -> memoryview | Sequence[memoryview]:
        return self._pieces[number]


def in_pieces(parts: Sequence[Buffer], piece: int) -> PieceSequence:
    """Return the same content in pieces of at most ``piece`` bytes, without reading or copying it."""
    return parts.with_pieces(piece) if isinstance(parts, SpooledParts) else _CutParts(parts, piece)


def content_of(parts: Sequence[Buffer]) -> Sequence[Buffer]:
    """Return ``parts`` for who does not send them: no limit of bytes per second counts what is taken."""
    return parts.content if isinstance(parts, PieceSequence) else parts


def total_size(parts: Sequence[Buffer]) -> int:
    """Return the bytes of a file that is made of ``parts``, without reading it where it waits on a disk."""
    return parts.total_size if isinstance(parts, PieceSequence) else sum(len(part) for part in parts)
