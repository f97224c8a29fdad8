"""Large files and databases: several workers store what one reads; and a database that is too large to be kept in
memory is checked while it is read."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from kuramori.archiving import database_saving
from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.database_saving import DatabaseSaver
from kuramori.archiving.databases import DatabaseOptions, DatabaseSettings, SavedImage
from kuramori.archiving.storing import Chunk
from kuramori.archiving.worker_pool import WorkerPool
from kuramori.clock import Clock, SystemClock
from kuramori.errors import DatabaseUnsoundError, Interrupted, KuramoriError
from kuramori.ids import Id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.model.databases import TableCount
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.sources.sqlite_reading import Patience, Reading, read_database
from kuramori.sources.sqlite_side_check import SideCheck
from kuramori.storage.backend import FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK, make_repository, reopened, snapshot_files

_ROWS = 60_000
_TAKE_ALL = ("import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None); "
             "connection.execute('PRAGMA journal_mode = delete'); "
             "connection.execute('PRAGMA locking_mode = exclusive'); connection.execute('DELETE FROM note')")
_PICTURES = 40


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 84 MB, 16 of them unlike each other."""
    path = tmp_path_factory.mktemp("large") / "planter.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(f"""
        BEGIN;
        CREATE TABLE reading (id INTEGER PRIMARY KEY, sensor TEXT, value REAL);
        CREATE INDEX reading_sensor ON reading (sensor);
        WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {_ROWS})
            INSERT INTO reading (sensor, value) SELECT hex(randomblob(8)), random() FROM number;
        CREATE TABLE picture (id INTEGER PRIMARY KEY, content BLOB);
        WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {_PICTURES})
            INSERT INTO picture (content) SELECT randomblob(300000) || zeroblob(1700000) FROM number;
        COMMIT;
    """)
    connection.close()
    return path


@pytest.fixture
def folder(tmp_path: Path, original: Path) -> Path:
    """A folder with a database of its own."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "planter.db").write_bytes(original.read_bytes())
    return tmp_path / "source"


@pytest.fixture
def directory(folder: Path) -> Iterator[int]:
    """A descriptor of that folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


class _Store:
    """Keeps chunks, and does something before it takes the first."""

    def __init__(self, first: object = None) -> None:
        self.chunks: dict[str, bytes] = {}
        self._first = first

    def store(self, ids: list[Id], chunks: list[Chunk]) -> None:
        if not self.chunks and callable(self._first):
            self._first()
        for blob_id, chunk in zip(ids, chunks, strict=True):
            assert sha256(chunk).digest() == blob_id
            self.chunks[blob_id.hex()] = bytes(chunk)

    def image(self, saved: SavedImage) -> bytes:
        return b"".join(self.chunks[chunk] for chunk in saved.content)


def _save(store: _Store, directory: int, clock: Clock | None = None, *, check: bool = True) -> SavedImage:
    saver = DatabaseSaver(store, DatabaseSettings(5.0, check), clock or SystemClock(),  # type: ignore[arg-type]
                          lambda: False)
    saved = saver.save(b"planter.db", directory)
    assert isinstance(saved, SavedImage), saved
    return saved


def _back_up(folder: Path, repository: Path, **options: object) -> BackupResult:
    return back_up(reopened(repository), BackupOptions(
        paths=(os.fsencode(folder),), databases=DatabaseOptions(), workers=3, **options))  # type: ignore[arg-type]


def _watch_shares(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the slot of all is added that one worker gives to another."""
    shared: list[int] = []
    find = WorkerPool._find_helper

    def watch(pool: WorkerPool, asking: object) -> int | None:
        slot = find(pool, asking)  # type: ignore[arg-type]
        shared.extend([] if slot is None else [slot])
        return slot

    monkeypatch.setattr(WorkerPool, "_find_helper", watch)
    return shared


# --- several workers -----------------------------------------------------------------------


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("mode", ["wal", "delete", "wal, in use"])
def test_other_workers_store_what_one_reads(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
                                            mode: str) -> None:
    owner = sqlite3.connect(folder / "planter.db", isolation_level=None)
    owner.execute(f"PRAGMA journal_mode = {mode.split(',')[0]}")
    if mode == "wal, in use":
        owner.execute("UPDATE reading SET value = 7 WHERE id % 1000 = 0")
    else:
        owner.close()
    shared = _watch_shares(monkeypatch)
    make_repository(tmp_path)
    result = _back_up(folder, tmp_path)
    assert result.errors == ()
    assert len(shared) > 3
    assert result.databases[0].sound
    assert result.databases[0].tables == (TableCount("picture", _PICTURES), TableCount("reading", _ROWS))
    saved = snapshot_files(reopened(tmp_path), result, folder)
    assert set(saved) == {b"/planter.db"}
    if mode == "wal, in use":
        (tmp_path / "image.db").write_bytes(saved[b"/planter.db"])
        image = sqlite3.connect(tmp_path / "image.db")
        assert image.execute("SELECT count(*) FROM reading WHERE value = 7").fetchone() == (_ROWS // 1000,)
        assert image.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        image.close()
    else:
        assert saved[b"/planter.db"] == (folder / "planter.db").read_bytes()
    owner.close()


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("store", ["disk", "memory"])
def test_other_workers_store_what_is_cut_from_one_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                             store: str) -> None:
    """To a disk they write packs by themselves; what only this process can reach they hand over. Chunks that fit into
    no slot are stored by who has them."""
    (tmp_path / "source").mkdir()
    content = os.urandom(20_000_000) + bytes(16_000_000) + os.urandom(25_000_000) + b"end"
    (tmp_path / "source" / "film").write_bytes(content)
    shared = _watch_shares(monkeypatch)
    repository = make_repository(tmp_path) if store == "disk" else create_repository(
        MemoryBackend(), PASSWORD, CreateOptions(kdf=QUICK))
    result = back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), workers=2))
    assert result.errors == ()
    assert len(shared) > 3
    assert 45_000_000 < result.summary.data_added_packed < 45_100_000
    assert snapshot_files(repository, result, tmp_path / "source") == {b"/film": content}
    assert check(repository, CheckOptions(read_data=True)).sound


def test_a_worker_that_stores_for_another_is_killed(tmp_path: Path, folder: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no snapshot, and the next backup is as any."""
    find = WorkerPool._find_helper

    def kill(pool: WorkerPool, asking: object) -> int | None:
        slot = find(pool, asking)  # type: ignore[arg-type]
        if slot is not None:
            pool._helpers[slot].process.kill()
        return slot

    make_repository(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "_find_helper", kill)
        with pytest.raises(KuramoriError, match="a worker process ended unexpectedly"):
            _back_up(folder, tmp_path)
    assert list(reopened(tmp_path).backend.list(FileType.SNAPSHOT)) == []
    result = _back_up(folder, tmp_path)
    assert snapshot_files(reopened(tmp_path), result, folder)[b"/planter.db"] == (folder / "planter.db").read_bytes()


def test_an_interruption_keeps_what_several_stored(tmp_path: Path, folder: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    shared = _watch_shares(monkeypatch)
    make_repository(tmp_path)
    with pytest.raises(Interrupted):
        _back_up(folder, tmp_path, cancelled=lambda: len(shared) > 2)
    result = _back_up(folder, tmp_path)
    assert 0 < result.summary.data_added < (folder / "planter.db").stat().st_size
    assert snapshot_files(reopened(tmp_path), result, folder)[b"/planter.db"] == (folder / "planter.db").read_bytes()


# --- the check -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("processors", [1, 2])
def test_it_is_checked_beside_or_afterwards_with_one_result(folder: Path, directory: int, mode: str, processors: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """With one processor nothing would be gained by doing both at once."""
    begun = []
    begin = SideCheck.__init__
    monkeypatch.setattr(SideCheck, "__init__", lambda check, reading: begun.append(reading) or begin(check, reading))
    monkeypatch.setattr(database_saving, "available_processors", lambda: processors)
    connection = sqlite3.connect(folder / "planter.db")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.close()
    store = _Store()
    saved = _save(store, directory)
    assert len(begun) == processors - 1
    assert not saved.unchecked
    assert (saved.record.path, saved.record.integrity, saved.record.foreign_keys) == ("", "ok", "ok")
    assert saved.record.tables == (TableCount("picture", _PICTURES), TableCount("reading", _ROWS))
    assert store.image(saved) == (folder / "planter.db").read_bytes()


@pytest.mark.parametrize("processors", [1, 2])
def test_writers_wait_no_longer_for_the_check_than_they_are_patient(
        folder: Path, directory: int, processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes too long, it is left to who has the stored image."""
    monkeypatch.setattr(database_saving, "available_processors", lambda: processors)
    monkeypatch.setattr(SideCheck, "wait", lambda check, seconds: False)
    clock = FakeClock()
    store = _Store(lambda: clock.advance(5.0))
    saved = _save(store, directory, clock)
    assert saved.unchecked
    assert saved.record.integrity == ""
    assert store.image(saved) == (folder / "planter.db").read_bytes()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_check_does_not_cost_the_lock(tmp_path: Path, mode: str) -> None:
    """Whoever closes a descriptor of a file loses all his locks on it, unless SQLite knows of both."""
    path = tmp_path / "notes.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = {mode}; CREATE TABLE note (text); INSERT INTO note VALUES ('one')")
    connection.close()
    said = []

    def read(reading: Reading) -> None:
        check = SideCheck(reading)
        assert check.wait(10)
        check.stop()
        assert check.record is not None
        assert check.record.tables == (TableCount("note", 1),)
        said.append(subprocess.run([sys.executable, "-c", _TAKE_ALL, str(path)], capture_output=True, text=True,
                                   check=False).stderr)

    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    read_database(b"notes.db", fd, Patience(SystemClock(), 5.0, lambda: False), read)
    os.close(fd)
    assert "database is locked" in said[0]
    assert subprocess.run([sys.executable, "-c", _TAKE_ALL, str(path)], check=False).returncode == 0


def test_without_a_check_there_is_none(folder: Path, directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SideCheck, "__init__", lambda check, reading: pytest.fail("a check was begun"))
    saved = _save(_Store(), directory, check=False)
    assert not saved.unchecked
    assert saved.record.integrity == ""


def test_an_interruption_does_not_wait_for_the_check(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    over = False

    def wait(check: SideCheck, seconds: float) -> bool:
        nonlocal over
        over = True
        return False

    monkeypatch.setattr(SideCheck, "wait", wait)
    saver = DatabaseSaver(_Store(), DatabaseSettings(5.0, True), SystemClock(), lambda: over)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        saver.save(b"planter.db", directory)
    assert over


def test_another_file_in_its_place_is_not_taken_for_it(folder: Path, directory: int, original: Path) -> None:
    """Its lock does not keep anybody from putting another database there; that one would be checked."""
    other = sqlite3.connect(folder / "other.db")
    other.execute("CREATE TABLE other (one)")
    other.close()
    begin = SideCheck.__init__
    store = _Store()
    with pytest.MonkeyPatch.context() as patch:
        def begin_later(check: SideCheck, reading: object) -> None:
            (folder / "other.db").replace(folder / "planter.db")
            begin(check, reading)  # type: ignore[arg-type]

        patch.setattr(SideCheck, "__init__", begin_later)
        saved = _save(store, directory)
    assert store.image(saved) == original.read_bytes()
    assert saved.record.tables == (TableCount("picture", _PICTURES), TableCount("reading", _ROWS))


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_damage_in_a_large_database_is_named(tmp_path: Path, folder: Path, mode: str) -> None:
    connection = sqlite3.connect(folder / "planter.db")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    root, = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'reading_sensor'").fetchone()
    connection.close()
    with (folder / "planter.db").open("r+b") as file:
        file.seek((root - 1) * 4096 + 8)
        file.write(bytes(4088))
    make_repository(tmp_path)
    result = _back_up(folder, tmp_path)
    assert [type(error) for error in result.errors] == [DatabaseUnsoundError]
    assert not result.databases[0].sound
