"""How much is handed to a worker ahead: enough that it never waits, no more than its socket holds, and nothing that
another could begin at once while it is busy for long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.archiving import wire
from kuramori.archiving.worker_pool import WorkerPool
from kuramori.chunking.content_defined import derive_seed
from kuramori.crypto.master_key import MasterKey
from kuramori.repository.compression import Compression


@pytest.fixture
def saved() -> list[int]:
    return []


@pytest.fixture
def pool(saved: list[int]) -> Iterator[WorkerPool]:
    key = MasterKey.random()
    settings = wire.WorkerSettings(None, key.reveal(), 2, Compression.AUTO, 16 << 20, derive_seed(key.reveal()), False,
                                   None)
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

