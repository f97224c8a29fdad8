"""PostgreSQL: what a dump holds, what makes it fail, and that no password is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.errors import (
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseServerAwayError,
    DatabaseToolMissingError,
    DatabaseToolOldError,
    DumpFailedError,
    KuramoriError,
    NoSuchDatabaseError,
    PasswordFileError,
    RolePasswordsHint,
)
from kuramori.model.databases import DatabaseRecord
from kuramori.repository.snapshots import load_snapshots
from kuramori.sources.dump_plan import DumpPlan
from kuramori.sources.postgres import PostgresDumpOptions, plan_postgres
from kuramori.sources.postgres_tools import log_in
from kuramori.sources.server_address import ServerAddress
from kuramori.storage.backend import FileType
from samples.postgres_content import fill_database
from samples.postgres_server import PostgresServer
from samples.process_watching import watched_processes
from samples.repositories import make_repository, nodes_by_path, reopened, snapshot_files

NASTY_NAME = "shop = 'x' /店%\"."


def _save(folder: Path, address: ServerAddress, **options: object) -> tuple[BackupResult, DumpPlan,
                                                                           tuple[DatabaseRecord, ...]]:
    repository = reopened(folder) if (folder / "repository").exists() else make_repository(folder)
    with plan_postgres(PostgresDumpOptions(address, **options)) as plan:  # type: ignore[arg-type]
        result = back_up(repository, BackupOptions(streams=plan.streams))
        return result, plan, plan.finish()


def _assert_nothing_stored(folder: Path) -> None:
    repository = reopened(folder)
    assert list(repository.backend.list(FileType.LOCK)) == []
    assert load_snapshots(repository) == []


def test_all_databases_and_roles_are_dumped(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Each database with its rows counted; ``postgres`` only if something is in it; names of any kind."""
    fill_database(postgres_server, "planter")
    postgres_server.psql('CREATE DATABASE "shop = \'x\' /店%""."')
    result, plan, records = _save(tmp_path, postgres_server.address())
    assert plan.databases == ("planter", NASTY_NAME)
    assert plan.warnings == ()
    files = snapshot_files(reopened(tmp_path), result, Path("/postgres"))
    nasty = "/databases/shop = 'x' %2F店%25\"..dump"
    assert sorted(files) == sorted([b"/databases/planter.dump", nasty.encode(), b"/globals.sql"])
    assert result.snapshot.paths == ["/postgres"]
    assert b"SCRAM-SHA-256$" in files[b"/globals.sql"]  # roles come back with their passwords
    planter = records[0]
    assert (planter.path, planter.kind) == ("/postgres/databases/planter.dump", "postgres")
    assert planter.server_version.startswith("PostgreSQL ")
    assert len(planter.schema_hash) == 64
    assert {table.name: table.rows for table in planter.tables} == {
        "public.plants": 2000, '園芸.水やり "log" 1': 5000, "public.parts_a": 49, "public.parts_b": 50,
        "public.empty": 0, "pg_catalog.pg_largeobject_metadata": 1}
    postgres_server.psql("CREATE TABLE mine (); ")
    try:
        assert _save(tmp_path, postgres_server.address(), with_globals=False)[1].databases == (
            "planter", "postgres", NASTY_NAME)
    finally:
        postgres_server.psql("DROP TABLE mine")


def test_rows_are_counted_in_the_instant_of_the_dump(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """What is written after the dump began is in neither; a table cannot be dropped meanwhile."""
    fill_database(postgres_server, "planter")
    repository = make_repository(tmp_path)
    with plan_postgres(PostgresDumpOptions(postgres_server.address("planter"))) as plan:
        source = plan.streams[0]
        assert source.prepare is not None
        command = source.prepare()
        postgres_server.psql("DELETE FROM parts; INSERT INTO plants (name) VALUES ('late')", "planter")
        with pytest.raises(AssertionError, match="lock timeout"):
            postgres_server.psql("SET lock_timeout = 1; DROP TABLE parts_a", "planter")
        result = back_up(repository, BackupOptions(streams=(replace(source, prepare=None, command=command),)))
        record = plan.finish()[0]
    assert {table.name: table.rows for table in record.tables}["public.plants"] == 2000
    archive = tmp_path / "archive"
    archive.write_bytes(snapshot_files(repository, result, Path("/postgres"))[b"/databases/planter.dump"])
    text = subprocess.run(["pg_restore", "--data-only", "--file=-", archive], check=True, capture_output=True).stdout
    assert b"late" not in text
    assert text.count(b"\tb\n") == 50


def test_unchanged_rows_cost_nothing_again(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Two dumps of a database in which little changed share most of their chunks."""
    postgres_server.psql("CREATE DATABASE big")
    postgres_server.psql("CREATE TABLE rows AS SELECT i, md5(i::text) || md5((-i)::text) AS a, md5((i * 7)::text) AS b "
                         "FROM generate_series(1, 220000) i", "big")
    first = _save(tmp_path, postgres_server.address())[0]
    postgres_server.psql("UPDATE rows SET a = 'changed' WHERE i = 150000; INSERT INTO rows VALUES (0, '', '')", "big")
    second = _save(tmp_path, postgres_server.address())[0]
    assert first.summary.total_bytes_processed > 20_000_000
    assert second.summary.data_added < 0.4 * first.summary.data_added


def test_restic_and_pg_restore_read_it(tmp_path: Path, postgres_server: PostgresServer, restic_binary: str) -> None:
    """The real restic hands the archive to the real pg_restore."""
    fill_database(postgres_server, "planter")
    _save(tmp_path, postgres_server.address("planter"))
    environment = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(tmp_path / "repository")}
    restic = subprocess.Popen([restic_binary, "dump", "--no-cache", "latest", "/postgres/databases/planter.dump"],
                              env=environment, stdout=subprocess.PIPE)
    script = subprocess.run(["pg_restore", "--file=-"], stdin=restic.stdout, check=True, capture_output=True).stdout
    assert restic.wait() == 0
    assert script.count(b"plant ") >= 2000


# --- what goes wrong -----------------------------------------------------------------------------


def test_server_killed_in_the_middle(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """No snapshot, no lock, a sentence."""
    fill_database(postgres_server, "planter")
    repository = make_repository(tmp_path)
    with pytest.raises(KuramoriError) as caught, \
            plan_postgres(PostgresDumpOptions(postgres_server.address())) as plan:
        source = plan.streams[0]
        seen: list[int] = []

        def watch(piece: memoryview) -> None:
            if not seen:
                postgres_server.kill()
            seen.append(len(piece))

        postgres_server.psql("INSERT INTO plants (name, photo) SELECT 'large', convert_to(repeat(md5(i::text), 9999), "
                             "'UTF8') FROM generate_series(1, 60) i", "planter")
        back_up(repository, BackupOptions(streams=(replace(source, watch=watch), *plan.streams[1:])))
    try:
        assert isinstance(caught.value, DatabaseServerAwayError | DumpFailedError)
        assert "Traceback" not in str(caught.value)
        _assert_nothing_stored(tmp_path)
    finally:
        postgres_server.start()


def test_client_killed_in_the_middle(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """A pg_dump that is killed leaves no snapshot, whatever it had written."""
    fill_database(postgres_server, "planter")
    repository = make_repository(tmp_path)
    with pytest.raises(DumpFailedError, match="signal 9"), \
            plan_postgres(PostgresDumpOptions(postgres_server.address())) as plan:
        source = plan.streams[0]
        assert source.prepare is not None
        command = source.prepare()
        killed = replace(source, prepare=None, command=("sh", "-c", '"$@" | head -c 20000; kill -9 $$', "sh", *command))
        back_up(repository, BackupOptions(streams=(killed, *plan.streams[1:])))
    _assert_nothing_stored(tmp_path)


def test_wrong_logins_and_addresses(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Each has a sentence of its own that names the server and no password."""
    fill_database(postgres_server, "planter")
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("wrong-canary\n")
    over_tcp = {"host": "127.0.0.1", "port": postgres_server.port, "user": "planter owner"}
    wrong: list[tuple[ServerAddress, type[KuramoriError]]] = [
        (ServerAddress(**over_tcp, password_file=password), DatabaseLoginError),  # type: ignore[arg-type]
        (ServerAddress(**over_tcp), DatabaseLoginError),  # type: ignore[arg-type]
        (postgres_server.address(user="nobody there"), DatabaseLoginError),
        (postgres_server.address("no such"), NoSuchDatabaseError),
        (postgres_server.address(port=1), DatabaseServerAwayError),
        (postgres_server.address(host="/no/such/folder"), DatabaseServerAwayError),
        (postgres_server.address("planter", user="planter owner"), DatabaseRightsError),
        (postgres_server.address(password_file=tmp_path / "none"), PasswordFileError),
    ]
    for address, expected in wrong:
        with pytest.raises(KuramoriError) as caught:
            _save(tmp_path, address)
        assert isinstance(caught.value, expected), caught.value
        assert "canary" not in str(caught.value)
        assert "\n" not in str(caught.value)
    password.chmod(0o640)
    with pytest.raises(PasswordFileError, match="others"):
        _save(tmp_path, ServerAddress(**over_tcp, password_file=password))  # type: ignore[arg-type]
    _assert_nothing_stored(tmp_path)


def test_user_who_is_no_superuser(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Who owns his database can save it, and is told that the roles' passwords are not in it."""
    postgres_server.psql("CREATE ROLE tenant LOGIN PASSWORD 'x'")
    postgres_server.psql("CREATE DATABASE garden OWNER tenant")
    postgres_server.psql("SET ROLE tenant; CREATE TABLE t (i int); INSERT INTO t VALUES (1)", "garden")
    result, plan, records = _save(tmp_path, postgres_server.address("garden", user="tenant"))
    assert [type(warning) for warning in plan.warnings] == [RolePasswordsHint]
    assert records[0].tables[0].rows == 1
    roles = snapshot_files(reopened(tmp_path), result, Path("/postgres"))[b"/globals.sql"]
    assert b"CREATE ROLE tenant;" in roles
    assert b"SCRAM" not in roles


def test_missing_and_old_programs(tmp_path: Path, postgres_server: PostgresServer,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is to be installed is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatabaseToolMissingError, match="apt install postgresql-client"):
        _save(tmp_path, postgres_server.address(), program_folders=())
    old = tmp_path / "old" / "postgresql" / "9" / "bin"
    old.mkdir(parents=True)
    for name in ("psql", "pg_dump", "pg_dumpall"):
        found = shutil.which(name, path="/usr/bin")
        assert found is not None
        (old / name).symlink_to(found)
    postgres_server.psql("CREATE DATABASE x")
    with pytest.raises(DatabaseToolOldError, match=r"postgresql-client-\d\d"):
        _save(tmp_path, postgres_server.address(), program_folders=(old,))


def test_program_of_the_servers_version_is_chosen(tmp_path: Path) -> None:
    """Of the same version; else the oldest newer one; for no server in particular the newest."""
    folders = []
    for version in (13, 15, 17):
        folder = tmp_path / "postgresql" / str(version) / "bin"
        folder.mkdir(parents=True)
        (folder / "pg_dump").touch(0o755)
        folders.append(folder)
    with log_in(ServerAddress(), folders) as tools:
        chosen = [Path(tools.program("pg_dump", major)).parts[-3] for major in (13, 14, 15, 0)]
        assert chosen == ["13", "15", "15", "17"]
        with pytest.raises(DatabaseToolOldError):
            tools.program("pg_dump", 19)


@pytest.mark.parametrize("kind", ["password_file", "defaults_file"])
def test_passwords_are_seen_nowhere(tmp_path: Path, postgres_server: PostgresServer, kind: str) -> None:
    """Not in any argument or variable of any process while the dump runs, not in the repository, and no file
    is left of it."""
    password = "canary: \\ p'a\"ss 鍵"
    quoted = password.replace("'", "''")
    postgres_server.psql(f"CREATE ROLE canary SUPERUSER LOGIN PASSWORD '{quoted}'")
    postgres_server.psql("CREATE DATABASE garden")
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    login = tmp_path / "login"
    login.touch(0o600)
    login.write_text(password + "\n" if kind == "password_file" else f"127.0.0.1:*:*:canary:{escaped}\n")
    address = ServerAddress(host="127.0.0.1", port=postgres_server.port, user="canary",
                            **{kind: login})  # type: ignore[arg-type]
    with watched_processes() as seen:
        result, _, records = _save(tmp_path, address)
    assert any(b"pg_dump\0" in text for text in seen)
    assert records[0].path.endswith("garden.dump")
    variables = {part for text in seen for part in text.split(b"\0")}
    pgpass = {Path(os.fsdecode(part[11:])) for part in variables if part.startswith(b"PGPASSFILE=")}
    assert len(pgpass) == 1
    assert pgpass == {login} if kind == "defaults_file" else not next(iter(pgpass)).parent.exists()
    for text in [*seen, *snapshot_files(reopened(tmp_path), result, Path("/")).values(),
                 repr(nodes_by_path(reopened(tmp_path), result.snapshot)).encode()]:
        assert password.encode() not in text
        assert escaped.encode() not in text


def test_interruption_leaves_no_session(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """After Ctrl-C nobody of ours is connected any more."""
    fill_database(postgres_server, "planter")
    repository = make_repository(tmp_path)
    polls = iter(range(10**6))
    with pytest.raises(KuramoriError), plan_postgres(PostgresDumpOptions(postgres_server.address())) as plan:
        back_up(repository, BackupOptions(streams=plan.streams, cancelled=lambda: next(polls) > 3))
    _assert_nothing_stored(tmp_path)
    for _ in range(100):  # the server notices in its own time
        if postgres_server.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'planter'").strip() == "0":
            return
        os.sched_yield()
    raise AssertionError("a session is left")
