"""MariaDB: what a dump holds, what comes back, and that nothing is lost or shown on the way."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.errors import (
    AccountsHint,
    DatabaseDiffersError,
    DatabaseInUseError,
    DatabaseLoginError,
    DatabaseRestoreError,
    DatabaseRightsError,
    DatabaseServerAwayError,
    DatabaseServerError,
    DatabaseToolMissingError,
    DumpFailedError,
    DumpNotWholeError,
    Interrupted,
    KuramoriError,
    NoSuchDatabaseError,
    PasswordFileError,
    UnsafeTablesHint,
    UsageError,
)
from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.repository.snapshots import load_snapshots
from kuramori.restoring.database_feeding import FeedOptions, FeedResult
from kuramori.restoring.dump_feeding import StoredDump
from kuramori.restoring.mysql_feeding import drop_mysql, exchange_mysql, feed_mysql
from kuramori.sources.dump_plan import DumpPlan
from kuramori.sources.mysql import MysqlDumpOptions, plan_mysql
from kuramori.sources.server_address import ServerAddress
from kuramori.sources.stream_source import StreamSource
from kuramori.storage.backend import FileType
from samples.mariadb_content import database_content, fill_database
from samples.mariadb_server import PASSWORD, MariadbServer
from samples.process_watching import watched_processes
from samples.repositories import make_repository, reopened, snapshot_files

MOMENT = datetime(2026, 11, 23, 2, 0, 0).astimezone()


def _save(folder: Path, address: ServerAddress) -> tuple[BackupResult, DumpPlan, tuple[DatabaseRecord, ...]]:
    repository = reopened(folder) if (folder / "repository").exists() else make_repository(folder)
    with plan_mysql(MysqlDumpOptions(address)) as plan:
        result = back_up(repository, BackupOptions(streams=plan.streams))
        return result, plan, plan.finish()


def _saved(folder: Path, address: ServerAddress) -> tuple[StoredDump, DatabaseRecord]:
    result, _, records = _save(folder, address)
    assert result.snapshot_id is not None
    repository = reopened(folder)
    repository.load_index()
    return StoredDump(repository, result.snapshot_id, records[0].path.encode()), records[0]


def _feed(server: MariadbServer, saved: tuple[StoredDump, DatabaseRecord], **options: object) -> FeedResult:
    return feed_mysql(saved[0], FeedOptions(**{"address": server.address(), "record": saved[1],  # type: ignore[arg-type]
                                               **options}))


def _databases(server: MariadbServer) -> set[str]:
    return set(server.sql("SHOW DATABASES").splitlines()) - {"mysql", "sys", "information_schema",
                                                             "performance_schema"}


def _assert_nothing_stored(folder: Path) -> None:
    repository = reopened(folder)
    assert list(repository.backend.list(FileType.LOCK)) == []
    assert load_snapshots(repository) == []


# --- dumps ---------------------------------------------------------------------------------------


def test_all_databases_and_accounts_are_dumped(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Each database in a file, with its rows counted in the dump itself; tables that are not InnoDB are named."""
    fill_database(mariadb_server, "planter")
    mariadb_server.sql("CREATE DATABASE `-x /店%`; CREATE TABLE `-x /店%`.old (i INT) ENGINE=MyISAM")
    result, plan, records = _save(tmp_path, mariadb_server.address())
    assert plan.databases == ("-x /店%", "planter")
    assert [type(warning) for warning in plan.warnings] == [UnsafeTablesHint]
    assert "old" in str(plan.warnings[0])
    files = snapshot_files(reopened(tmp_path), result, Path("/mysql"))
    assert sorted(files) == sorted(["/databases/-x %2F店%25.sql".encode(), b"/databases/planter.sql", b"/users.sql"])
    assert b"CREATE USER" in files[b"/users.sql"]
    assert result.snapshot.paths == ["/mysql"]
    assert "MariaDB" in records[1].server_version
    assert {table.name: table.rows for table in records[1].tables} == {
        "plants": 2000, "水やり `log` VALUES (1);": 3000, "parts": 99, "empty_one": 0}


def test_unchanged_rows_cost_nothing_again(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Two dumps of a database in which little changed share most of their chunks."""
    mariadb_server.sql("CREATE DATABASE big; USE big; CREATE TABLE r (i INT PRIMARY KEY, a TEXT) AS "
                       "SELECT seq AS i, CONCAT(MD5(seq), MD5(-seq), MD5(seq * 7)) AS a FROM seq_2_to_160000")
    first = _save(tmp_path, mariadb_server.address())[0]
    mariadb_server.sql("UPDATE big.r SET a = 'changed' WHERE i = 100000; INSERT INTO big.r VALUES (1, '')")
    second = _save(tmp_path, mariadb_server.address())[0]
    assert first.summary.total_bytes_processed > 20_000_000
    assert second.summary.data_added < 0.4 * first.summary.data_added
    assert _save(tmp_path, mariadb_server.address())[0].summary.data_blobs == 0


def test_restic_hands_it_to_the_client(tmp_path: Path, mariadb_server: MariadbServer, restic_old: str) -> None:
    """Without us: ``restic dump`` into ``mariadb`` brings the database back under its name."""
    fill_database(mariadb_server, "planter")
    before = database_content(mariadb_server, "planter")
    _save(tmp_path, mariadb_server.address("planter"))
    mariadb_server.drop_all()
    environment = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(tmp_path / "repository")}
    restic = subprocess.Popen([restic_old, "dump", "--no-cache", "latest", "/mysql/databases/planter.sql"],
                              env=environment, stdout=subprocess.PIPE)
    subprocess.run(["mariadb", "--no-defaults", f"--socket={mariadb_server.socket}", "--user=root"],
                   stdin=restic.stdout, check=True)
    assert restic.wait() == 0
    assert database_content(mariadb_server, "planter") == before


def test_broken_dumps_make_no_snapshot(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """The server is killed, a table changes its form, the dump ends early: no snapshot, no lock, a sentence."""
    fill_database(mariadb_server, "planter")
    mariadb_server.sql("CREATE TABLE a_large (i INT, b LONGTEXT); CREATE TABLE z (i INT);"
                       "INSERT INTO a_large SELECT seq, REPEAT(MD5(seq), 9999) FROM seq_1_to_60", "planter")
    make_repository(tmp_path)

    def save_with(first: object, **changes: object) -> KuramoriError:
        with pytest.raises(KuramoriError) as caught, plan_mysql(MysqlDumpOptions(mariadb_server.address())) as plan:
            done: list[int] = []
            see = plan.streams[0].watch
            assert see is not None

            def watch(piece: memoryview) -> None:
                if not done:
                    done.append(1)
                    first()  # type: ignore[operator]
                see(piece)

            source = replace(plan.streams[0], watch=watch, **changes)  # type: ignore[arg-type]
            back_up(reopened(tmp_path), BackupOptions(streams=(source, *plan.streams[1:])))
        _assert_nothing_stored(tmp_path)
        return caught.value

    altered = save_with(lambda: mariadb_server.sql("ALTER TABLE z MODIFY i BIGINT", "planter"))
    assert isinstance(altered, DumpFailedError)
    assert "z" in str(altered)
    with plan_mysql(MysqlDumpOptions(mariadb_server.address("planter"))) as plan:
        command = plan.streams[0].command
        environment = plan.streams[0].environment
        early = StreamSource(filename=b"x", command=("sh", "-c", '"$@" | head -c 30000', "sh", *command),
                             environment=environment, background=True, verdict=plan.streams[0].verdict)
        with pytest.raises(DumpNotWholeError):
            back_up(reopened(tmp_path), BackupOptions(streams=(early,)))
    _assert_nothing_stored(tmp_path)
    try:
        assert isinstance(save_with(mariadb_server.kill), DatabaseServerAwayError | DumpFailedError)
    finally:
        mariadb_server.start()


def test_wrong_logins_and_addresses(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Each has a sentence of its own, on one line, without a password."""
    fill_database(mariadb_server, "planter")
    mariadb_server.sql("CREATE USER IF NOT EXISTS poor@'%' IDENTIFIED BY 'canary';"
                       "GRANT SELECT ON planter.parts TO poor@'%'")
    wrong_password, poor = tmp_path / "wrong", tmp_path / "poor"
    for path, text in ((wrong_password, "wrong-canary"), (poor, "canary")):
        path.touch(0o600)
        path.write_text(text)
    cases: list[tuple[ServerAddress, type[KuramoriError]]] = [
        (mariadb_server.address(password_file=wrong_password), DatabaseLoginError),
        (mariadb_server.address(password_file=tmp_path / "none"), PasswordFileError),
        (mariadb_server.address("no such"), NoSuchDatabaseError),
        (mariadb_server.address(host="/no/such/socket"), DatabaseServerAwayError),
        (mariadb_server.address(host="127.0.0.1", port=1), DatabaseServerAwayError),
        (mariadb_server.address("planter", user="poor", password_file=poor), DatabaseRightsError),
    ]
    for address, expected in cases:
        with pytest.raises(KuramoriError) as caught:
            _save(tmp_path, address)
        assert isinstance(caught.value, expected), caught.value
        assert "canary" not in str(caught.value)
        assert "\n" not in str(caught.value)
    _assert_nothing_stored(tmp_path)


def test_user_without_rights_on_accounts(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Who may read his database can save it, and is told that the accounts are not in it."""
    mariadb_server.sql("CREATE DATABASE garden; CREATE TABLE garden.t (i INT); CREATE USER IF NOT EXISTS tenant@'%';"
                       "GRANT ALL ON garden.* TO tenant@'%'")
    _, plan, records = _save(tmp_path, mariadb_server.address(user="tenant", password_file=None))
    assert [type(warning) for warning in plan.warnings] == [AccountsHint]
    assert plan.databases == ("garden",)
    assert records[0].tables == (TableCount("t", 0),)


def test_missing_programs(tmp_path: Path, mariadb_server: MariadbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is to be installed is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseToolMissingError, match="apt install mariadb-client"):
        _save(tmp_path, mariadb_server.address())


@pytest.mark.parametrize("kind", ["password_file", "defaults_file"])
def test_passwords_are_seen_nowhere(tmp_path: Path, mariadb_server: MariadbServer, kind: str) -> None:
    """Not in any argument or variable of any process while the dump runs, not in the repository, and no file
    is left of it."""
    mariadb_server.sql("CREATE DATABASE garden")
    login = mariadb_server.password_file
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    if kind == "defaults_file":
        login = tmp_path / "my.cnf"
        login.touch(0o600)
        login.write_text(f'[client]\npassword="{escaped}"\n')
    address = mariadb_server.address(**{"password_file": None, kind: login})
    with watched_processes() as seen:
        result = _save(tmp_path, address)[0]
    arguments = {part for text in seen for part in text.split(b"\0")}
    files = {Path(os.fsdecode(part.partition(b"=")[2])) for part in arguments if part.startswith(b"--defaults-extra-f")}
    assert len(files) == 1
    assert files == {login} if kind == "defaults_file" else not next(iter(files)).parent.exists()
    for text in [*seen, *snapshot_files(reopened(tmp_path), result, Path("/")).values()]:
        assert PASSWORD.encode() not in text
        assert escaped.encode() not in text


# --- restores ------------------------------------------------------------------------------------


def test_dropped_database_comes_back_row_by_row(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """With keys, code, sequences and events; and under another name, which leaves the first alone."""
    fill_database(mariadb_server, "planter")
    before = database_content(mariadb_server, "planter")
    saved = _saved(tmp_path, mariadb_server.address())
    mariadb_server.drop_all()
    result = _feed(mariadb_server, saved)
    assert (result.database, result.kept, result.verified, result.warnings) == ("planter", "", True, ())
    assert result.record == saved[1]
    assert database_content(mariadb_server, "planter") == before
    mariadb_server.sql("DELETE FROM parts", "planter")
    assert _feed(mariadb_server, saved, database="試し `x`").kept == ""
    assert database_content(mariadb_server, "試し `x`") == before
    assert mariadb_server.sql("SELECT COUNT(*) FROM parts", "planter") == "0\n"
    assert _databases(mariadb_server) == {"planter", "試し `x`"}


@pytest.mark.exhaustive
def test_in_place_keeps_what_was_there_and_undoes(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """The swap keeps the old content; undo brings it back with its events; only kept databases are dropped."""
    fill_database(mariadb_server, "planter")
    before = database_content(mariadb_server, "planter")
    saved = _saved(tmp_path, mariadb_server.address())
    mariadb_server.sql("DELETE FROM parts; DROP TRIGGER grows; DROP VIEW above; CREATE VIEW above AS SELECT 1 a, 2 b;"
                       "CREATE TABLE more (i INT); DROP EVENT nightly; CREATE EVENT weekly ON SCHEDULE EVERY 7 DAY "
                       "STARTS '2031-01-01 00:00:00' DO DELETE FROM more", "planter")
    changed = database_content(mariadb_server, "planter")
    kept = _feed(mariadb_server, saved).kept
    assert kept.startswith("planter_before_")
    assert database_content(mariadb_server, "planter") == before
    assert database_content(mariadb_server, kept, with_events=False) == {
        name: text for name, text in changed.items() if name != "events"}
    assert mariadb_server.sql("SHOW EVENTS", kept) == ""  # nothing happens in what is only kept
    assert _databases(mariadb_server) == {"planter", kept}

    address = mariadb_server.address()
    aside = exchange_mysql(address, "planter", kept, MOMENT)
    assert aside == "planter_undone_20261123_020000"
    assert database_content(mariadb_server, "planter") == changed
    assert _databases(mariadb_server) == {"planter", aside}
    with pytest.raises(NoSuchDatabaseError):
        exchange_mysql(address, "planter", kept, MOMENT)
    assert exchange_mysql(address, "planter", "", MOMENT) == "planter_undone_20261123_020000_2"
    assert exchange_mysql(address, "planter", aside, MOMENT) == ""
    assert database_content(mariadb_server, "planter") == before
    with pytest.raises(UsageError):
        drop_mysql(address, "planter")
    drop_mysql(address, "planter_undone_20261123_020000_2")
    assert _databases(mariadb_server) == {"planter"}


def test_database_in_use_is_refused_or_taken(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Who is connected is named, and nothing changes; ``disconnect`` ends the sessions."""
    fill_database(mariadb_server, "planter")
    saved = _saved(tmp_path, mariadb_server.address())
    user = subprocess.Popen(["mariadb", "--no-defaults", f"--socket={mariadb_server.socket}", "--user=root", "--batch",
                             "--unbuffered", "--skip-reconnect", "--skip-column-names", "planter"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert user.stdin is not None
    assert user.stdout is not None
    try:
        user.stdin.write(b"SELECT 'connected';\n")
        user.stdin.flush()
        assert user.stdout.readline() == b"connected\n"
        with pytest.raises(DatabaseInUseError, match="root@localhost"):
            _feed(mariadb_server, saved)
        assert _databases(mariadb_server) == {"planter"}
        kept = _feed(mariadb_server, saved, disconnect=True).kept
        assert _databases(mariadb_server) == {"planter", kept}
    finally:
        user.stdin.close()
        user.wait()
        user.stdout.close()


@pytest.mark.exhaustive
def test_broken_feeds_leave_everything_as_it_was(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Other rows than recorded, an interruption, a dump that stops, code that cannot be made: nothing changes."""
    fill_database(mariadb_server, "planter")
    before = database_content(mariadb_server, "planter")
    stored, record = _saved(tmp_path, mariadb_server.address())
    polls = iter(range(10**6))

    def give_up() -> None:
        if next(polls) > 12:
            raise Interrupted

    content = snapshot_files(stored.repository, _only(stored), Path("/mysql"))[b"/databases/planter.sql"]
    marker = b"-- Dumping events for database"
    assert content.count(marker) == 1
    wrong_sql = tmp_path / "wrong.sql"
    wrong_sql.write_bytes(content.replace(marker, b"INSERT INTO nowhere VALUES (1);\n" + marker))
    bad_event = tmp_path / "event.sql"
    bad_event.write_bytes(content.replace(b"`nightly` ON SCHEDULE EVERY", b"`nightly` ON SCHEDULE NEVER"))
    broken = make_repository(tmp_path, "broken")
    result = back_up(broken, BackupOptions(paths=(os.fsencode(wrong_sql), os.fsencode(bad_event))))
    assert result.snapshot_id is not None
    other = msgspec.structs.replace(record, tables=(TableCount("parts", 98),))
    cases: list[tuple[StoredDump, DatabaseRecord, dict[str, object], type[KuramoriError]]] = [
        (stored, other, {}, DatabaseDiffersError),
        (stored, record, {"check": give_up}, Interrupted),
        (StoredDump(broken, result.snapshot_id, os.fsencode(wrong_sql)), record, {}, DatabaseRestoreError),
        (StoredDump(broken, result.snapshot_id, os.fsencode(bad_event)), record, {}, DatabaseServerError),
    ]
    for dump, saved, options, error in cases:
        with pytest.raises(error) as caught:
            _feed(mariadb_server, (dump, saved), database="planter", **options)
        assert "\n" not in str(caught.value)
        assert _databases(mariadb_server) == {"planter"}
        assert database_content(mariadb_server, "planter") == before


def _only(stored: StoredDump) -> BackupResult:
    """Return a snapshot as a backup returns it."""
    snapshot = load_snapshots(stored.repository)[0].snapshot
    return BackupResult(stored.snapshot, snapshot, None, snapshot.summary, (), 0.0)  # type: ignore[arg-type]
