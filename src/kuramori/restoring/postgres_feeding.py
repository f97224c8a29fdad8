"""PostgreSQL: an archive of ``pg_dump`` becomes a database, and never over what was there.

It is fed into a new database beside the target, compared with what was recorded when it was saved, and
then both are renamed in one transaction.

**An archive is a program.** Whoever can write into the repository can have statements run by the server with
the rights of the user who restores, and (CVE-2025-8714, CVE-2025-8715 and their like) commands run by an
unpatched ``pg_restore`` or ``psql``. Restore only from repositories of your own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from kuramori.errors import (
    N_,
    DatabaseInUseError,
    DatabaseRestoreError,
    DatabaseServerError,
    NoSuchPathError,
    Phrase,
    RestoredWithHint,
)
from kuramori.model.databases import DatabaseRecord
from kuramori.restoring.database_feeding import (
    DatabaseFeeding,
    FeedOptions,
    FeedResult,
    StagedDatabase,
    compare_records,
    kept_name,
    require_kept_name,
)
from kuramori.restoring.dump_feeding import StoredDump, feed, feed_and_read, read_beginning
from kuramori.sources.child_process import last_line, never_gives_up
from kuramori.sources.dump_plan import dumped_database
from kuramori.sources.postgres import GLOBALS_PATH, connect_for_maintenance
from kuramori.sources.postgres_facts import read_facts
from kuramori.sources.postgres_session import PostgresSession, identifier, literal
from kuramori.sources.postgres_tools import PostgresTools, log_in
from kuramori.sources.server_address import ServerAddress
from kuramori.sources.stream_source import CommandFailure

_NAME_BYTES = 63
_SCRIPT_BYTES = 64 * 1024 * 1024

_ALL_DATABASES = "SELECT datname FROM pg_catalog.pg_database"
_ALL_ROLES = "SELECT rolname FROM pg_catalog.pg_roles"


def feed_postgres(stored: StoredDump, options: FeedOptions) -> FeedResult:
    """Make a database of an archive; keep what was there before under another name.

    Roles that the database needs and the server lacks are made first, from the roles that were saved with it.

    Args:
        stored: the archive, in the snapshot that :func:`kuramori.sources.postgres.plan_postgres` made.

    Raises:
        DatabaseInUseError: somebody works with the database, and ``options.disconnect`` is not set.
        DatabaseDiffersError: what arrived is not what was saved.
        DatabaseRestoreError: ``pg_restore`` failed.
        DatabaseServerError, DatabaseToolMissingError, PasswordFileError, DamagedError, StorageError, Interrupted

        In each case what was there is as it was.
    """
    with stage_postgres(stored, options) as staged:
        return staged.swap(staged.choose_kept())


@contextmanager
def stage_postgres(stored: StoredDump, options: FeedOptions) -> Iterator[StagedDatabase]:
    """Feed an archive into a new database beside its target, and compare it with its record. At the end of
    the context it is dropped, unless it was put in place.

    Raises:
        As :func:`feed_postgres`.
    """
    with log_in(options.address, options.program_folders) as tools, \
            _PostgresFeeding(stored, options, tools).staged() as staged:
        yield staged


def exchange_postgres(address: ServerAddress, database: str, kept: str, moment: datetime,
                      disconnect: bool = False) -> str:
    """Undo: give a database back its kept state; return the name under which its present one is kept.

    Args:
        kept: the database that has what was there before; empty if there was none: then the present one
            is only put aside.
        moment: now, for the name.

    Raises:
        NoSuchDatabaseError, DatabaseInUseError, DatabaseServerError: nothing has changed.
    """
    with log_in(address) as tools:
        _, session = connect_for_maintenance(tools, never_gives_up, avoid=database)
        with session:
            present = [row[0] for row in session.query(_ALL_DATABASES)]
            address.require(kept or database, present)
            if database not in present:
                session.query(f"ALTER DATABASE {identifier(kept)} RENAME TO {identifier(database)}")
                return ""
            aside = kept_name(database, moment, present, _NAME_BYTES, "undone")
            _swap(tools, session, database, kept, aside, disconnect)
            return aside


def drop_postgres(address: ServerAddress, kept: str) -> None:
    """Drop a database that a restore has kept.

    Raises:
        UsageError: it is none of those.
        DatabaseServerError
    """
    require_kept_name(kept)
    with log_in(address) as tools, connect_for_maintenance(tools, never_gives_up, avoid=kept)[1] as session:
        session.query(f"DROP DATABASE IF EXISTS {identifier(kept)}")


class _PostgresFeeding(DatabaseFeeding):
    """One database on its way."""

    name_bytes = _NAME_BYTES

    def __init__(self, stored: StoredDump, options: FeedOptions, tools: PostgresTools) -> None:
        super().__init__(stored, options)
        self._tools = tools
        self._origin = dumped_database(stored.path)

    def _fill(self) -> None:
        """Make the new database, and compare it with what was saved."""
        session = self._connect()
        with session:
            self._pg_restore = self._tools.program("pg_restore", session.major)
            if not self._options.disconnect:
                _refuse_use(session, self._target)  # at once, and not after an hour of feeding
            script = self._read_script()
            with_owners = self._make_roles(session, script)
            session.query(f"CREATE DATABASE {identifier(self._new)} TEMPLATE template0 {self._creation(script)}")
            self._made = True
        self._size = self._feed(with_owners)
        self._arrived = self._examine()
        self._set_properties(script, with_owners)

    def _list_databases(self) -> list[str]:
        with self._connect() as session:
            return [row[0] for row in session.query(_ALL_DATABASES)]

    def _exchange(self, kept: str) -> None:
        with self._connect() as session:
            if kept:
                _swap(self._tools, session, self._target, self._new, kept, self._options.disconnect)
            else:
                session.query(f"ALTER DATABASE {identifier(self._new)} RENAME TO {identifier(self._target)}")

    def _drop(self, database: str) -> None:
        _, session = connect_for_maintenance(self._tools, never_gives_up, avoid=self._target)
        with session:
            session.query(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE)")

    def _connect(self) -> PostgresSession:
        return connect_for_maintenance(self._tools, self._options.check, avoid=self._target)[1]

    # --- before ------------------------------------------------------------------------------

    def _read_script(self) -> str:
        """Return the statements that the archive has for everything but rows."""
        command = [self._pg_restore, "--create", "--schema-only", "--file=-"]
        answer = feed_and_read(self._stored, command, environment=self._tools.environment, limit=_SCRIPT_BYTES,
                               check=self._options.check, explain=self._explain)
        return answer.decode("utf-8", "replace")

    def _creation(self, script: str) -> str:
        """Return encoding and locale as the archive has them."""
        found = _CREATION.search(script)
        if found is None:
            raise DatabaseRestoreError(database=self._target,
                                       detail=N_("the archive does not say how to make the database"))
        return found[1]

    def _make_roles(self, session: PostgresSession, script: str) -> bool:
        """Make roles that are needed and missing; return whether all are there."""
        present = {row[0] for row in session.query(_ALL_ROLES)}
        saved = self._read_globals()
        missing = [role for role in _needed_roles(script) if role not in present and role != "PUBLIC"]
        if not missing:
            return True
        try:
            with self._connect() as own:
                for statement in _role_statements(saved, missing, present):
                    own.query(statement)
        except DatabaseServerError as error:
            self._warn(Phrase(N_("owners and rights, because roles could not be made: {detail}"), detail=error))
            return False
        present = {row[0] for row in session.query(_ALL_ROLES)}
        lacking = [role for role in missing if role not in present]
        if lacking:
            self._warn(Phrase(N_("owners and rights, because there are no such roles: {names}"),
                              names=", ".join(lacking)))
        return not lacking

    def _read_globals(self) -> list[str]:
        try:
            content = read_beginning(self._stored._replace(path=GLOBALS_PATH), _SCRIPT_BYTES)
        except NoSuchPathError:
            return []
        return content.decode("utf-8", "replace").splitlines()

    def _warn(self, detail: Phrase) -> None:
        self._warnings.append(RestoredWithHint(database=self._target, detail=detail))

    # --- filling -----------------------------------------------------------------------------

    def _feed(self, with_owners: bool) -> int:
        command = [self._pg_restore, "--exit-on-error", *self._tools.connection(self._new)]
        if not with_owners:
            command += ["--no-owner", "--no-acl"]
        return feed(self._stored, command, environment=self._tools.environment, check=self._options.check,
                    explain=self._explain)

    def _explain(self, failure: CommandFailure) -> Exception:
        detail = last_line(failure.messages) or failure.ended
        return self._tools.explain(failure.messages, self._target) or DatabaseRestoreError(
            database=self._target, detail=detail)

    def _examine(self) -> DatabaseRecord:
        saved = self._options.record
        with PostgresSession(self._tools, self._new, self._options.check) as session:
            arrived = read_facts(session, self._stored.path.decode("utf-8", "replace"))
            if saved is not None:
                same_server = _major_of(saved.server_version) == session.major
                compare_records(self._target, saved, arrived, with_schema=same_server)
            session.query("ANALYZE")
        return arrived

    def _set_properties(self, script: str, with_owners: bool) -> None:
        """Set what belongs to the database as a whole: its owner, rights, settings, comment."""
        for statement in _property_statements(script, self._origin, self._new, with_owners):
            try:
                with self._connect() as session:
                    session.query(statement)
            except DatabaseServerError as error:
                self._warn(Phrase("{detail}", detail=error))


# --- swapping --------------------------------------------------------------------------------


def _refuse_use(session: PostgresSession, database: str) -> None:
    users = session.query(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), usename) FROM pg_catalog.pg_stat_activity "
        f"WHERE datname = {literal(database)} AND backend_type = 'client backend' LIMIT 5")
    if users:
        raise DatabaseInUseError(database=database, detail=", ".join(row[0] for row in users))


def _swap(tools: PostgresTools, session: PostgresSession, target: str, new: str, kept: str, disconnect: bool) -> None:
    """Rename the target to ``kept`` and ``new`` (if any) to the target, both or none.

    Raises:
        DatabaseInUseError, DatabaseServerError: nothing has changed.
    """
    renames = [f"ALTER DATABASE {identifier(target)} RENAME TO {identifier(kept)}"]
    if new:
        renames.append(f"ALTER DATABASE {identifier(new)} RENAME TO {identifier(target)}")
    if not disconnect:
        _refuse_use(session, target)
        session.query(f"BEGIN; {'; '.join(renames)}; COMMIT")
        return
    session.query(f"ALTER DATABASE {identifier(target)} ALLOW_CONNECTIONS false")
    closed = target
    try:
        session.query("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                      f"WHERE datname = {literal(target)} AND pid <> pg_catalog.pg_backend_pid()")
        session.query(f"BEGIN; {'; '.join(renames)}; COMMIT")
        closed = kept
    finally:
        with connect_for_maintenance(tools, never_gives_up, avoid=target)[1] as opening:
            opening.query(f"ALTER DATABASE {identifier(closed)} ALLOW_CONNECTIONS true")


# --- reading scripts -------------------------------------------------------------------------

_NAME = r'("(?:[^"]|"")+"|[a-z_\u0080-\uffff][a-z0-9_$\u0080-\uffff]*)'
_OWNERS = re.compile(rf"^ALTER .* OWNER TO {_NAME};$", re.MULTILINE)
_GRANTS = re.compile(rf"^(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) .* (?:TO|FROM|FOR ROLE) {_NAME}", re.MULTILINE)
_CREATION = re.compile(r"^CREATE DATABASE .+ WITH TEMPLATE = template0 (.*);$", re.MULTILINE)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _spellings(name: str) -> str:
    """Return a pattern of the ways in which a script writes a name."""
    return f"(?:{re.escape(identifier(name))}|{re.escape(name)})"


def _needed_roles(script: str) -> list[str]:
    found = [*_OWNERS.findall(script), *_GRANTS.findall(script)]
    return sorted({_unquoted(name) for name in found})


def _role_statements(lines: list[str], missing: list[str], present: set[str]) -> list[str]:
    """Return what of the saved roles makes the missing ones."""
    names = "|".join(map(_spellings, missing))
    own = re.compile(rf"^(?:CREATE|ALTER) ROLE (?:{names})[ ;].*$|^CREATE ROLE (?:{names});$")
    member = re.compile(rf"^GRANT {_NAME} TO (?:{names})[ ;].*$|^GRANT {_NAME} TO (?:{names});$")
    there = present | set(missing)
    chosen = []
    for line in lines:
        if not line.endswith(";"):
            continue
        grant = member.match(line)
        if own.match(line) or (grant and _unquoted(grant[1] or grant[2]) in there):
            chosen.append(re.sub(r" GRANTED BY .*;$", ";", line))
    return chosen


def _property_statements(script: str, origin: str, database: str, with_owners: bool) -> list[str]:
    """Return what sets the properties of a database, for one of another name."""
    name, found = _spellings(origin), []
    patterns = [rf"^(ALTER DATABASE ){name}( .*;)$", rf"^(COMMENT ON DATABASE ){name}( IS .*;)$"]
    if with_owners:
        patterns.append(rf"^((?:GRANT|REVOKE) .* ON DATABASE ){name}( (?:TO|FROM) .*;)$")
    for line in script.splitlines():
        for pattern in patterns:
            matched = re.match(pattern, line)
            if matched and (with_owners or " OWNER TO " not in line):
                found.append(f"{matched[1]}{identifier(database)}{matched[2]}")
    return found


def _major_of(version: str) -> int:
    found = re.match(r"PostgreSQL (\d+)", version)
    return int(found[1]) if found else 0
