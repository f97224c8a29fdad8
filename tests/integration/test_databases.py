"""SQLite databases in a backup: what is saved of them, and what their owners notice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.databases import DatabaseOptions, DatabaseWatch
from kuramori.errors import DatabaseBusyError, DatabaseSavedRawError, DatabaseUnsoundError, NotADatabaseError
from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.databases import JOURNAL_MODES, file_states, killed_writer, make_bank
from samples.kuramori_command import Kuramori
from samples.repositories import PASSWORD, QUICK, make_repository, nodes_by_path, reopened, snapshot_files


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


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_a_database_in_use_is_saved_with_its_log_and_not_written_to(tmp_path: Path, folder: Path, mode: str) -> None:
    """An open connection, rows in the log: the image has them, no file changes but the marks in -shm."""
    make_bank(folder / "bank.db", mode)
    owner = sqlite3.connect(folder / "bank.db", isolation_level=None)
    owner.execute(f"PRAGMA journal_mode = {mode}")
    owner.execute("INSERT INTO transfer (first, second, amount) VALUES (1, 2, 3)")
    (folder / "notes-wal").write_text("no log, there is no database of that name")
    before = file_states(folder)
    result = _back_up(make_repository(tmp_path), folder)
    assert file_states(folder) == before
    owner.close()
    assert result.errors == ()
    saved = snapshot_files(reopened(tmp_path), result, folder)
    assert set(saved) == {b"/bank.db", b"/notes-wal"}
    (tmp_path / "image.db").write_bytes(saved[b"/bank.db"])
    image = sqlite3.connect(tmp_path / "image.db")
    assert image.execute("SELECT first, second, amount FROM transfer").fetchall() == [(1, 2, 3)]
    image.close()
    assert {table.name: table.rows for table in result.databases[0].tables}["transfer"] == 1


def test_the_node_keeps_the_files_metadata_and_has_the_images_size(tmp_path: Path, folder: Path) -> None:
    make_bank(folder / "bank.db", "wal")
    os.chmod(folder / "bank.db", 0o640)
    os.utime(folder / "bank.db", ns=(5, 1_700_000_000_123_456_789))
    status = (folder / "bank.db").stat()
    repository = make_repository(tmp_path)
    node = nodes_by_path(repository, _back_up(repository, folder).snapshot)[os.fsencode(folder / "bank.db")]
    assert (node.permissions, node.uid, node.inode) == (0o640, status.st_uid, status.st_ino)
    assert node.mtime.startswith("2023-11-14T22:13:20.123456789")
    assert node.size == status.st_size


def test_an_unchanged_database_is_not_read_again_and_its_record_is_kept(tmp_path: Path, folder: Path) -> None:
    """A commit to the log alone is a change, too."""
    make_bank(folder / "bank.db", "wal")
    owner = sqlite3.connect(folder / "bank.db", isolation_level=None)
    owner.execute("INSERT INTO transfer (first, second, amount) VALUES (1, 2, 3)")
    _wait_for_a_tick(tmp_path)
    first = _back_up(make_repository(tmp_path), folder)
    second = _back_up(reopened(tmp_path), folder, known=first.databases)
    assert second.summary.files_unmodified == 1
    assert second.databases == first.databases
    required = frozenset({os.fsencode(folder / "bank.db")})
    assert _back_up(reopened(tmp_path), folder).databases == ()
    assert _back_up(reopened(tmp_path), folder, required=required).databases == first.databases
    before = (folder / "bank.db").stat()
    owner.execute("INSERT INTO transfer (first, second, amount) VALUES (4, 5, 6)")
    assert (folder / "bank.db").stat() == before
    third = _back_up(reopened(tmp_path), folder, known=first.databases)
    assert third.summary.files_changed == 1
    assert third.databases[0].tables[2] == TableCount("transfer", 2)
    owner.close()


def test_what_changed_after_the_parent_began_is_read_again(tmp_path: Path, folder: Path) -> None:
    """It may have changed twice within one tick, before it was read and after that."""
    make_bank(folder / "bank.db", "delete")
    clock = FakeClock(os.stat(folder / "bank.db").st_ctime_ns)
    store = LocalBackend(tmp_path / "repository")
    create_repository(store, PASSWORD, CreateOptions(kdf=QUICK, clock=clock)).close()
    results = []
    for _ in range(3):
        results.append(_back_up(open_repository(store, PASSWORD, OpenOptions(clock=clock)), folder))
        clock.advance(1)
    assert [(result.summary.files_changed, result.summary.files_unmodified) for result in results] == [
        (0, 0), (1, 0), (0, 1)]


def _wait_for_a_tick(folder: Path) -> None:
    """Return when the file system's clock has gone on: what changed before counts as older then."""
    def now() -> int:
        (folder / "tick").write_bytes(b"x")
        return (folder / "tick").stat().st_ctime_ns

    before = now()
    while now() == before:
        pass


def test_rows_of_a_program_that_was_killed_are_saved(tmp_path: Path, folder: Path) -> None:
    """With -shm and without it, from the log and from a journal that must be played back; its owner finds
    everything as he left it."""
    insert = "INSERT INTO note VALUES ('committed');"
    create = "CREATE TABLE note (text); " + insert
    killed_writer(folder / "log.db", "wal", create)
    killed_writer(folder / "log without index.db", "wal", create)
    (folder / "log without index.db-shm").unlink()
    killed_writer(folder / "journal.db", "delete", create + "PRAGMA cache_size = 1; CREATE TABLE big (x); BEGIN; "
                  "INSERT INTO note VALUES ('not committed'); INSERT INTO big VALUES (zeroblob(300000));")
    killed_writer(folder / "truncated.db", "truncate", create + "PRAGMA cache_size = 1; CREATE TABLE big (x); "
                  "INSERT INTO big VALUES (zeroblob(300000)); BEGIN; UPDATE note SET text = 'not committed'; "
                  "DELETE FROM big;")
    assert (folder / "journal.db-journal").stat().st_size > 0
    before = file_states(folder)
    names = set(os.listdir(folder))
    result = _back_up(make_repository(tmp_path), folder)
    assert result.errors == ()
    assert file_states(folder) == before
    assert set(os.listdir(folder)) == names
    saved = snapshot_files(reopened(tmp_path), result, folder)
    assert set(saved) == {b"/log.db", b"/log without index.db", b"/journal.db", b"/truncated.db"}
    for name, content in saved.items():
        (tmp_path / "image.db").write_bytes(content)
        image = sqlite3.connect(tmp_path / "image.db")
        assert image.execute("SELECT text FROM note").fetchall() == [("committed",)], name
        assert image.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        image.close()
    assert {record.integrity for record in result.databases} == {"ok"}


def test_a_read_only_folder(tmp_path: Path, folder: Path, require_program: Callable[[str], str]) -> None:
    """Whoever may only read can save a database with a log, with and without -shm, and leaves nothing."""
    for database in ("a.db", "b.db"):
        killed_writer(folder / database, "wal", "CREATE TABLE note (text); INSERT INTO note VALUES ('committed')")
    (folder / "b.db-shm").unlink()
    make_bank(folder / "c.db", "wal")
    make_bank(folder / "d.db", "delete")
    make_bank(folder / "secret.db", "wal")
    make_repository(tmp_path).close()
    names = set(os.listdir(folder))
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "secret.db").chmod(0)
    # Root may write to everything, unless this power is taken from it.
    bare = [require_program("setpriv"), "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    code = ("import os, sys; sys.path[:0] = sys.argv[3:]\n"
            "from pathlib import Path\n"
            "from kuramori import BackupOptions, DatabaseOptions, back_up\n"
            "from samples.repositories import reopened\n"
            "print(os.access(sys.argv[1], os.W_OK), end=' ')\n"
            "result = back_up(reopened(Path(sys.argv[2])),"
            " BackupOptions(paths=(sys.argv[1].encode(),), databases=DatabaseOptions()))\n"
            "print([str(error.fields['detail']) for error in result.errors],"
            " [(Path(record.path).name, record.tables[-1].rows) for record in result.databases if record.sound])\n")
    done = subprocess.run([*bare, sys.executable, "-c", code, str(folder), str(tmp_path), *sys.path],
                          capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    found = "[('a.db', 1), ('b.db', 1), ('c.db', 0), ('d.db', 0)]"
    assert done.stdout == f"False ['Permission denied'] {found}\n", done.stderr
    assert set(os.listdir(folder)) == names


def test_what_sqlite_cannot_read_is_saved_raw_and_named_each_time(tmp_path: Path, folder: Path) -> None:
    rubbish = b"SQLite format 3\0" + os.urandom(5000)
    (folder / "broken.db").write_bytes(rubbish)
    (folder / "broken.db-wal").write_bytes(b"its log")
    make_bank(folder / "cut off.db", "delete")
    os.truncate(folder / "cut off.db", 8192)
    (folder / os.fsdecode(b"\xff.db")).write_bytes((folder / "cut off.db").read_bytes())
    make_repository(tmp_path)
    for _ in range(2):
        result = _back_up(reopened(tmp_path), folder)
        assert [type(error) for error in result.errors] == [DatabaseSavedRawError] * 3
        assert "file is not a database" in str(result.errors[0])
        saved = snapshot_files(reopened(tmp_path), result, folder)
        assert saved[b"/broken.db"] == rubbish
        assert saved[b"/broken.db-wal"] == b"its log"
        assert saved[b"/cut off.db"] == saved[b"/\xff.db"] == (folder / "cut off.db").read_bytes()
    assert set(os.listdir(folder)) == {"broken.db", "broken.db-wal", "cut off.db", os.fsdecode(b"\xff.db")}


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_damage_inside_is_saved_and_named_each_time(tmp_path: Path, folder: Path, mode: str) -> None:
    """And so is a row that refers to nothing."""
    make_bank(folder / "bank.db", mode)
    connection = sqlite3.connect(folder / "bank.db")
    connection.executescript("INSERT INTO transfer (first, note) VALUES (1, 'x'); "
                             "CREATE TABLE orphan (first REFERENCES account); INSERT INTO orphan VALUES (999)")
    connection.close()
    make_repository(tmp_path)
    result = _back_up(reopened(tmp_path), folder)
    assert [type(error) for error in result.errors] == [DatabaseUnsoundError]
    assert "orphan row 1 refers to account" in str(result.errors[0])
    content = bytearray((folder / "bank.db").read_bytes())
    root = 4096 * 2
    content[root + 8 : root + 4096] = bytes(4088)
    (folder / "bank.db").write_bytes(content)
    for _ in range(2):
        result = _back_up(reopened(tmp_path), folder, known=result.databases)
        assert [type(error) for error in result.errors] == [DatabaseUnsoundError], result
        assert not result.databases[0].sound
        assert snapshot_files(reopened(tmp_path), result, folder)[b"/bank.db"][4096:] == content[4096:]


def test_somebody_who_holds_a_database_is_waited_for_then_named(tmp_path: Path, folder: Path) -> None:
    make_bank(folder / "bank.db", "delete")
    (folder / "other").write_text("saved all the same")
    holder = sqlite3.connect(folder / "bank.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    result = _back_up(make_repository(tmp_path), folder)
    holder.close()
    assert [type(error) for error in result.errors] == [DatabaseBusyError]
    assert "was held by another program for 0.2 seconds" in str(result.errors[0])
    assert set(snapshot_files(reopened(tmp_path), result, folder)) == {b"/other"}


def test_what_must_be_a_database_and_is_none(tmp_path: Path, folder: Path) -> None:
    (folder / "text.db").write_text("no database")
    (folder / "empty.db").touch()
    make_bank(folder / "bank.db", "delete")
    required = frozenset(os.fsencode(folder / name) for name in ("text.db", "empty.db", "bank.db"))
    result = _back_up(make_repository(tmp_path), folder, required=required)
    assert [type(error) for error in result.errors] == [NotADatabaseError]
    assert [Path(record.path).name for record in result.databases] == ["bank.db", "empty.db"]
    assert all(record.sound for record in result.databases)


@pytest.mark.parametrize("many", [False, True])
def test_a_caller_keeps_the_locks_of_his_own_databases(tmp_path: Path, folder: Path, many: bool) -> None:
    """The engine as a library in the application that owns the database: while it holds a transaction, no
    other process gets the lock because of us, however small or large the backup is, and wherever it goes."""
    make_bank(folder / "bank.db", "delete")
    (folder / "many").mkdir()
    if many:
        for number in range(700):
            (folder / "many" / f"{number}").write_bytes(b"%d" % number)
    (folder / "plain.bin").write_bytes(os.urandom(600_000))
    mine = sqlite3.connect(folder / "bank.db", isolation_level=None)
    fresh = sqlite3.connect(folder / "fresh.db", isolation_level=None)
    mine.execute("BEGIN IMMEDIATE")
    fresh.execute("BEGIN EXCLUSIVE")
    for store in (LocalBackend(tmp_path / "repository"), MemoryBackend()):
        repository = create_repository(store, PASSWORD, CreateOptions(kdf=QUICK))
        _back_up(repository, folder)
        for name in ("bank.db", "fresh.db"):
            other = ("import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None); "
                     "connection.execute('BEGIN IMMEDIATE')")
            done = subprocess.run([sys.executable, "-c", other, str(folder / name)], capture_output=True, text=True,
                                  check=False)
            assert "database is locked" in done.stderr, (store, name)
    mine.execute("COMMIT")
    fresh.execute("COMMIT")
    mine.close()
    fresh.close()


def test_a_store_that_workers_cannot_open_and_a_dry_run(tmp_path: Path, folder: Path) -> None:
    make_bank(folder / "bank.db", "wal")
    (folder / "large.bin").write_bytes(os.urandom(3_000_000))
    repository = create_repository(MemoryBackend(), PASSWORD, CreateOptions(kdf=QUICK))
    dry = back_up(repository, BackupOptions(paths=(os.fsencode(folder),), dry_run=True, databases=DatabaseOptions()))
    assert dry.snapshot_id is None
    assert dry.databases[0].sound
    result = _back_up(repository, folder)
    assert result.summary.data_blobs == dry.summary.data_blobs >= 2
    assert result.summary.data_added >= 3_000_000
    assert snapshot_files(repository, result, folder) == {
        b"/bank.db": (folder / "bank.db").read_bytes(), b"/large.bin": (folder / "large.bin").read_bytes()}


def test_a_large_database_is_checked_as_it_is_stored(tmp_path: Path, folder: Path) -> None:
    """Where its writers would have to wait, and its image is too large to be kept."""
    make_bank(folder / "bank.db", "delete")
    watch = DatabaseWatch(DatabaseOptions(), None)  # type: ignore[arg-type]
    repository = make_repository(tmp_path)
    result = _back_up(repository, folder)
    node = nodes_by_path(repository, result.snapshot)[os.fsencode(folder / "bank.db")]
    facts = DatabaseRecord("", "sqlite", page_size=4096, page_count=node.size // 4096)
    watch.take(b"/bank.db", os.fsencode(folder / "bank.db"), facts, node.content_ids)
    assert watch.records()[0].integrity == ""
    assert watch.check_stored(repository, lambda: None) == []
    assert watch.records() == result.databases


def test_a_changed_page_costs_one_chunk(tmp_path: Path, folder: Path) -> None:
    make_bank(folder / "bank.db", "delete")
    connection = sqlite3.connect(folder / "bank.db", isolation_level=None)
    connection.execute("CREATE TABLE picture (id INTEGER PRIMARY KEY, content BLOB)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO picture (content) VALUES (?)", [(os.urandom(900),) for _ in range(3000)])
    connection.execute("COMMIT")
    _back_up(make_repository(tmp_path), folder)
    connection.execute("UPDATE picture SET content = randomblob(900) WHERE id IN (10, 1500, 2990)")
    connection.close()
    again = _back_up(reopened(tmp_path), folder)
    assert again.summary.data_added - again.data_added_trees == 4 * 16384  # the first page counts changes


def test_names_and_paths_of_any_length(tmp_path: Path, folder: Path) -> None:
    """SQLite's own limit for a path is 512 bytes."""
    deep = folder
    for _ in range(5):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    names = [f"{'n' * 240}.db", "a?mode=ro&x=%41#.db", "file:x.db", "日本語 データ.db", "new\nline.db"]
    for name in names:
        make_bank(folder / "bank.db", "wal")
        (folder / "bank.db").rename(folder / "moved")
        os.rename(folder / "moved", deep / name)
    result = _back_up(make_repository(tmp_path), folder)
    assert result.errors == ()
    assert len(result.databases) == len(names)
    assert all(record.sound for record in result.databases)


def test_the_command(tmp_path: Path, folder: Path) -> None:
    """``--databases`` is for the asking: restic knows nothing of it."""
    kuramori = Kuramori(tmp_path / "repository", "x")
    kuramori.init_quickly()
    killed_writer(folder / "a.db", "wal", "CREATE TABLE note (text); INSERT INTO note VALUES ('committed')")
    assert "databases" not in kuramori.backup(folder)
    assert "a.db-wal" in kuramori.run("ls", "latest")
    summary = kuramori.backup("--databases", folder)
    assert "a.db-wal" not in kuramori.run("ls", "latest")
    assert [(record["path"], record["integrity"], record["tables"]) for record in summary["databases"]] == [
        (str(folder / "a.db"), "ok", [{"name": "note", "rows": 1}])]
    (folder / "broken.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    kuramori.run("backup", "--databases", folder, codes=(3,))
