"""How much is handed to a worker ahead: enough that it never waits, no more than its socket holds, and nothing that
another could begin at once while it is busy for long."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kuramori.archiving import wire
from kuramori.archiving.chunk_exchange import SLOT_BYTES, ChunkExchange, make_exchange
from kuramori.archiving.databases import DatabaseSettings
from kuramori.archiving.worker_pool import WorkerPool
from kuramori.chunking.content_defined import derive_seed
from kuramori.crypto.master_key import MasterKey
from kuramori.repository.compression import Compression


@pytest.fixture
def saved() -> list[int]:
    return []


def _settings(databases: DatabaseSettings | None = None) -> wire.WorkerSettings:
    key = MasterKey.random()
    return wire.WorkerSettings(None, key.reveal(), 2, Compression.AUTO, 16 << 20, derive_seed(key.reveal()), False,
                               databases)


@pytest.fixture
def pool(saved: list[int]) -> Iterator[WorkerPool]:
    settings = _settings()
    pool = WorkerPool(settings, 1, claim=lambda ids: bytes(len(ids)), stored=lambda described: None,
                      handed=lambda ids, sealed, lengths: None, done=lambda task, outcomes: None,
                      saved=lambda task, nodes, sizes: saved.append(task))
    yield pool
    pool.kill()


def _give_all(pool: WorkerPool, folder: Path, size: int) -> int:
    names = [os.fsencode(name) for name in os.listdir(folder)]
    given = 0
    while pool.has_room() and given < 1000:
        pool.submit(given, os.fsencode(folder), names, size)
        given += 1
    return given


@pytest.mark.parametrize(("length", "size", "least", "most"), [
    (10, 1000, 20, 41),
    (250, 1000, 3, 4),
    (10, 500_000, 3, 4),
    (10, 20 << 20, 2, 2),
    (10, 60 << 20, 1, 1),
], ids=["small files", "long names", "large files", "larger files", "very large files"])
def test_what_is_given_ahead(pool: WorkerPool, saved: list[int], tmp_path: Path, length: int, size: int, least: int,
                             most: int) -> None:
    for number in range(128):
        (tmp_path / f"{number:03d}".ljust(length, "n")).write_text(f"content {number}")
    given = _give_all(pool, tmp_path, size)
    assert least <= given <= most
    while pool.unfinished:
        pool.poll(10)
    assert saved == list(range(given))



def test_a_task_is_done_when_what_others_store_of_it_is_stored(tmp_path: Path) -> None:
    """And then they may be given something again."""
    claimed: set[bytes] = set()
    handed: set[bytes] = set()
    done = []

    def claim(ids: Sequence[bytes]) -> bytes:
        assert not claimed.intersection(ids)
        claimed.update(ids)
        return b"\1" * len(ids)

    pool = WorkerPool(_settings(DatabaseSettings(5.0, True)), 3, claim=claim, stored=lambda described: None,
                      handed=lambda ids, sealed, lengths: handed.update(ids),
                      done=lambda task, outcomes: done.append((task, [outcome.problem for outcome in outcomes])),
                      saved=lambda task, nodes, sizes: None)
    try:
        free = set(pool._free_slots)
        assert len(free) > 2
        for task in range(4):
            connection = sqlite3.connect(tmp_path / f"{task}.db", isolation_level=None)
            connection.execute("CREATE TABLE picture (content)")
            connection.execute("INSERT INTO picture VALUES (randomblob(12000000))")
            connection.close()
            pool.submit(task, os.fsencode(tmp_path), [b"%d.db" % task], 12_000_000)
            shared = False
            while pool.unfinished:
                pool.poll(10)
                shared = shared or bool(pool._helpers)
            assert shared
            assert handed == claimed
            assert set(pool._free_slots) == free
        assert done == [(task, [""]) for task in range(4)]
        pool.finish()
        assert pool.counts.blobs == len(claimed)
    finally:
        pool.kill()


def test_chunks_come_out_of_a_slot_as_they_were_put_there() -> None:
    fd = make_exchange(3)
    assert fd is not None
    writer, reader = ChunkExchange(fd), ChunkExchange(fd)
    os.close(fd)
    chunks = [os.urandom(SLOT_BYTES - 5), b"", b"12345"]
    before = [bytes(view) for slot in (0, 2) for view in reader.take(slot, [SLOT_BYTES])]
    lengths = writer.put(1, [chunks[0], bytearray(chunks[1]), memoryview(chunks[2])])
    assert lengths == [SLOT_BYTES - 5, 0, 5]
    assert reader.take(1, lengths) == chunks
    assert [bytes(view) for slot in (0, 2) for view in reader.take(slot, [SLOT_BYTES])] == before
