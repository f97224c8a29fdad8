"""Live SQLite databases are restored in place: open connections see the restored rows."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from kuramori.errors import DatabaseDiffersError
from kuramori.manager.model import RestoreRunOptions, RestoreRunResult
from kuramori.manager.restore_plan import Placement
from kuramori.manager.restore_proof import prove_databases
from kuramori.manager.staging import Staged
from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.settings.model import ComponentKind
from samples.planter import Planter, make_planter


def _database(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("CREATE TABLE reading (value TEXT)")
    connection.executemany("INSERT INTO reading VALUES (?)", [(f"{number}",) for number in range(100)])
    return connection


def _rows(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM reading").fetchone()[0])


def _restore(planter: Planter, name: str) -> RestoreRunResult:
    planter.clock.advance(60)
    return planter.manager.restore(RestoreRunOptions("latest", components=(name,)))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_an_open_connection_sees_the_restored_rows_and_the_old_ones_after_undo(tmp_path: Path, mode: str) -> None:
    planter = make_planter(tmp_path)
    live = tmp_path / "planter.db"
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(live,))
    connection = _database(live, mode)
    planter.back_up()
    connection.execute("DELETE FROM reading WHERE rowid > 3")
    result = _restore(planter, "database")
    assert result.success, planter.told.texts
    assert _rows(connection) == 100
    with sqlite3.connect(result.components["database"].kept) as kept:
        assert _rows(kept) == 3
    kept.close()
    connection.execute("INSERT INTO reading VALUES ('since')")
    undone = planter.manager.undo_restore()
    assert undone.success
    assert _rows(connection) == 3
    with sqlite3.connect(undone.components["database"].kept) as since:
        assert _rows(since) == 101
    since.close()
    assert not list(tmp_path.glob("*.before-restore-*"))
    connection.close()


def test_a_database_in_a_folder_is_replaced_where_it_is_and_the_rest_is_swapped(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    folder = tmp_path / "images"
    (folder / "deep").mkdir()
    (folder / "deep" / "other.txt").write_text("other")
    connection = _database(folder / "deep" / "index.db", "wal")
    planter.back_up()
    inode = (folder / "deep" / "index.db").stat().st_ino
    connection.execute("DELETE FROM reading")
    (folder / "0.txt").write_text("spoilt")
    (folder / "deep" / "other.txt").unlink()
    (folder / "deep" / "new.txt").write_text("new")
    result = _restore(planter, "images")
    assert result.success, planter.told.texts
    assert _rows(connection) == 100
    assert (folder / "deep" / "index.db").stat().st_ino == inode
    assert (folder / "0.txt").read_text().startswith("images 0")
    assert (folder / "deep" / "other.txt").read_text() == "other"
    assert not (folder / "deep" / "new.txt").exists()
    kept = Path(result.components["images"].kept)
    assert (kept / "0.txt").read_text() == "spoilt"
    assert (kept / "deep" / "new.txt").read_text() == "new"
    assert planter.manager.undo_restore().success
    assert _rows(connection) == 0
    assert (folder / "0.txt").read_text() == "spoilt"
    assert sorted(os.listdir(folder / "deep")) == ["index.db", "index.db-shm", "index.db-wal", "new.txt"]
    assert not kept.exists()
    connection.close()


def test_the_log_of_a_database_that_is_gone_is_not_played_into_the_restored_one(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    live = tmp_path / "planter.db"
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(live,))
    _database(live, "wal").close()
    planter.back_up()
    connection = sqlite3.connect(live, isolation_level=None)
    connection.execute("DELETE FROM reading")
    wal = Path(f"{live}-wal").read_bytes()
    connection.close()
    live.unlink()
    Path(f"{live}-wal").write_bytes(wal)
    assert _restore(planter, "database").success
    with sqlite3.connect(live) as again:
        assert _rows(again) == 100
    again.close()
    assert [path.read_bytes() for path in tmp_path.glob("*.before-restore-*-wal")] == [wal]


def test_to_a_folder_a_database_comes_as_a_file(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    live = tmp_path / "planter.db"
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(live,))
    connection = _database(live, "wal")
    planter.back_up()
    assert planter.manager.restore(RestoreRunOptions("latest", target=tmp_path / "out")).success
    with sqlite3.connect(tmp_path / "out" / "database" / "planter.db") as restored:
        assert _rows(restored) == 100
    restored.close()
    connection.close()


def test_a_restored_database_that_is_not_what_was_saved_goes_nowhere(tmp_path: Path) -> None:
    _database(tmp_path / "planter.db", "delete").close()
    staged = Staged(Placement("/planter.db", str(tmp_path / "live.db")), str(tmp_path))
    record = DatabaseRecord("/planter.db", "sqlite", tables=(TableCount("reading", 101),), integrity="ok")
    with pytest.raises(DatabaseDiffersError, match="100 rows instead of 101"):
        prove_databases(staged, [record])
    (tmp_path / "planter.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(DatabaseDiffersError):
        prove_databases(staged, [record])
