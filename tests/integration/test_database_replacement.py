"""A restored database takes the place of one that is in use."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from kuramori.errors import DatabaseReplacementError, LiveDatabaseBusyError, SourceMissingError
from kuramori.restoring.sqlite_replacement import copy_database, examine_live, replace_database
from kuramori.sources.sqlite_facts import examine
from samples.databases import JOURNAL_MODES, killed_writer, make_bank, transfers_of_instant, writer


def _make(path: Path, mode: str, text: str, *, page_size: int = 4096, rows: int = 60) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE note (text TEXT)")
    connection.executemany("INSERT INTO note VALUES (?)", [(text * 300,)] * rows)
    connection.close()


def _texts(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    return [(text[:3], count) for text, count in connection.execute("SELECT text, count(*) FROM note GROUP BY text")]


def _texts_of(path: Path) -> list[tuple[str, int]]:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return _texts(connection)
    finally:
        connection.close()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """A database that was restored."""
    (tmp_path / "restored").mkdir()
    return tmp_path / "restored" / "notes.db"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Where the database in use is."""
    (tmp_path / "live").mkdir()
    return tmp_path / "live" / "notes.db"


@pytest.mark.parametrize(("mode", "restored_mode", "page_size"), [
    *((mode, "delete", 4096) for mode in JOURNAL_MODES), ("wal", "wal", 4096), ("delete", "wal", 4096),
    ("wal", "wal", 1024), ("wal", "delete", 16384), ("delete", "delete", 1024), ("delete", "wal", 16384),
])
def test_open_connections_see_the_restored_rows(restored: Path, live: Path, mode: str, restored_mode: str,
                                                page_size: int) -> None:
    _make(restored, restored_mode, "new", page_size=page_size, rows=90)
    _make(live, mode, "old")
    before = restored.read_bytes()
    connection = sqlite3.connect(live, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("INSERT INTO note VALUES ('old in the log')")
    assert _texts(connection)[0] == ("old", 1)

    replace_database(restored, live, busy_timeout=5)

    assert _texts(connection) == [("new", 90)]
    connection.execute("INSERT INTO note VALUES ('more')")
    assert _texts(connection) == [("mor", 1), ("new", 90)]
    connection.close()
    assert _texts_of(live) == [("mor", 1), ("new", 90)]
    assert b"old in the log" not in b"".join(path.read_bytes() for path in live.parent.iterdir())
    assert restored.read_bytes() == before
    assert _names(restored.parent) == {"notes.db"}
    assert not [name for name in _names(live.parent) if "kuramori" in name]


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_while_somebody_writes_at_full_speed(tmp_path: Path, mode: str) -> None:
    """The writer goes on with the restored rows; nothing of the two gets mixed."""
    make_bank(tmp_path / "live.db", mode)
    make_bank(tmp_path / "restored.db", "delete")
    connection = sqlite3.connect(tmp_path / "restored.db")
    connection.executescript("CREATE TABLE mark (text); INSERT INTO mark VALUES ('restored')")
    connection.close()
    with writer(tmp_path / "live.db", mode):
        for _ in range(3):
            replace_database(tmp_path / "restored.db", tmp_path / "live.db", busy_timeout=30)
    transfers_of_instant(tmp_path / "live.db")
    connection = sqlite3.connect(tmp_path / "live.db")
    assert connection.execute("SELECT text FROM mark").fetchone() == ("restored",)
    connection.close()


def test_a_missing_database_comes_back_without_its_old_log(restored: Path, live: Path) -> None:
    """A log that was left behind does not get into the new database."""
    _make(restored, "wal", "new")
    restored.chmod(0o640)
    killed_writer(live, "wal", "CREATE TABLE note (text); INSERT INTO note VALUES ('old')")
    live.unlink()
    assert live.with_name("notes.db-wal").stat().st_size > 0
    replace_database(restored, live, busy_timeout=1)
    assert _names(live.parent) == {"notes.db"}
    assert live.stat().st_mode & 0o777 == 0o640
    assert _texts_of(live) == [("new", 60)]


def test_a_database_that_sqlite_cannot_read_is_swapped(restored: Path, live: Path) -> None:
    _make(restored, "delete", "new")
    live.write_bytes(b"no database, " * 1000)
    live.chmod(0o600)
    live.with_name("notes.db-wal").write_bytes(b"rubbish")
    replace_database(restored, live, busy_timeout=1)
    assert _texts_of(live) == [("new", 60)]
    assert live.stat().st_mode & 0o777 == 0o600
    assert _names(live.parent) == {"notes.db"}


def test_an_empty_file_and_a_link_are_databases_too(restored: Path, live: Path, tmp_path: Path) -> None:
    _make(restored, "delete", "new")
    live.touch()
    (tmp_path / "link.db").symlink_to(live)
    replace_database(restored, tmp_path / "link.db", busy_timeout=1)
    assert _texts_of(live) == [("new", 60)]
    assert (tmp_path / "link.db").is_symlink()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_somebody_holds_the_database(restored: Path, live: Path, mode: str) -> None:
    """He is waited for, then named; the database stays as it is."""
    _make(restored, "delete", "new")
    _make(live, mode, "old")
    holder = sqlite3.connect(live, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LiveDatabaseBusyError) as caught:
        replace_database(restored, live, busy_timeout=0.2)
    assert "held it for 0.2 seconds" in str(caught.value)
    with pytest.raises(LiveDatabaseBusyError):
        copy_database(live, live.with_name("kept.db"), busy_timeout=0.2)
    holder.execute("COMMIT")
    assert _texts(holder) == [("old", 60)]
    holder.close()
    assert _texts_of(live) == [("old", 60)]
    assert "kept.db" not in _names(live.parent)


def test_what_is_no_database_replaces_nothing(restored: Path, live: Path) -> None:
    restored.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    _make(live, "wal", "old")
    with pytest.raises(DatabaseReplacementError, match="not an SQLite database"):
        replace_database(restored, live, busy_timeout=1)
    with pytest.raises(DatabaseReplacementError, match="UTF-8"):
        replace_database(restored, Path(os.fsdecode(b"/tmp/\xff.db")), busy_timeout=1)
    assert _texts_of(live) == [("old", 60)]


def test_a_caller_keeps_his_locks(restored: Path, live: Path) -> None:
    """He may even ask for the replacement while he holds the database himself: it is refused, and
    his transaction is still his alone."""
    _make(restored, "delete", "new")
    _make(live, "delete", "old")
    mine = sqlite3.connect(live, isolation_level=None)
    mine.execute("BEGIN IMMEDIATE")
    with pytest.raises(LiveDatabaseBusyError):
        replace_database(restored, live, busy_timeout=0.1)
    copy_database(live, live.with_name("kept.db"))
    assert examine_live(live).tables[0].rows == 60
    with pytest.raises(LiveDatabaseBusyError):
        replace_database(restored, live, busy_timeout=0.1)
    mine.execute("COMMIT")
    mine.close()


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_a_copy_to_keep_is_of_one_instant(tmp_path: Path, mode: str) -> None:
    make_bank(tmp_path / "live.db", mode)
    (tmp_path / "live.db").chmod(0o640)
    with writer(tmp_path / "live.db", mode):
        for number in range(3):
            copy_database(tmp_path / "live.db", tmp_path / "kept.db")
            transfers_of_instant(tmp_path / "kept.db")
            assert (tmp_path / "kept.db").stat().st_mode & 0o777 == 0o640, number
    assert examine(tmp_path / "kept.db").sound


def test_a_copy_of_what_cannot_be_read_and_of_what_is_not_there(live: Path) -> None:
    live.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    live.with_name("notes.db-wal").write_bytes(b"the log")
    copy_database(live, live.with_name("kept.db"))
    assert live.with_name("kept.db").read_bytes() == live.read_bytes()
    assert live.with_name("kept.db-wal").read_bytes() == b"the log"
    live.unlink()
    with pytest.raises(SourceMissingError):
        copy_database(live, live.with_name("kept.db"))
    with pytest.raises(SourceMissingError):
        examine_live(live)
