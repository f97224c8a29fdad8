"""The image of a database as a stream of chunks, without a copy on disk.

SQLite's backup (https://www.sqlite.org/backup.html), all in one step, copies every page once
within one read transaction. Its destination is a database in a VFS of our own that keeps nothing: what
it is told to write are the pages of the image, nearly in order (the first page comes near the
end, because it is changed last).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import apsw

from kuramori.chunking.page_aligned import chunk_bounds
from kuramori.errors import N_
from kuramori.sources.sqlite_files import LOCK_BYTE
from kuramori.sources.sqlite_vfs import QuietFile, vfs_name

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CACHE = -1024
"""KiB of pages that the destination may hold back, as SQLite's pragma has it: negative."""

_COUNTED = (slice(24, 28), slice(40, 44), slice(92, 100))
"""In the header: the file's change counter, the schema's, and for which change and by which version of
SQLite the size was noted."""

TakeChunk = Callable[[int, bytearray | memoryview], None]
"""Takes the chunk at an offset; chunks come in any order, each once, and stay as they are."""


class ImageError(Exception):
    """The image does not hold together: a page came twice or not at all."""


class ImageAssembler:
    """Makes chunks of pages that come nearly in order. Memory: the chunks that are not whole yet;
    usually the first one and the one that is being filled."""

    def __init__(self, page_size: int, take: TakeChunk, first_page: bytes = b"") -> None:
        """Give each chunk to ``take`` as soon as it is whole.

        Args:
            first_page: of the database at that instant, as it is; empty if that is not known. The
                backup counts the change that it makes to its copy of this page.
        """
        self._page_size = page_size
        self._first_page = first_page
        self._take = take
        self._open: dict[int, tuple[bytearray, set[int]]] = {}
        self._done: set[int] = set()
        self._chunk, self._pages = bytearray(), set[int]()
        """The chunk of the last page, as far as it came, and the offsets of its pages;"""
        self._start = self._bound = self._whole = 0
        """... where it begins and ends, and how many pages it has. It ends where it begins when it is given away."""
        self.end = 0
        """The end of the last page that came."""

    def write(self, data: Buffer, offset: int) -> None:
        """Take one page.

        Raises:
            ImageError: its chunk is already given away, or it is no page.
        """
        page_size = self._page_size
        view = memoryview(data)
        if offset % page_size or len(view) != page_size:
            raise ImageError(N_("SQLite wrote something that is not a page"))
        if not self._start <= offset < self._bound:
            self._turn_to(offset)
        at = offset - self._start
        self._chunk[at : at + page_size] = view
        if offset == 0 and len(self._first_page) == page_size:
            for field in _COUNTED:
                self._chunk[field] = self._first_page[field]
        self._pages.add(offset)
        if offset >= self.end:
            self.end = offset + page_size
        if len(self._pages) == self._whole:
            self._bound = self._start
            self._give(self._start, self._chunk)

    def _turn_to(self, offset: int) -> None:
        start, bound = chunk_bounds(offset, self._page_size)
        if start in self._done:
            raise ImageError(N_("a page came twice"))
        if start not in self._open:
            self._open[start] = (bytearray(bound - start), set())
        self._chunk, self._pages = self._open[start]
        self._start, self._bound, self._whole = start, bound, self._pages_between(start, bound)

    def _pages_between(self, start: int, end: int) -> int:
        return (end - start) // self._page_size - (start <= LOCK_BYTE < end)

    def _give(self, start: int, chunk: bytearray) -> None:
        self._open.pop(start, None)
        self._done.add(start)
        self._take(start, chunk)

    def finish(self) -> int:
        """Give away what is left; return the size of the image in bytes.

        Raises:
            ImageError: a page is missing.
        """
        if self.end and 0 not in self._done and 0 not in self._open:
            raise ImageError(N_("the first page is missing"))
        start = 0
        while start < self.end:
            _, bound = chunk_bounds(start, self._page_size)
            if start not in self._done:
                end = min(bound, self.end)
                chunk, pages = self._open.get(start, (bytearray(end - start), set()))
                if len(pages) != self._pages_between(start, end):
                    raise ImageError(N_("a page is missing"))
                self._give(start, chunk[: end - start])
            start = bound
        return self.end


def stream_image(connection: apsw.Connection, take: TakeChunk, first_page: bytes = b"") -> int:
    """Give the whole image of a database to ``take`` in chunks; return its size in bytes.

    Args:
        connection: in a read transaction, which decides the instant; it is left open.
        first_page: see :class:`ImageAssembler`; with it the image of a database that nobody writes
            to is its file, byte for byte.

    Raises:
        ImageError
        apsw.Error: SQLite cannot read the database.
        Exception: what ``take`` raises.
    """
    page_size = connection.pragma("page_size")
    assembler = ImageAssembler(page_size, take, first_page)
    vfs = _DestinationVfs(assembler)
    try:
        destination = apsw.Connection("image", vfs=vfs.name)
        try:
            for pragma, value in (("journal_mode", "off"), ("synchronous", "off"), ("locking_mode", "exclusive"),
                                  ("cache_size", _CACHE)):
                destination.pragma(pragma, value)
            with destination.backup("main", connection, "main") as backup:
                backup.step(-1)
        finally:
            destination.close(True)
    finally:
        vfs.unregister()
    return assembler.finish()


class _DestinationVfs(apsw.VFS):
    """A place where a database can be written to, and nothing is kept."""

    def __init__(self, assembler: ImageAssembler) -> None:
        self.name = vfs_name("image")
        self._assembler = assembler
        super().__init__(self.name, "")

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return False

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """There is nothing."""

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        flags[1] = flags[0]
        return _DestinationFile(self._assembler)


class _DestinationFile(QuietFile):
    """An image that is written once, page by page. What was written is never asked for again."""

    def __init__(self, assembler: ImageAssembler) -> None:
        self._assembler = assembler

    def xFileSize(self) -> int:
        return self._assembler.end

    def xRead(self, amount: int, offset: int) -> bytes:
        if offset < self._assembler.end:
            raise ImageError(N_("a page came twice"))
        return b""

    def xWrite(self, data: Buffer, offset: int) -> None:
        self._assembler.write(data, offset)
