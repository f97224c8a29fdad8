"""Backups into a store that only this process can reach: workers hand over, threads send."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from kuramori.archiving import blob_writing
from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.databases import DatabaseOptions
from kuramori.archiving.worker_pool import WorkerPool
from kuramori.errors import Interrupted, StorageFullError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.spooled_file import SpooledFile
from kuramori.testing.faulty_backend import FailKind, FaultyBackend
from samples.repositories import PASSWORD, QUICK, make_repository, nodes_by_path, snapshot_files

_PACK = 4 * 1024 * 1024


class _Remote(MemoryBackend):
    """Takes packs whole, as stores beyond the network do."""

    def stage(self) -> SpooledFile:  # type: ignore[override]
        return SpooledFile(lambda handle, parts: self.save(handle, parts), self.location)


@pytest.fixture
def store() -> Backend:
    """An empty repository in such a store."""
    backend = _Remote(connections=3)
    create_repository(backend, PASSWORD, CreateOptions(kdf=QUICK))
    return backend


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many workers were started, for each pool."""
    started: list[int] = []

    class _Counted(WorkerPool):
        def __init__(self, settings: Any, count: int, **told: Any) -> None:
            started.append(count)
            super().__init__(settings, count, **told)

    monkeypatch.setattr(blob_writing, "WorkerPool", _Counted)
    return started


def _opened(store: Backend) -> Repository:
    return open_repository(store, PASSWORD)


def _back_up(store: Backend, source: Path, **options: Any) -> BackupResult:
    return back_up(_opened(store), BackupOptions(paths=(os.fsencode(source),), pack_size=_PACK, **options))


def _many(folder: Path) -> Path:
    noise = random.Random(11)
    for number in range(700):
        path = folder / "many" / f"f{number % 7}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(100 + number * 20) + b"text " * (number * 10))
    return folder / "many"


def test_workers_hand_over_what_one_process_would_have_stored(tmp_path: Path, store: Backend,
                                                              workers: list[int]) -> None:
    source, local = _many(tmp_path), make_repository(tmp_path)
    result = _back_up(store, source, workers=2)
    assert workers == [2]
    alone = back_up(local, BackupOptions(paths=(os.fsencode(source),), workers=1))
    assert workers == [2], "one process did the second one"
    below = os.fsencode(source)
    there, here = ({path: node for path, node in nodes_by_path(repository, each.snapshot).items()
                    if path.startswith(below)} for repository, each in ((_opened(store), result), (local, alone)))
    assert len(here) == 1 + 7 + 700
    assert there == here
    for name in ("data_blobs", "tree_blobs"):
        assert getattr(result.summary, name) == getattr(alone.summary, name)
    # Of the trees only those below: in folders above others make files meanwhile.
    assert result.summary.data_added - result.data_added_trees == alone.summary.data_added - alone.data_added_trees
    assert 0 < result.summary.data_added_packed < result.summary.data_added
    assert check(_opened(store), CheckOptions(read_data=True)).sound
    assert len(snapshot_files(_opened(store), result, source)) == 700


def test_a_second_backup_stores_nothing_again(tmp_path: Path, store: Backend, workers: list[int]) -> None:
    source = _many(tmp_path)
    _back_up(store, source, workers=2)
    for path in source.rglob("file*"):
        os.utime(path, (1, 1))  # all must be read again
    again = _back_up(store, source, workers=2)
    assert workers == [2, 2]
    assert again.summary.data_blobs == 0


def test_an_interruption_keeps_what_was_sent(tmp_path: Path, store: Backend) -> None:
    source = tmp_path / "images"
    source.mkdir()
    for number in range(30):
        (source / f"image{number}").write_bytes(os.urandom(1_500_000))
    with pytest.raises(Interrupted):
        _back_up(store, source, workers=1, cancelled=lambda: len([*store.list(FileType.PACK)]) >= 3)
    repository = _opened(store)
    assert list(store.list(FileType.LOCK)) == []
    assert load_snapshots(repository) == []
    repository.load_index()
    kept = len(repository.index)
    assert kept > 2
    packs = {info.name for info in store.list(FileType.PACK)}
    result = _back_up(store, source, workers=1)
    assert packs <= {info.name for info in store.list(FileType.PACK)}
    assert result.summary.data_blobs > 0
    again = _opened(store)
    again.load_index()
    assert len(again.index) - kept == result.summary.data_blobs + result.summary.tree_blobs
    assert check(_opened(store), CheckOptions(read_data=True)).sound


def test_databases_come_sealed_out_of_their_worker(tmp_path: Path, store: Backend, workers: list[int]) -> None:
    import apsw

    source = tmp_path / "data"
    source.mkdir()
    with apsw.Connection(str(source / "plants.db")) as database:
        database.execute("CREATE TABLE leaf(text)")
        database.executemany("INSERT INTO leaf VALUES(?)", [("green " * 100,) for _ in range(2000)])
    database.close()
    result = _back_up(store, source, databases=DatabaseOptions())
    assert workers
    assert [record.sound for record in result.databases] == [True]
    assert result.summary.data_added_packed < result.summary.data_added / 2, "it was compressed"
    assert check(_opened(store), CheckOptions(read_data=True)).sound


def test_a_full_store_ends_it_with_its_own_error(tmp_path: Path, store: Backend) -> None:
    full = FaultyBackend(store, FailKind("save", StorageFullError(location="there", operation="save", name="a pack")))
    source = _many(tmp_path)
    with pytest.raises(StorageFullError):
        _back_up(full, source, workers=2, no_lock=True)
    assert load_snapshots(_opened(store)) == []
