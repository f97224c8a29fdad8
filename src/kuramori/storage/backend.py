"""What a store of repository files must do.

A backend keeps immutable files of six types under short names; the layout of format section 1.1
is its own affair. A repository sees nothing else of the outside world.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from kuramori.errors import N_, Phrase

Buffer: TypeAlias = bytes | bytearray | memoryview


class FileType(enum.Enum):
    """The types of files. The value is the name of the folder that holds them."""

    CONFIG = "config"
    KEY = "keys"
    LOCK = "locks"
    SNAPSHOT = "snapshots"
    INDEX = "index"
    PACK = "data"


class Handle(NamedTuple):
    """One file of a repository."""

    type: FileType
    name: str
    """64 hexadecimal digits; empty for the config."""

    def __str__(self) -> str:
        return "config" if self.type is FileType.CONFIG else f"{self.type.value}/{self.name}"


CONFIG_HANDLE = Handle(FileType.CONFIG, "")
A_PACK = Phrase(N_("a pack"))
"""What errors call a pack that has no name yet, because it is still being written."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One line of a listing."""

    name: str
    size: int
    """Bytes."""


class StagedFile(Protocol):
    """A file that is being written and has no name yet. It is visible to nobody before
    :meth:`commit`, and used by one thread at a time. A killed process may leave a leftover that
    no listing shows and :meth:`Backend.remove_leftovers` collects."""

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order. They may be reused when this returns.

        Raises:
            StorageFullError, StorageError: the staged file is then good for :meth:`discard` only.
        """
        ...

    def read_back(self) -> bytes:
        """Return everything written so far (to merge two small packs into one)."""
        ...

    def commit(self, handle: Handle) -> None:
        """Give the file its name: whole, durable (synced to the disk) and atomically. May be
        called once, and from another thread than the one that wrote."""
        ...

    def discard(self) -> None:
        """Drop it. May be called at any time and more than once; after :meth:`commit` it does
        nothing."""
        ...


class Backend(Protocol):
    """A store. All methods may be called from several threads at once.

    Errors are those of :class:`kuramori.errors.StorageError`; whether one may be retried is in
    its ``retryable``.
    """

    @property
    def location(self) -> str:
        """Where it is, as text for people: never with a password."""
        ...

    @property
    def connections(self) -> int:
        """How many operations at once make sense (at least 1)."""
        ...

    @property
    def worker_location(self) -> str | None:
        """A location that another process of this machine can open by itself to write packs
        (``kuramori.storage.location.open_backend``), or None where only this process can."""
        ...

    def create(self) -> None:
        """Make the place ready for a repository (folders, bucket). May be called on a place that
        is ready."""
        ...

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file made of ``parts`` in order.

        When this returns the file is durable; whatever happens before, nobody ever sees a part
        of it under its name. Saving a name that exists replaces it (only ``config`` is ever
        saved with other bytes).
        """
        ...

    def stage(self) -> StagedFile:
        """Begin a pack whose name is not known yet."""
        ...

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``offset``, or everything from there on.

        Raises:
            FileNotInStorageError: it is not there.
            ShortReadError: it ends before ``offset + length``.
        """
        ...

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes.

        Raises:
            FileNotInStorageError: it is not there.
        """
        ...

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type, in any order. Names that are not 64 hexadecimal digits are
        not repository files and are left out. A missing folder is empty. Not for ``CONFIG``."""
        ...

    def remove(self, handle: Handle) -> None:
        """Delete a file.

        When this returns for a snapshot, an index file or a key, it does not come back, whatever
        happens then: what it needs may be deleted next.

        Raises:
            FileNotInStorageError: it is not there (stores that cannot tell say nothing).
        """
        ...

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete what killed processes of ours left half written, if it is that old or its process
        is known to be gone; return how many. Called with a lock held."""
        ...

    def close(self) -> None:
        """Give back connections. May be called more than once."""
        ...
