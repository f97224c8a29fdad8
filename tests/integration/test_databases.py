"""SQLite databases in a backup: what is saved of them, and what their owners notice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.databases import DatabaseOptions
from kuramori.model.databases import TableCount
from kuramori.repository.repository import Repository
from samples.databases import JOURNAL_MODES, file_states, make_bank
from samples.repositories import make_repository, reopened, snapshot_files


def _back_up(repository: Repository, folder: Path, **options: object) -> BackupResult:
    return back_up(repository, BackupOptions(
        paths=(os.fsencode(folder),), databases=DatabaseOptions(busy_timeout=0.2, **options)))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to save."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_an_idle_database_is_saved_byte_for_byte_and_not_touched(tmp_path: Path, folder: Path, mode: str) -> None:
    """Of a database that its owner closed nothing changes, and no file comes into being."""
    make_bank(folder / "bank.db", mode)
    before = file_states(folder)
    result = _back_up(make_repository(tmp_path), folder)
    assert result.errors == ()
    assert file_states(folder) == before
    assert not (folder / "bank.db-shm").exists()
    saved = snapshot_files(reopened(tmp_path), result, folder)
    assert saved == {b"/bank.db": (folder / "bank.db").read_bytes()}
    record, = result.databases
    assert record.path == str(folder / "bank.db")
    assert (record.integrity, record.foreign_keys) == ("ok", "ok")
    assert record.tables == (TableCount("account", 50), TableCount("counter", 1), TableCount("transfer", 0))
    assert record.page_size * record.page_count == (folder / "bank.db").stat().st_size
