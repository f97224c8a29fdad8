"""Exchanging two databases of a MariaDB or MySQL server, which cannot rename one.

Tables can be renamed from one database into another, all of them in one statement; but not those with
triggers, and no views, routines and events. So the code of both is written down first, the tables are moved,
and the code is made anew where its tables are now. Until all is well, the code of what was there lies in a table
beside it: a process that is killed in between loses nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from kuramori.errors import BrokenSwapError, DatabaseInUseError, KuramoriError, RestoredWithHint
from kuramori.sources.child_process import Check, never_gives_up
from kuramori.sources.mysql import schema_options
from kuramori.sources.mysql_tools import MysqlTools, quoted_name, quoted_text

CODE_TABLE = "kuramori_saved_code"
"""Where a kept database holds its code while it cannot be in force: its events for as long as it is kept."""

_PIECE_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class DatabaseCode:
    """What of a database is no table, as statements."""

    views: bytes
    code: bytes
    """Triggers and routines."""
    events: bytes


class TableNames(NamedTuple):
    """What a database has, by kind, sorted."""

    tables: list[str]
    sequences: list[str]
    views: list[str]


def list_tables(tools: MysqlTools, database: str, check: Check = never_gives_up) -> TableNames:
    """Return the names of what a database has."""
    rows = tools.ask("SELECT table_type, table_name FROM information_schema.tables WHERE table_schema = "
                     f"{quoted_text(database)} ORDER BY table_name", check=check)
    found = TableNames([], [], [])
    for kind, name in rows:
        if name != CODE_TABLE:
            (found.views if "VIEW" in kind else found.sequences if kind == "SEQUENCE" else found.tables).append(name)
    return found


def read_code(tools: MysqlTools, database: str, events: bytes | None = None) -> DatabaseCode:
    """Write down the code of a database.

    Args:
        events: take these instead of those that are in force.
    """
    views = list_tables(tools, database).views
    options = [option for option in schema_options(tools.dumper()) if option not in ("--events", "--routines",
                                                                                      "--triggers")]
    bare = [*options, "--no-data", "--skip-triggers"]
    written = tools.dump([*bare, "--", database, *views]) if views else b""
    code = tools.dump([*options, "--no-data", "--no-create-info", "--routines", "--triggers", "--", database])
    if events is None:
        events = tools.dump([*bare, "--no-create-info", "--events", "--", database])
    return DatabaseCode(written, code, events)


def refuse_use(tools: MysqlTools, database: str) -> None:
    """Refuse a database that somebody is connected to, as far as our user may see that.

    Raises:
        DatabaseInUseError
    """
    users = _users(tools, database)
    if users:
        raise DatabaseInUseError(database=database, detail=", ".join(sorted({name for _, name in users})[:5]))


def disconnect(tools: MysqlTools, database: str) -> None:
    """End the sessions of those who are connected to a database."""
    for number, _ in _users(tools, database):
        with suppress(KuramoriError):  # it may have ended by itself
            tools.ask(f"KILL CONNECTION {int(number)}")


def _users(tools: MysqlTools, database: str) -> list[tuple[str, ...]]:
    return tools.ask(f"SELECT id, concat(user, '@', host) FROM information_schema.processlist WHERE db = "
                     f"{quoted_text(database)} AND id <> connection_id() AND command <> 'Daemon'")


class Swap:
    """Puts the content of one database into another, and that one's content into a third, new one."""

    def __init__(self, tools: MysqlTools, target: str, new: str, kept: str, events: bytes | None = None) -> None:
        """Nothing is done yet.

        Args:
            target: the database that programs use. It must be there.
            new: has what is to be in it; it is gone afterwards.
            kept: gets what is in it now; it must not be there.
            events: those of ``new``, if they are not in force there.
        """
        self._tools = tools
        self._target = target
        self._new = new
        self._kept = kept
        if events is None and _has_saved_code(tools, new):
            events = _load_code(tools, new, "events")
        self._old_code = read_code(tools, target)
        self._new_code = read_code(tools, new, events)
        self._old_tables = _movable(tools, target)
        self._new_tables = _movable(tools, new)

    def run(self) -> list[KuramoriError]:
        """Do it; return what is not as it was in the kept database.

        Raises:
            DatabaseServerError: all is as it was before.
        BrokenSwapError: all tables are as they were, but some code is not in force.
        """
        self._create_kept()
        try:
            self._drop_code(self._target)
            self._drop_code(self._new)
            self._move([(self._target, self._kept, self._old_tables), (self._new, self._target, self._new_tables)])
            try:
                self._make_code(self._target, self._new_code, with_events=True)
            except BaseException:
                self._drop_code(self._target)
                self._move([(self._target, self._new, self._new_tables), (self._kept, self._target, self._old_tables)])
                raise
        except BaseException:
            self._give_back()  # also after Ctrl-C: what was there must be in force again
            raise
        hints: list[KuramoriError] = []
        try:
            self._make_code(self._kept, self._old_code, with_events=False)
            self._forget_code("views", "code")
        except KuramoriError as error:
            hints.append(RestoredWithHint(database=self._kept, detail=error))
        self._take_defaults()
        self._drop_database(self._new)
        return hints

    def _give_back(self) -> None:
        try:
            self._drop_code(self._target)
            self._make_code(self._target, self._old_code, with_events=True)
            self._drop_database(self._kept)
        except KuramoriError as error:
            raise BrokenSwapError(database=self._target, table=f"{self._kept}.{CODE_TABLE}", detail=error) from None

    # --- steps -------------------------------------------------------------------------------

    def _create_kept(self) -> None:
        self._tools.ask(f"CREATE DATABASE {quoted_name(self._kept)} {defaults_of(self._tools, self._target)}")
        try:
            _save_code(self._tools, self._kept, self._old_code)
        except BaseException:
            self._drop_database(self._kept)
            raise

    def _drop_code(self, database: str) -> None:
        """Drop triggers, views, routines and events."""
        where = f"= {quoted_text(database)}"
        found = self._tools.ask(
            f"SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema {where};"
            f"SELECT 'VIEW', table_name FROM information_schema.views WHERE table_schema {where};"
            f"SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema {where};"
            f"SELECT 'EVENT', event_name FROM information_schema.events WHERE event_schema {where}")
        for kind, name in found:
            self._tools.ask(f"DROP {kind} IF EXISTS {quoted_name(database)}.{quoted_name(name)}")

    def _move(self, moves: list[tuple[str, str, list[str]]]) -> None:
        """Rename tables from databases into others, all or none."""
        renames = [f"{quoted_name(source)}.{quoted_name(table)} TO {quoted_name(target)}.{quoted_name(table)}"
                   for source, target, tables in moves for table in tables]
        if renames:
            self._tools.ask(f"RENAME TABLE {', '.join(renames)}")

    def _make_code(self, database: str, code: DatabaseCode, with_events: bool) -> None:
        for statements in (code.views, code.code, code.events if with_events else b""):
            if statements:
                self._tools.run(statements, database)

    def _take_defaults(self) -> None:
        with suppress(KuramoriError):
            self._tools.ask(f"ALTER DATABASE {quoted_name(self._target)} {defaults_of(self._tools, self._new)}")

    def _forget_code(self, *parts: str) -> None:
        table = f"{quoted_name(self._kept)}.{quoted_name(CODE_TABLE)}"
        names = ", ".join(map(quoted_text, parts))
        self._tools.ask(f"DELETE FROM {table} WHERE part IN ({names})")

    def _drop_database(self, database: str) -> None:
        if not _movable(self._tools, database):  # never with tables in it
            self._tools.ask(f"DROP DATABASE {quoted_name(database)}")


def _movable(tools: MysqlTools, database: str) -> list[str]:
    found = list_tables(tools, database)
    return [*found.tables, *found.sequences]


def defaults_of(tools: MysqlTools, database: str) -> str:
    """Return the default character set and collation of a database as a clause."""
    row = tools.ask("SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
                    f"WHERE schema_name = {quoted_text(database)}")[0]
    return f"DEFAULT CHARACTER SET {row[0]} COLLATE {row[1]}"


# --- code that is kept ---------------------------------------------------------------------------


def _save_code(tools: MysqlTools, database: str, code: DatabaseCode) -> None:
    table = f"{quoted_name(database)}.{quoted_name(CODE_TABLE)}"
    columns = "part VARCHAR(20), number INT, content LONGBLOB, PRIMARY KEY (part, number)"
    statements = [f"CREATE TABLE {table} ({columns}) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4"]
    for part, content in (("views", code.views), ("code", code.code), ("events", code.events)):
        for number, start in enumerate(range(0, len(content), _PIECE_BYTES)):
            piece = content[start: start + _PIECE_BYTES].hex()
            statements.append(f"INSERT INTO {table} VALUES ('{part}', {number}, 0x{piece})")
    tools.ask(";\n".join(statements))


def _has_saved_code(tools: MysqlTools, database: str) -> bool:
    return bool(tools.ask("SELECT 1 FROM information_schema.tables WHERE table_schema = "
                          f"{quoted_text(database)} AND table_name = {quoted_text(CODE_TABLE)}"))


def _load_code(tools: MysqlTools, database: str, part: str) -> bytes:
    rows = tools.ask(f"SELECT hex(content) FROM {quoted_name(database)}.{quoted_name(CODE_TABLE)} "
                     f"WHERE part = {quoted_text(part)} ORDER BY number")
    return b"".join(bytes.fromhex(row[0]) for row in rows)


