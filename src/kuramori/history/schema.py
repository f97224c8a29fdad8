"""The tables of the history, version by version.

``PRAGMA user_version`` says how many of :data:`MIGRATIONS` a file has seen. A published entry is
never changed: what is new is appended, and must leave what older files hold in place.
"""

from __future__ import annotations

import apsw

MIGRATIONS = (
    """
    CREATE TABLE operations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, job TEXT NOT NULL, run TEXT NOT NULL, repository TEXT NOT NULL,
        state TEXT NOT NULL,
        started INTEGER NOT NULL,            -- nanoseconds since 1970-01-01 UTC, as all times here
        ended INTEGER,
        size_bytes INTEGER NOT NULL DEFAULT 0, added_bytes INTEGER NOT NULL DEFAULT 0,
        files INTEGER NOT NULL DEFAULT 0,
        errors TEXT NOT NULL DEFAULT '',     -- JSON, see stored_errors.py
        pid INTEGER NOT NULL, process_mark TEXT NOT NULL);
    CREATE INDEX operations_by_job ON operations (job, kind, id);
    CREATE INDEX operations_by_state ON operations (state) WHERE state = 'running';
    CREATE TABLE components (
        operation INTEGER NOT NULL REFERENCES operations ON DELETE CASCADE,
        component TEXT NOT NULL, repository TEXT NOT NULL, state TEXT NOT NULL,
        size_bytes INTEGER NOT NULL, added_bytes INTEGER NOT NULL, files INTEGER NOT NULL,
        seconds REAL NOT NULL, snapshot_id TEXT NOT NULL,
        PRIMARY KEY (operation, component, repository)) WITHOUT ROWID;
    CREATE TABLE log_lines (
        operation INTEGER NOT NULL REFERENCES operations ON DELETE CASCADE,
        number INTEGER NOT NULL, time INTEGER NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (operation, number)) WITHOUT ROWID;
    CREATE TABLE component_totals (
        job TEXT NOT NULL, component TEXT NOT NULL, repository TEXT NOT NULL,
        last_good INTEGER, last_good_run TEXT NOT NULL DEFAULT '', size_bytes INTEGER NOT NULL DEFAULT 0,
        files INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0,
        successes INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job, component, repository)) WITHOUT ROWID;
    CREATE TABLE due_states (
        key TEXT PRIMARY KEY,
        due INTEGER, schedule TEXT NOT NULL, last_due INTEGER, last_started INTEGER, last_good INTEGER,
        since INTEGER, running INTEGER NOT NULL, failures INTEGER NOT NULL, retry INTEGER,
        problem TEXT NOT NULL, told TEXT NOT NULL, overdue_told INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE restores (
        id TEXT PRIMARY KEY, time INTEGER NOT NULL,
        job TEXT NOT NULL, run TEXT NOT NULL, repository TEXT NOT NULL);
    CREATE TABLE kept_components (
        restore TEXT NOT NULL REFERENCES restores ON DELETE CASCADE,
        component TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, kept TEXT NOT NULL,
        PRIMARY KEY (restore, component, target)) WITHOUT ROWID;
    CREATE TABLE newest (only INTEGER PRIMARY KEY CHECK (only = 1), time INTEGER NOT NULL);
    """,
    """
    CREATE TABLE copies (
        job TEXT NOT NULL, repository TEXT NOT NULL,
        stale_since INTEGER, lacking INTEGER NOT NULL, told INTEGER,
        PRIMARY KEY (job, repository)) WITHOUT ROWID;
    """,
)


class TooNewError(Exception):
    """The file was written by a later version of the program."""


def bring_up_to_date(connection: apsw.Connection) -> None:
    """Make the tables of a new file, and what is missing in an old one, in one transaction.

    Raises:
        TooNewError: it has seen more migrations than there are.
        apsw.Error: the file fails.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been faster
        if version > len(MIGRATIONS):
            raise TooNewError
        for migration in MIGRATIONS[version:]:
            connection.execute(migration)
        connection.pragma("user_version", len(MIGRATIONS))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))
