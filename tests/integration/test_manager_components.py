"""Components that are no plain folders: databases and commands."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from kuramori.errors import DatabaseBusyError, NotADatabaseError, SourceCommandError
from kuramori.manager.model import ComponentState, RunState
from kuramori.settings.model import ComponentKind
from samples.databases import holder
from samples.planter import Planter, make_planter


def make_database(path: Path, rows: int = 10) -> sqlite3.Connection:
    """Make a database in WAL mode and leave it open."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, value TEXT)")
    connection.executemany("INSERT INTO reading (value) VALUES (?)", [(f"value {number}",) for number in range(rows)])
    connection.commit()
    return connection


def _with_database(folder: Path) -> Planter:
    planter = make_planter(folder)
    planter.change_component("database", kind=ComponentKind.SQLITE, sources=(folder / "planter.db",))
    return planter


def test_a_database_is_recorded_with_what_proves_it(tmp_path: Path) -> None:
    planter = _with_database(tmp_path)
    connection = make_database(tmp_path / "planter.db")
    outcome = planter.back_up().components["database"]
    assert outcome.state is ComponentState.COMPLETE
    (record,) = outcome.databases
    assert (record.kind, record.integrity, record.foreign_keys) == ("sqlite", "ok", "ok")
    assert [(table.name, table.rows) for table in record.tables] == [("reading", 10)]
    connection.execute("INSERT INTO reading (value) VALUES ('one more')")
    connection.commit()
    planter.back_up()
    unchanged = planter.back_up().components["database"]
    assert unchanged.added_bytes < 4096
    newest = planter.manager.list_runs(repository="nas")[-1]
    assert newest.components["database"].databases == unchanged.databases
    assert unchanged.databases[0].tables[0].rows == 11
    connection.close()


def test_a_database_that_is_held_is_told_once_with_what_to_do(tmp_path: Path) -> None:
    planter = _with_database(tmp_path)
    make_database(tmp_path / "planter.db").close()
    connection = sqlite3.connect(tmp_path / "planter.db")
    connection.execute("PRAGMA journal_mode=delete")
    connection.close()
    planter.change_component("database", busy_timeout=0.2)
    with holder(tmp_path / "planter.db"):
        result = planter.back_up()
    (error,) = result.components["database"].errors
    assert isinstance(error, DatabaseBusyError)
    assert planter.told.texts.count("held by another program") == 1
    assert "nothing could be backed up" not in planter.told.texts
    assert "allow more time" in str(planter.manager.status().problems[0])


def test_what_is_no_database_fails_its_component(tmp_path: Path) -> None:
    planter = _with_database(tmp_path)
    (tmp_path / "planter.db").write_text("this is no database" * 100)
    result = planter.back_up()
    assert result.state is RunState.PARTIAL
    assert isinstance(result.components["database"].errors[-1], NotADatabaseError)


def test_databases_in_folders_are_databases(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    connection = make_database(tmp_path / "images" / "index.db")
    outcome = planter.back_up().components["images"]
    assert [record.path.rpartition("/")[2] for record in outcome.databases] == ["index.db"]
    assert outcome.files == 4, "its -wal and -shm are not saved"
    planter.change_component("images", databases=False)
    assert planter.back_up().components["images"].databases == ()
    connection.close()


def test_the_output_of_a_command(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    program = tmp_path / "program.py"
    program.write_text("print('saved by a command')")
    planter.change_component("settings", kind=ComponentKind.COMMAND, sources=(),
                             command=(sys.executable, str(program), "canary"), filename="settings.txt")
    result = planter.back_up()
    assert result.state is RunState.COMPLETE
    assert result.components["settings"].size_bytes == len("saved by a command\n")
    assert "canary" not in str(result) + str(planter.manager.list_runs())
    program.write_text("print('half'); raise SystemExit('the printer is on fire')")
    failed = planter.back_up().components["settings"]
    assert failed.state is ComponentState.FAILED
    assert isinstance(failed.errors[0], SourceCommandError)
    assert "on fire" in str(failed.errors[0])
    assert failed.snapshot_id == ""
