"""MariaDB and MySQL: every database as a dump, and the accounts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kuramori.errors import (
    N_,
    AccountsHint,
    DatabaseServerAwayError,
    DatabaseServerError,
    DumpFailedError,
    DumpNotWholeError,
    KuramoriError,
    NoSuchDatabaseError,
    Phrase,
    UnsafeTablesHint,
)
from kuramori.model.databases import DatabaseRecord
from kuramori.sources.child_process import Check, last_line, never_gives_up
from kuramori.sources.dump_plan import DumpPlan, dump_path
from kuramori.sources.mysql_scanner import DumpScanner
from kuramori.sources.mysql_tools import MysqlTools, is_of_mariadb, log_in, quoted_text
from kuramori.sources.server_address import ServerAddress
from kuramori.sources.stream_source import CommandFailure, StreamEnd, StreamSource

ACCOUNTS_PATH = b"/mysql/users.sql"
"""Where accounts and their rights lie in a snapshot."""

SCHEMA_OPTIONS = ("--routines", "--events", "--triggers", "--no-tablespaces", "--comments", "--skip-dump-date")
"""How everything but rows is dumped: the same for a backup and for the proof of a restore."""

_ROW_OPTIONS = (
    "--single-transaction", "--quick", "--hex-blob", "--add-locks", "--max-allowed-packet=1G",
    # One statement for each row, or a new row at the beginning would shift the borders of all statements
    # after it, and nothing that follows would be found again in the repository. A restore joins them.
    "--skip-extended-insert", "--no-autocommit",
)
_OPTIONS_OF_MYSQL = ("--set-gtid-purged=OFF", "--column-statistics=0")
_SYSTEM = ("mysql", "sys", "information_schema", "performance_schema")
_TRAILER = re.compile(rb"(?:^|\n)-- Dump completed[^\n]*\n*$")
_SHOWN_TABLES = 10

_DATABASES = "SELECT schema_name FROM information_schema.schemata ORDER BY schema_name"
_UNSAFE = """SELECT t.table_name FROM information_schema.tables t JOIN information_schema.engines e
  ON e.engine = t.engine WHERE t.table_type = 'BASE TABLE' AND coalesce(e.transactions, 'NO') <> 'YES'
  AND t.table_schema = {} ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class MysqlDumpOptions:
    """What of a server to dump."""

    address: ServerAddress
    """Without a database: all but the server's own."""
    with_accounts: bool = True
    """Accounts and their rights too (MariaDB)."""
    check: Check = never_gives_up
    """Called often while the server is waited for; raises to give up."""


@contextmanager
def plan_mysql(options: MysqlDumpOptions) -> Iterator[DumpPlan]:
    """Look what there is to dump, and give the streams that do it.

    Each database is dumped as it is at one instant, as far as its tables are InnoDB; the others are named
    in the warnings. Rows are counted in the dump itself as it passes.

    Raises:
        DatabaseToolMissingError, PasswordFileError
        DatabaseServerError: the server is away, refuses, or does not permit it.
    """
    with log_in(options.address) as tools:
        tools.dumper()  # what is missing is named before the server is asked
        version = tools.ask("SELECT version()", check=options.check)[0][0]
        of_mariadb = "MariaDB" in version
        names = _databases(tools, options)
        program = tools.dumper(of_mariadb)
        dumps = [_DatabaseDump(tools, program, name, version) for name in names]
        streams = [dump.stream() for dump in dumps]
        warnings: list[KuramoriError] = [hint for name in names for hint in _unsafe_tables(tools, name, options)]
        if options.with_accounts:
            problem = _accounts_problem(tools, program, of_mariadb, options)
            if problem is None:
                streams.append(_dump_accounts(tools, program))
            else:
                warnings.append(AccountsHint(server=options.address.shown, detail=problem))
        yield DumpPlan(tuple(streams), tuple(names), tuple(warnings), lambda: tuple(dump.record() for dump in dumps))


def _databases(tools: MysqlTools, options: MysqlDumpOptions) -> list[str]:
    found = [row[0] for row in tools.ask(_DATABASES, check=options.check)]
    wanted = options.address.database
    if wanted:
        options.address.require(wanted, found)
        return [wanted]
    names = [name for name in found if name.lower() not in _SYSTEM]
    if not names:
        raise NoSuchDatabaseError(server=options.address.shown, detail=N_("it has none besides its own"))
    return names


def _unsafe_tables(tools: MysqlTools, database: str, options: MysqlDumpOptions) -> list[KuramoriError]:
    tables = [row[0] for row in tools.ask(_UNSAFE.format(quoted_text(database)), check=options.check)]
    shown = ", ".join(tables[:_SHOWN_TABLES]) + (", ..." if len(tables) > _SHOWN_TABLES else "")
    return [UnsafeTablesHint(database=database, tables=shown)] if tables else []


class _DatabaseDump:
    """The dump of one database, and what is read of it as it passes."""

    def __init__(self, tools: MysqlTools, program: str, database: str, version: str) -> None:
        self._tools = tools
        self._program = program
        self._database = database
        self._version = version
        self._path = dump_path("mysql", database, ".sql")
        self._scanner = DumpScanner()

    def stream(self) -> StreamSource:
        """Return the stream."""
        command = (self._program, *self._tools.connection(), *_ROW_OPTIONS, *schema_options(self._program),
                   "--databases", "--", self._database)
        return StreamSource(filename=self._path, command=command, environment=self._tools.environment, background=True,
                            watch=self._scanner.see, verdict=_judge(self._database),
                            explain=_explainer(self._tools, self._database))

    def record(self) -> DatabaseRecord:
        """Return what is known of it, after it has passed."""
        maker = "" if "MariaDB" in self._version else "MySQL "
        return DatabaseRecord(path=self._path.decode(), kind="mysql", schema_hash=self._scanner.schema_hash(),
                              tables=self._scanner.tables(), server_version=maker + self._version)


def schema_options(program: str) -> tuple[str, ...]:
    """Return the options by which a dump program writes everything but rows."""
    return SCHEMA_OPTIONS if is_of_mariadb(program) else (*SCHEMA_OPTIONS, *_OPTIONS_OF_MYSQL)


def _judge(what: str) -> Callable[[StreamEnd], None]:
    def judge(end: StreamEnd) -> None:
        if not _TRAILER.search(end.tail):
            raise DumpNotWholeError(database=what, detail=N_("its last line is missing"))

    return judge


def _explainer(tools: MysqlTools, what: str) -> Callable[[CommandFailure], KuramoriError]:
    def explain(failure: CommandFailure) -> KuramoriError:
        return tools.explain(failure.messages, what) or DumpFailedError(
            database=what, detail=last_line(failure.messages) or failure.ended)

    return explain


# --- accounts --------------------------------------------------------------------------------


def _accounts_problem(tools: MysqlTools, program: str, of_mariadb: bool,
                      options: MysqlDumpOptions) -> str | Phrase | None:
    """Return why the accounts cannot be saved, or None."""
    if not of_mariadb or not is_of_mariadb(program):
        return N_("only MariaDB writes them as statements")
    try:
        tools.ask("SELECT 1 FROM mysql.user LIMIT 0", check=options.check)
    except DatabaseServerAwayError:
        raise
    except DatabaseServerError as error:
        return Phrase("{detail}", detail=error)
    return None


def _dump_accounts(tools: MysqlTools, program: str) -> StreamSource:
    what = "users.sql"
    command = (program, *tools.connection(), "--system=users", "--skip-dump-date", "--comments")
    return StreamSource(filename=ACCOUNTS_PATH, command=command, environment=tools.environment, background=True,
                        verdict=_judge(what), explain=_explainer(tools, what))
