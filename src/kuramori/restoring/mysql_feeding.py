"""MariaDB and MySQL: a dump becomes a database, and never over what was there.

It is fed into a new database beside the target, compared with what was recorded when it was saved, and
then both exchange their contents (:mod:`kuramori.restoring.mysql_swapping`).

**A dump is a program.** Whoever can write into the repository can have statements run by the server with the
rights of the user who restores. Commands of the client itself are switched off (``--binary-mode``). Restore only
from repositories of your own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from kuramori.errors import (
    N_,
    DatabaseRestoreError,
    KuramoriError,
    RestoredWithHint,
)
from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.restoring.database_feeding import (
    NEW_PREFIX,
    DatabaseFeeding,
    FeedOptions,
    FeedResult,
    StagedDatabase,
    compare_records,
    kept_name,
    require_kept_name,
)
from kuramori.restoring.dump_feeding import StoredDump, feed, read_beginning
from kuramori.restoring.mysql_swapping import Swap, defaults_of, disconnect, list_tables, refuse_use
from kuramori.restoring.mysql_text import DumpAltering
from kuramori.sources.child_process import Check, last_line, never_gives_up
from kuramori.sources.mysql import schema_options
from kuramori.sources.mysql_scanner import DumpScanner
from kuramori.sources.mysql_tools import MysqlTools, is_of_mariadb, log_in, quoted_name, quoted_text
from kuramori.sources.server_address import ServerAddress
from kuramori.sources.stream_source import CommandFailure

_NAME_BYTES = 64
_HEAD_BYTES = 256 * 1024
_DEFAULTS = re.compile(rb"^CREATE DATABASE [^\n]*DEFAULT CHARACTER SET (\w+)(?: COLLATE (\w+))?", re.MULTILINE)


def feed_mysql(stored: StoredDump, options: FeedOptions) -> FeedResult:
    """Make a database of a dump; keep what was there before in another one.

    Args:
        stored: the dump, in the snapshot that :func:`kuramori.sources.mysql.plan_mysql` made.

    Raises:
        DatabaseInUseError: somebody works with the database, and ``options.disconnect`` is not set.
        DatabaseDiffersError: what arrived is not what was saved.
        DatabaseRestoreError: the client failed.
        DatabaseServerError, DatabaseToolMissingError, PasswordFileError, DamagedError, StorageError, Interrupted

        In each case what was there is as it was.
    """
    with stage_mysql(stored, options) as staged:
        return staged.swap(staged.choose_kept())


@contextmanager
def stage_mysql(stored: StoredDump, options: FeedOptions) -> Iterator[StagedDatabase]:
    """Feed a dump into a new database beside its target, and compare it with its record. At the end of the
    context it is dropped, unless it was put in place.

    Raises:
        As :func:`feed_mysql`.
    """
    with log_in(options.address) as tools, _MysqlFeeding(stored, options, tools).staged() as staged:
        yield staged


def exchange_mysql(address: ServerAddress, database: str, kept: str, moment: datetime,
                   end_sessions: bool = False) -> str:
    """Undo: give a database back its kept content; return the name under which its present one is kept.

    Args:
        kept: the database that has what was there before; empty if there was none: then the present one
            is only put aside.
        moment: now, for the name.

    Raises:
        NoSuchDatabaseError, DatabaseInUseError, DatabaseServerError: nothing has changed.
    """
    with log_in(address) as tools:
        present = _databases(tools)
        address.require(kept or database, present)
        aside = kept_name(database, moment, present, _NAME_BYTES, "undone")
        defaults = defaults_of(tools, kept or database)
        if database not in present:
            tools.ask(f"CREATE DATABASE {quoted_name(database)} {defaults}")
        _make_free(tools, database, end_sessions)
        new = kept or NEW_PREFIX + secrets.token_hex(6)
        if not kept:
            tools.ask(f"CREATE DATABASE {quoted_name(new)} {defaults}")
        Swap(tools, database, new, aside).run()
        if not kept:
            tools.ask(f"DROP DATABASE {quoted_name(database)}")
        if database in present:
            return aside
        tools.ask(f"DROP DATABASE {quoted_name(aside)}")
        return ""


def drop_mysql(address: ServerAddress, kept: str) -> None:
    """Drop a database that a restore has kept.

    Raises:
        UsageError: it is none of those.
        DatabaseServerError
    """
    require_kept_name(kept)
    with log_in(address) as tools:
        tools.ask(f"DROP DATABASE IF EXISTS {quoted_name(kept)}")


def _databases(tools: MysqlTools, check: Check = never_gives_up) -> list[str]:
    return [row[0] for row in tools.ask("SELECT schema_name FROM information_schema.schemata", check=check)]


def _make_free(tools: MysqlTools, database: str, end_sessions: bool) -> None:
    if end_sessions:
        disconnect(tools, database)
    else:
        refuse_use(tools, database)


class _MysqlFeeding(DatabaseFeeding):
    """One database on its way."""

    name_bytes = _NAME_BYTES

    def __init__(self, stored: StoredDump, options: FeedOptions, tools: MysqlTools) -> None:
        super().__init__(stored, options)
        self._tools = tools
        self._altering = DumpAltering(is_of_mariadb(tools.client()))

    def _fill(self) -> None:
        """Make the new database, and compare it with what was saved."""
        defaults = self._defaults()
        if not self._options.disconnect:
            refuse_use(self._tools, self._target)  # at once, and not after an hour of feeding
        self._tools.ask(f"CREATE DATABASE {quoted_name(self._new)} {defaults}")
        self._made = True
        self._size = self._feed()
        self._arrived = self._examine()

    def _list_databases(self) -> list[str]:
        return _databases(self._tools, self._options.check)

    def _exchange(self, kept: str) -> None:
        if kept:
            _make_free(self._tools, self._target, self._options.disconnect)
            self._swap_with(kept)
            return
        self._tools.ask(f"CREATE DATABASE {quoted_name(self._target)} {self._defaults()}")
        aside = self._new.replace("_new_", "_old_")
        try:
            self._swap_with(aside)
        except BaseException:
            with suppress(KuramoriError):
                self._drop(self._target)
            raise
        with suppress(KuramoriError):
            self._drop(aside)

    def _swap_with(self, kept: str) -> None:
        self._warnings += Swap(self._tools, self._target, self._new, kept, self._altering.events).run()

    def _drop(self, database: str) -> None:
        self._tools.ask(f"DROP DATABASE IF EXISTS {quoted_name(database)}")

    def _defaults(self) -> str:
        found = _DEFAULTS.search(read_beginning(self._stored, _HEAD_BYTES)[:_HEAD_BYTES])
        if found is None:
            return ""
        collation = f" COLLATE {found[2].decode()}" if found[2] else ""
        return f"DEFAULT CHARACTER SET {found[1].decode()}{collation}"

    def _feed(self) -> int:
        return feed(self._stored, self._tools.client_command(self._new), environment=self._tools.environment,
                    check=self._options.check, alter=self._altering, explain=self._explain)

    def _explain(self, failure: CommandFailure) -> Exception:
        return self._tools.explain(failure.messages, self._target) or DatabaseRestoreError(
            database=self._target, detail=last_line(failure.messages) or failure.ended)

    def _examine(self) -> DatabaseRecord:
        """Look at what arrived, and compare it with what was saved."""
        check = self._options.check
        tables = list_tables(self._tools, self._new, check).tables
        counts = "".join(f"SELECT count(*), {quoted_text(table)} FROM {quoted_name(table)};\n" for table in tables)
        rows = self._tools.ask(counts, self._new, check) if counts else []
        scanner = DumpScanner()
        schema = self._tools.dump([*schema_options(self._tools.dumper()), "--no-data", "--databases", "--", self._new],
                                  check)
        scanner.see(memoryview(schema))
        version = self._tools.ask("SELECT version()", check=check)[0][0]
        counted = (TableCount(name, int(number)) for number, name in rows)
        arrived = DatabaseRecord(
            path=self._stored.path.decode("utf-8", "replace"), kind="mysql", schema_hash=scanner.schema_hash(),
            tables=tuple(sorted(counted, key=lambda table: table.name)),
            server_version=version if "MariaDB" in version else f"MySQL {version}")
        saved = self._options.record
        if saved is not None:
            compare_records(self._target, saved, arrived, with_schema=False)
            if saved.server_version == arrived.server_version and saved.schema_hash not in ("", arrived.schema_hash):
                self._warnings.append(RestoredWithHint(database=self._target, detail=N_("the schema is not the same")))
        return arrived
