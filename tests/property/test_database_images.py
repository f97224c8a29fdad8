"""Images of real databases of every shape, streamed while nobody writes: they are the files, byte for byte."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.chunking.page_aligned import chunk_bounds
from kuramori.clock import SystemClock
from kuramori.sources.sqlite_facts import examine, examine_image
from kuramori.sources.sqlite_files import LOCK_BYTE
from kuramori.sources.sqlite_image import read_image
from kuramori.sources.sqlite_reading import Patience, Reading, read_database
from kuramori.sources.sqlite_stream import stream_image

_PATIENCE = Patience(SystemClock(), 5.0, lambda: False)


@contextmanager
def _folder_of(path: Path) -> Iterator[int]:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


Read = Callable[[Reading, Callable[[int, bytearray | memoryview], None]], int]


def _by_backup(reading: Reading, take: Callable[[int, bytearray | memoryview], None]) -> int:
    return stream_image(reading.connection, take, reading.first_page)


def _image(path: Path, read_all: Read) -> bytes:
    chunks: dict[int, bytes] = {}

    def read(reading: Reading) -> None:
        assert reading.is_in_its_file
        chunks.clear()
        size = read_all(reading, lambda offset, chunk: chunks.update({offset: bytes(chunk)}))
        assert size == sum(map(len, chunks.values()))

    with _folder_of(path) as folder:
        read_database(os.fsencode(path.name), folder, _PATIENCE, read)
    page_size = int.from_bytes(path.read_bytes()[16:18], "big")
    for offset, chunk in chunks.items():
        start, end = chunk_bounds(offset, 65536 if page_size == 1 else page_size)
        assert start == offset
        assert offset + len(chunk) in (end, path.stat().st_size)
    return b"".join(chunks[offset] for offset in sorted(chunks))


def _make(path: Path, mode: str, page_size: int, vacuum: int, reserved: int, rows: list[int], removed: int) -> None:
    connection = apsw.Connection(str(path))
    if reserved:
        connection.reserve_bytes("main", reserved)
    connection.pragma("page_size", page_size)
    connection.pragma("auto_vacuum", vacuum)
    connection.pragma("journal_mode", mode)
    connection.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, content BLOB); BEGIN")
    connection.executemany("INSERT INTO thing (content) VALUES (randomblob(?))", [(row,) for row in rows])
    connection.execute("COMMIT; DELETE FROM thing WHERE id <= ?", (removed,))
    connection.close()


@settings(max_examples=25, deadline=None)
@given(mode=st.sampled_from(["wal", "delete"]), page_size=st.sampled_from([512 << power for power in range(8)]),
       vacuum=st.integers(0, 2), reserved=st.sampled_from([0, 0, 16, 255]),
       rows=st.lists(st.integers(0, 60_000), max_size=20), removed=st.integers(0, 5))
def test_the_image_of_an_idle_database_is_its_file(mode: str, page_size: int, vacuum: int, reserved: int,
                                                   rows: list[int], removed: int) -> None:
    if reserved == 255 and page_size == 512:
        reserved = 16  # SQLite needs 480 bytes of a page
    with TemporaryDirectory() as name:
        path = Path(name) / "thing.db"
        _make(path, mode, page_size, vacuum, reserved, rows, removed)
        content = path.read_bytes()
        image = _image(path, read_image)
        assert image == _image(path, _by_backup)
        assert image == content
        assert path.read_bytes() == content
        assert os.listdir(name) == ["thing.db"]
        record = examine_image(lambda amount, offset: image[offset : offset + amount], len(image), str(path),
                               lambda: False)
        assert record == examine(path)
        assert record.sound
        assert [table.rows for table in record.tables] == [max(0, len(rows) - removed)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("read_all", [read_image, _by_backup])
def test_a_database_of_more_than_a_gibibyte(tmp_path: Path, read_all: Read) -> None:
    """SQLite never uses the page where its locks live."""
    path = tmp_path / "large.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 65536")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("CREATE TABLE thing (content BLOB)")
    connection.execute("INSERT INTO thing VALUES (zeroblob(700000000)), (zeroblob(400000000))")
    connection.close()
    size = path.stat().st_size
    assert size > LOCK_BYTE + 65536
    digests: dict[int, tuple[bytes, int]] = {}

    def read(reading: Reading) -> None:
        read_all(reading,
                 lambda offset, chunk: digests.update({offset: (hashlib.sha256(chunk).digest(), len(chunk))}))

    with _folder_of(path) as folder:
        read_database(b"large.db", folder, _PATIENCE, read)
    offset = 0
    with path.open("rb") as file:
        for start in sorted(digests):
            digest, length = digests[start]
            assert start == offset
            assert hashlib.sha256(file.read(length)).digest() == digest, start
            offset += length
    assert offset == size


@pytest.mark.parametrize("statements", ["", "CREATE TABLE gone (x); DROP TABLE gone; VACUUM"])
def test_a_database_without_tables(tmp_path: Path, statements: str) -> None:
    path = tmp_path / "empty.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 1")
    connection.executescript(statements)
    connection.close()
    assert _image(path, read_image) == _image(path, _by_backup) == path.read_bytes()
