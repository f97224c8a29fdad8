"""Large buffers that repeat long pieces are packed by looking only for these, and nothing becomes larger by it."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from kuramori.repository.compression import Compression, Compressor, decompress_exactly

LENGTH = 1 << 20


def _log(seed: int) -> bytes:
    chance = random.Random(seed)
    lines = []
    size = 0
    while size < LENGTH:
        lines.append(f"2026-11-27T{chance.randrange(24):02d}:{chance.randrange(60):02d}:{chance.randrange(60):02d}Z "
                     f"valve[{chance.randrange(9000)}]: moisture of {chance.randrange(8)} is {chance.random():.4f}, "
                     f"its valve was {chance.choice(['opened', 'closed', 'left alone'])}\n")
        size += len(lines[-1])
    return "".join(lines).encode()[:LENGTH]


def _database(seed: int) -> bytes:
    chance = random.Random(seed)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE measured (time INTEGER, sensor TEXT, value REAL, note TEXT)")
    connection.executemany("INSERT INTO measured VALUES (?, ?, ?, ?)", (
        (60 * row, f"sensor-{chance.randrange(20)}", chance.random(), chance.choice(["ok", "dry", "wet"]))
        for row in range(40_000)))
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content[:LENGTH]


def _program(_seed: int) -> bytes:
    return Path(zstandard.backend_c.__file__).read_bytes()[:LENGTH]


def _photograph(seed: int) -> bytes:
    return random.Random(seed).randbytes(LENGTH)


def _usual(plain: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=3).compress(plain))


@pytest.mark.parametrize("make", [_log, _database, _program])
@pytest.mark.parametrize("length", [100_000, 128 * 1024, 300_000, LENGTH])
def test_nothing_becomes_larger(make: Callable[[int], bytes], length: int) -> None:
    plain = make(1)[:length]
    packed = Compressor(Compression.AUTO).compress_if_smaller(plain)
    assert packed is not None
    assert decompress_exactly(packed, len(plain)) == plain == zstandard.decompress(packed)
    assert zstandard.frame_content_size(packed) == len(plain)
    assert len(packed) <= 1.002 * _usual(plain)


def test_logs_become_smaller() -> None:
    plain = _log(2)
    packed = Compressor(Compression.AUTO).compress_if_smaller(plain)
    assert packed is not None
    assert len(packed) < 0.98 * _usual(plain)


@pytest.mark.parametrize("make", [_database, _program])
def test_what_would_become_larger_is_packed_as_ever(make: Callable[[int], bytes]) -> None:
    plain = make(3)
    packed = Compressor(Compression.AUTO).compress_if_smaller(plain)
    assert packed == zstandard.ZstdCompressor(level=3).compress(plain)


@pytest.mark.parametrize(("compression", "level"), [
    (Compression.FASTEST, 1), (Compression.BETTER, 9), (Compression.MAX, 19)])
def test_another_level_is_what_it_says(compression: Compression, level: int) -> None:
    plain = _log(4)[:200_000]
    assert Compressor(compression).compress_if_smaller(plain) == zstandard.ZstdCompressor(level=level).compress(plain)


def test_photographs_stay_as_they_are() -> None:
    assert Compressor(Compression.AUTO).compress_if_smaller(_photograph(5)) is None


def test_threads_have_contexts_of_their_own() -> None:
    compressor = Compressor(Compression.AUTO)
    texts = [_log(6), _database(6), _program(6)]
    expected = [compressor.compress_if_smaller(plain) for plain in texts]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            if compressor.compress_if_smaller(texts[number]) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number % 3,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
