"""The image of a database at one instant: from its file where that is it, otherwise by SQLite's backup."""

from __future__ import annotations

from kuramori.chunking.page_aligned import chunk_bounds
from kuramori.sources.sqlite_reading import Reading
from kuramori.sources.sqlite_stream import TakeChunk, stream_image

_READ_BYTES = 1024 * 1024
"""At a time. A multiple of every size of chunk."""


def read_image(reading: Reading, take: TakeChunk) -> int:
    """Give the whole image of a database to ``take`` in chunks; return its size in bytes.

    Raises:
        ImageError
        apsw.Error: SQLite cannot read the database.
        Exception: what ``take`` raises.
    """
    if not reading.is_in_its_file:
        return stream_image(reading.connection, take, reading.first_page)
    page_size: int = reading.connection.pragma("page_size")
    size: int = page_size * reading.connection.pragma("page_count")
    for start in range(0, size, _READ_BYTES):
        _take_piece(memoryview(reading.read_file(min(_READ_BYTES, size - start), start)), start, page_size, take)
    return size


def _take_piece(piece: memoryview, start: int, page_size: int, take: TakeChunk) -> None:
    at = 0
    while at < len(piece):
        _, end = chunk_bounds(start + at, page_size)
        take(start + at, piece[at : end - start])
        at = end - start
