"""PostgreSQL: what comes back, under which name, and that nothing is lost on the way."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    DatabaseDiffersError,
    DatabaseInUseError,
    DatabaseRestoreError,
    DatabaseRightsError,
    Interrupted,
    KuramoriError,
    NoSuchDatabaseError,
    NoSuchPathError,
    RestoredWithHint,
    UsageError,
)
from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.restoring.database_feeding import FeedOptions, FeedResult
from kuramori.restoring.dump_feeding import StoredDump
from kuramori.restoring.postgres_feeding import drop_postgres, exchange_postgres, feed_postgres
from kuramori.sources.postgres import PostgresDumpOptions, plan_postgres
from samples.postgres_content import OWNER, database_content, fill_database
from samples.postgres_server import SUPERUSER, PostgresServer
from samples.repositories import make_repository, reopened

MOMENT = datetime(2026, 11, 23, 2, 0, 0).astimezone()


def _saved(folder: Path, server: PostgresServer, database: str = "planter",
           user: str = SUPERUSER) -> tuple[StoredDump, DatabaseRecord]:
    """Save a database; return its dump as another process finds it."""
    with plan_postgres(PostgresDumpOptions(server.address(database, user=user))) as plan:
        result = back_up(make_repository(folder), BackupOptions(streams=plan.streams))
        record = plan.finish()[0]
    assert result.snapshot_id is not None
    repository = reopened(folder)
    repository.load_index()
    return StoredDump(repository, result.snapshot_id, record.path.encode()), record


def _databases(server: PostgresServer) -> set[str]:
    return set(server.psql("SELECT datname FROM pg_database WHERE datname !~ '^(template|postgres$)'").splitlines())


def _feed(server: PostgresServer, saved: tuple[StoredDump, DatabaseRecord], **options: object) -> FeedResult:
    return feed_postgres(saved[0], FeedOptions(**{"address": server.address(), "record": saved[1],  # type: ignore[arg-type]
                                                  **options}))


def test_dropped_database_comes_back_row_by_row(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """With its roles, owners, rights, settings, code, sequences and large objects."""
    fill_database(postgres_server, "planter")
    before = database_content(postgres_server, "planter")
    saved = _saved(tmp_path, postgres_server)
    postgres_server.drop_all()
    result = _feed(postgres_server, saved)
    assert (result.database, result.kept, result.verified, result.warnings) == ("planter", "", True, ())
    assert database_content(postgres_server, "planter") == before
    assert result.record == saved[1]
    assert _databases(postgres_server) == {"planter"}
    assert OWNER in postgres_server.psql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'planter'")
    passwords = postgres_server.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'planter owner'")
    assert passwords.startswith("SCRAM")


def test_other_name_leaves_the_first_alone(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """``--database``: two databases with the same content, names of any kind."""
    fill_database(postgres_server, "planter")
    before = database_content(postgres_server, "planter")
    saved = _saved(tmp_path, postgres_server)
    postgres_server.psql("DELETE FROM parts", "planter")
    name = "試し = 'x' \"y\""
    assert _feed(postgres_server, saved, database=name).kept == ""
    assert database_content(postgres_server, name) == before
    assert postgres_server.psql("SELECT count(*) FROM parts", "planter") == "0\n"


def test_in_place_keeps_what_was_there_and_undoes(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """The swap keeps the old database; undo swaps back and keeps the restored one; only kept ones are dropped."""
    fill_database(postgres_server, "planter")
    before = database_content(postgres_server, "planter")
    saved = _saved(tmp_path, postgres_server)
    postgres_server.psql("DELETE FROM parts; INSERT INTO plants (name) VALUES ('new')", "planter")
    changed = database_content(postgres_server, "planter")
    kept = _feed(postgres_server, saved).kept
    assert kept.startswith("planter_before_")
    assert database_content(postgres_server, "planter") == before
    assert database_content(postgres_server, kept) == changed

    address = postgres_server.address()
    aside = exchange_postgres(address, "planter", kept, MOMENT)
    assert aside == "planter_undone_20261123_020000"
    assert database_content(postgres_server, "planter") == changed
    assert database_content(postgres_server, aside) == before
    with pytest.raises(NoSuchDatabaseError):
        exchange_postgres(address, "planter", kept, MOMENT)
    assert exchange_postgres(address, "planter", "", MOMENT) == "planter_undone_20261123_020000_2"
    assert exchange_postgres(address, "planter", aside, MOMENT) == ""
    with pytest.raises(UsageError):
        drop_postgres(address, "planter")
    drop_postgres(address, "planter_undone_20261123_020000_2")
    assert _databases(postgres_server) == {"planter"}


def test_database_in_use_is_refused_or_taken(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Who is connected is named, and nothing changes; ``disconnect`` ends the sessions."""
    fill_database(postgres_server, "planter")
    saved = _saved(tmp_path, postgres_server)
    before = _databases(postgres_server)
    user = subprocess.Popen(
        ["psql", "-X", "-h", postgres_server.folder, "-p", str(postgres_server.port), "-U", SUPERUSER, "planter"],
        env={"PGAPPNAME": "the shop", "PATH": "/usr/bin"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    assert user.stdin is not None
    assert user.stdout is not None
    try:
        user.stdin.write(b"\\echo connected\n")
        user.stdin.flush()
        assert user.stdout.readline() == b"connected\n"
        with pytest.raises(DatabaseInUseError, match="the shop") as caught:
            _feed(postgres_server, saved)
        assert "stop the programs" in str(caught.value)
        assert _databases(postgres_server) == before
        kept = _feed(postgres_server, saved, disconnect=True).kept
    finally:
        user.stdin.close()
        user.wait()
        user.stdout.close()
    assert _databases(postgres_server) == {"planter", kept}
    postgres_server.psql("SELECT 1", kept)  # both may be connected to


def test_what_arrived_must_be_what_was_saved(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Rows or a schema that are not as recorded: nothing is swapped, nothing is left."""
    fill_database(postgres_server, "planter")
    stored, record = _saved(tmp_path, postgres_server)
    before = database_content(postgres_server, "planter")
    tables = tuple(TableCount(table.name, table.rows + (table.name == "public.parts_a")) for table in record.tables)
    other_rows = msgspec.structs.replace(record, tables=tables)
    with pytest.raises(DatabaseDiffersError, match=r"public\.parts_a has 49 rows instead of 50"):
        _feed(postgres_server, (stored, other_rows))
    with pytest.raises(DatabaseDiffersError, match="schema"):
        _feed(postgres_server, (stored, msgspec.structs.replace(record, schema_hash="0" * 64)))
    older = msgspec.structs.replace(record, schema_hash="0" * 64, server_version="PostgreSQL 14.1")
    assert _feed(postgres_server, (stored, older), database="elsewhere").verified
    assert database_content(postgres_server, "planter") == before
    assert _databases(postgres_server) == {"planter", "elsewhere"}


def test_broken_feeds_leave_everything_as_it_was(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """An interruption, a damaged archive, a damaged repository, a path that is not there."""
    fill_database(postgres_server, "planter")
    stored, record = _saved(tmp_path, postgres_server)
    before = database_content(postgres_server, "planter")
    polls = iter(range(10**6))

    def give_up() -> None:
        if next(polls) > 60:
            raise Interrupted

    broken = make_repository(tmp_path, "broken")
    archive = tmp_path / "planter.dump"
    archive.write_bytes(b"PGDMP and nothing else")
    result = back_up(broken, BackupOptions(paths=(os.fsencode(archive),)))
    assert result.snapshot_id is not None
    cases: list[tuple[StoredDump, dict[str, object], type[KuramoriError]]] = [
        (stored, {"check": give_up}, Interrupted),
        (StoredDump(broken, result.snapshot_id, os.fsencode(archive)), {}, DatabaseRestoreError),
        (stored._replace(path=b"/postgres/databases/none.dump"), {}, NoSuchPathError),
        (stored, {"address": postgres_server.address(user=OWNER)}, DatabaseRightsError),
    ]
    for dump, options, error in cases:
        with pytest.raises(error):
            _feed(postgres_server, (dump, record), **options)
        assert _databases(postgres_server) == {"planter"}
    assert database_content(postgres_server, "planter") == before


def test_user_who_is_no_superuser_restores_his_own(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """CREATEDB is enough for a database that is all his."""
    postgres_server.psql("CREATE ROLE tenant LOGIN CREATEDB")
    postgres_server.psql("CREATE DATABASE garden OWNER tenant")
    postgres_server.psql("SET ROLE tenant; CREATE TABLE t (i int); INSERT INTO t VALUES (1), (2)", "garden")
    saved = _saved(tmp_path, postgres_server, "garden", "tenant")
    postgres_server.psql("DROP TABLE t", "garden")
    result = _feed(postgres_server, saved, address=postgres_server.address(user="tenant"))
    assert result.warnings == ()
    assert postgres_server.psql("SELECT sum(i) FROM t", "garden") == "3\n"


def test_owners_that_cannot_be_made_are_told(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """A user who may not make roles gets the rows, and hears what is missing."""
    fill_database(postgres_server, "planter")
    saved = _saved(tmp_path, postgres_server)
    postgres_server.drop_all()
    postgres_server.psql("CREATE ROLE tenant LOGIN CREATEDB")
    result = _feed(postgres_server, saved, address=postgres_server.address(user="tenant"))
    assert RestoredWithHint in [type(warning) for warning in result.warnings]
    assert postgres_server.psql("SELECT count(*) FROM plants", "planter") == "2000\n"


def test_default_database_is_restored_in_place(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Also the one that is otherwise used to talk to the server."""
    postgres_server.psql("CREATE TABLE mine AS SELECT 1 AS i")
    try:
        saved = _saved(tmp_path, postgres_server, "postgres")
        postgres_server.psql("UPDATE mine SET i = 2")
        kept = _feed(postgres_server, saved).kept
        assert postgres_server.psql("SELECT i FROM mine") == "1\n"
        drop_postgres(postgres_server.address(), kept)
    finally:
        postgres_server.psql("DROP TABLE mine")


def test_record_is_optional(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Without one it is not called verified."""
    postgres_server.psql("CREATE DATABASE garden")
    stored, record = _saved(tmp_path, postgres_server, "garden")
    assert not feed_postgres(stored, replace(FeedOptions(postgres_server.address()), database="b")).verified
    assert record.tables == ()
