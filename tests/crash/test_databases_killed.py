"""A backup of databases that goes wrong in the middle: no snapshot, no harm to the databases, and the next one
succeeds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.archiving.databases import DatabaseOptions
from kuramori.errors import DatabaseReplacementError, Interrupted, KuramoriError, StorageFullError
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.restoring.sqlite_replacement import replace_database
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.faulty_backend import FailKind, FaultyBackend
from samples.databases import holder, make_bank, transfers_of_instant
from samples.repositories import PASSWORD, QUICK, make_repository, reopened


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A folder with a database that somebody holds exclusively."""
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "bank.db"
    make_bank(path, "delete")
    with holder(path):
        yield path.parent


def _children() -> set[int]:
    found = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        found |= {int(child) for child in listing.read_text().split()}
    return found


def _wait_for_a_worker(before: set[int]) -> int:
    while True:
        for child in _children() - before:
            if b"kuramori.archiving.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child


def _options(folder: Path, cancelled: Callable[[], bool] = lambda: False) -> BackupOptions:
    databases = DatabaseOptions(busy_timeout=600.0)
    return BackupOptions(paths=(os.fsencode(folder),), databases=databases, cancelled=cancelled)


def test_the_worker_is_killed_while_it_waits(tmp_path: Path, held: Path) -> None:
    before = _children()
    killer = threading.Thread(target=lambda: os.kill(_wait_for_a_worker(before), signal.SIGKILL))
    repository = make_repository(tmp_path)
    killer.start()
    with pytest.raises(KuramoriError, match="a worker process ended unexpectedly"):
        back_up(repository, _options(held))
    killer.join()
    assert load_snapshots(reopened(tmp_path)) == []


def test_an_interruption_does_not_wait_for_who_holds_a_database(tmp_path: Path, held: Path) -> None:
    before = _children()
    repository = make_repository(tmp_path)
    with pytest.raises(Interrupted):
        back_up(repository, _options(held, lambda: bool(_children() - before)))
    assert _children() <= before
    assert load_snapshots(reopened(tmp_path)) == []


def test_the_storage_fills_up(tmp_path: Path) -> None:
    """The databases' owners go on; the next backup with room is whole."""
    (tmp_path / "source").mkdir()
    make_bank(tmp_path / "source" / "bank.db", "wal")
    store = MemoryBackend()
    create_repository(store, PASSWORD, CreateOptions(kdf=QUICK)).close()
    full = FaultyBackend(store, FailKind("commit", StorageFullError(location="memory")))
    with pytest.raises(StorageFullError):
        back_up(open_repository(full, PASSWORD), _options(tmp_path / "source"))
    assert load_snapshots(open_repository(store, PASSWORD)) == []
    transfers_of_instant(tmp_path / "source" / "bank.db")
    assert back_up(open_repository(store, PASSWORD), _options(tmp_path / "source")).databases[0].sound


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_no_room_for_what_was_restored(tmp_path: Path, mode: str, require_program: Callable[[str], str]) -> None:
    """The live database stays as it is."""
    make_bank(tmp_path / "live.db", mode)
    make_bank(tmp_path / "restored.db", "delete")
    connection = sqlite3.connect(tmp_path / "restored.db")
    connection.executescript("CREATE TABLE large (x); INSERT INTO large VALUES (zeroblob(3000000))")
    connection.close()
    code = ("import sys; from pathlib import Path; sys.path[:0] = sys.argv[3:]\n"
            "from kuramori.restoring.sqlite_replacement import replace_database\n"
            "from kuramori.errors import DatabaseReplacementError\n"
            "try: replace_database(Path(sys.argv[1]), Path(sys.argv[2]), busy_timeout=1)\n"
            "except DatabaseReplacementError as error: print(error)\n")
    done = subprocess.run([require_program("prlimit"), "--fsize=1000000", sys.executable, "-c", code,
                           str(tmp_path / "restored.db"), str(tmp_path / "live.db"), *sys.path],
                          capture_output=True, text=True, check=False)
    assert "was not replaced" in done.stdout, done.stderr
    assert "the database in use is unchanged" in done.stdout
    assert transfers_of_instant(tmp_path / "live.db") == 0
    assert not [name for name in os.listdir(tmp_path) if "kuramori" in name]


def test_a_worker_of_a_replacement_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bank(tmp_path / "live.db", "wal")
    make_bank(tmp_path / "restored.db", "wal")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DatabaseReplacementError, match="ended unexpectedly"):
        replace_database(tmp_path / "restored.db", tmp_path / "live.db", busy_timeout=1)
