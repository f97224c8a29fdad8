"""PostgreSQL: every database as an archive of ``pg_dump``, and the roles and tablespaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import (
    N_,
    DatabaseServerAwayError,
    DatabaseServerError,
    DumpFailedError,
    DumpNotWholeError,
    KuramoriError,
    NoSuchDatabaseError,
    RolePasswordsHint,
)
from kuramori.model.databases import DatabaseRecord
from kuramori.sources.child_process import Check, last_line, never_gives_up
from kuramori.sources.dump_plan import DumpPlan, dump_path
from kuramori.sources.postgres_facts import begin_snapshot, read_facts
from kuramori.sources.postgres_session import PostgresSession
from kuramori.sources.postgres_tools import PostgresTools, log_in
from kuramori.sources.server_address import ServerAddress
from kuramori.sources.stream_source import CommandFailure, StreamEnd, StreamSource

GLOBALS_PATH = b"/postgres/globals.sql"
"""Where roles and tablespaces lie in a snapshot."""
MAINTENANCE_DATABASES = ("postgres", "template1")
"""Databases that every server has: through the first that lets us in we ask of the others."""

_MAGIC = b"PGDMP"
_GLOBALS_TRAILER = b"PostgreSQL database cluster dump complete"

_DATABASES = """SELECT datname, datname = 'postgres' FROM pg_catalog.pg_database
  WHERE datallowconn AND NOT datistemplate ORDER BY datname"""
_READS_PASSWORDS = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')"
_HAS_TABLES = """SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
  ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))"""


@dataclass(frozen=True, slots=True)
class PostgresDumpOptions:
    """What of a server to dump."""

    address: ServerAddress
    """Without a database: all but templates, and ``postgres`` only if something is in it."""
    with_globals: bool = True
    """Roles and tablespaces too."""
    count_rows: bool = True
    """Count the rows of every table in the same instant as the dump. Costs one more reading of each."""
    program_folders: Sequence[Path] | None = None
    """Where PostgreSQL's programs are, besides ``PATH``; None for where distributions put them."""
    check: Check = never_gives_up
    """Called often while the server is waited for; raises to give up."""


@contextmanager
def plan_postgres(options: PostgresDumpOptions) -> Iterator[DumpPlan]:
    """Look what there is to dump, and give the streams that do it.

    Each database is dumped as it is at one instant; PostgreSQL has none that is common to several. When the
    turn of a database comes, a transaction is opened in it: the dump and the counting of rows see the same.

    Raises:
        DatabaseToolMissingError, DatabaseToolOldError, PasswordFileError
        DatabaseServerError: the server is away, refuses, or does not permit it.
    """
    with ExitStack() as stack:
        tools = stack.enter_context(log_in(options.address, options.program_folders))
        tools.program("pg_dump")  # what is missing is named before the server is asked
        maintenance, session = connect_for_maintenance(tools, options.check)
        with session:
            major = session.major
            names = _databases(tools, session, options)
            reads_passwords = session.query(_READS_PASSWORDS)[0][0] == "t"
        dumps = [_DatabaseDump(tools, tools.program("pg_dump", major), name, options) for name in names]
        for dump in dumps:
            stack.callback(dump.close)
        streams = [dump.stream() for dump in dumps]
        warnings: list[KuramoriError] = []
        if options.with_globals:
            streams.append(_dump_globals(tools, major, maintenance, reads_passwords))
            if not reads_passwords:
                warnings.append(RolePasswordsHint(server=options.address.shown,
                                                  detail=N_("the user is no superuser")))
        yield DumpPlan(tuple(streams), tuple(names), tuple(warnings), lambda: tuple(dump.record for dump in dumps))


def connect_for_maintenance(tools: PostgresTools, check: Check, avoid: str = "") -> tuple[str, PostgresSession]:
    """Open a session from which the server's databases can be seen; return the database's name too.

    Args:
        avoid: a database that the session must not be in.

    Raises:
        DatabaseToolMissingError, DatabaseServerError
    """
    candidates = [name for name in (*MAINTENANCE_DATABASES, tools.address.database) if name and name != avoid]
    for name in candidates[:-1]:
        try:
            return name, PostgresSession(tools, name, check)
        except DatabaseServerAwayError:
            raise
        except DatabaseServerError:
            continue  # a user may be let into his own database only
    return candidates[-1], PostgresSession(tools, candidates[-1], check)


def _databases(tools: PostgresTools, session: PostgresSession, options: PostgresDumpOptions) -> list[str]:
    found = session.query(_DATABASES)
    wanted = options.address.database
    if wanted:
        options.address.require(wanted, [row[0] for row in found])
        return [wanted]
    names = []
    for name, is_default in found:
        if is_default == "t":
            with PostgresSession(tools, name, options.check) as default:
                if default.query(_HAS_TABLES)[0][0] != "t":
                    continue
        names.append(name)
    if not names:
        raise NoSuchDatabaseError(server=options.address.shown, detail=N_("it has none besides its own"))
    return names


class _DatabaseDump:
    """The dump of one database, and the session that holds the instant that it shows."""

    def __init__(self, tools: PostgresTools, program: str, database: str, options: PostgresDumpOptions) -> None:
        self._tools = tools
        self._program = program
        self._database = database
        self._options = options
        self._session: PostgresSession | None = None
        self._path = dump_path("postgres", database, ".dump")
        self.record = DatabaseRecord(path=self._path.decode(), kind="postgres")
        """What is known of it."""

    def stream(self) -> StreamSource:
        """Return the stream."""
        return StreamSource(filename=self._path, prepare=self._prepare, environment=self._tools.environment,
                            background=True, verdict=self._judge, explain=self._explain)

    def _prepare(self) -> tuple[str, ...]:
        self._session = PostgresSession(self._tools, self._database, self._options.check)
        snapshot = begin_snapshot(self._session)
        # Not compressed: the repository does that, after it has found what it has already.
        return (self._program, "--format=custom", "--compress=0", f"--snapshot={snapshot}",
                *self._tools.connection(self._database))

    def _judge(self, end: StreamEnd) -> None:
        if not end.head.startswith(_MAGIC):
            raise DumpNotWholeError(database=self._database,
                                    detail=N_("it does not begin as an archive of pg_dump does"))
        assert self._session is not None
        self.record = read_facts(self._session, self._path.decode(), self._options.count_rows)
        self.close()

    def _explain(self, failure: CommandFailure) -> KuramoriError:
        return _explain(self._tools, failure, self._database)

    def close(self) -> None:
        """End the session. May be called twice."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _explain(tools: PostgresTools, failure: CommandFailure, what: str) -> KuramoriError:
    return tools.explain(failure.messages, what) or DumpFailedError(
        database=what, detail=last_line(failure.messages) or failure.ended)


def _dump_globals(tools: PostgresTools, major: int, database: str, with_passwords: bool) -> StreamSource:
    what = "globals.sql"

    def judge(end: StreamEnd) -> None:
        if _GLOBALS_TRAILER not in end.tail:
            raise DumpNotWholeError(database=what, detail=N_("its last line is missing"))

    command = [tools.program("pg_dumpall", major), "--globals-only", *tools.connection(database)]
    if not with_passwords:
        command.append("--no-role-passwords")
    return StreamSource(filename=GLOBALS_PATH, command=tuple(command),
                        environment={**tools.environment, "PGCLIENTENCODING": "UTF8"}, background=True,
                        verdict=judge, explain=lambda failure: _explain(tools, failure, what))
