"""What was done and when: every operation with its state, sizes, errors and log; what the scheduler
must not forget; which restores can be taken back.

The daemon and any number of commands may use one file at once. Nothing here raises because of the
file: see :mod:`kuramori.history.database`. Then reading answers with nothing, writing does
nothing, and :attr:`History.problems` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from kuramori.clock import Clock
from kuramori.errors import HistoryError
from kuramori.history import rows
from kuramori.history.database import HistoryDatabase
from kuramori.history.operation import Operation
from kuramori.history.process_marks import still_runs
from kuramori.history.records import (
    ComponentTotals,
    CopyRecord,
    DueState,
    KeptComponent,
    LogLine,
    OperationKind,
    OperationRecord,
    OperationState,
    RestoreRecord,
)

KEPT_DAYS = 400
"""Operations that are older go ..."""
KEPT_AT_LEAST = 1000
"""... but so many stay whatever the clock says, ..."""
KEPT_AT_MOST = 20_000
"""... and never more than these."""

_DAY_NANOSECONDS = 86_400_000_000_000


def history_path(state_directory: Path) -> Path:
    """Return where the history of a state directory lies."""
    return state_directory / "history.sqlite"


class History:
    """The history of one state directory. May be used by several threads and processes."""

    def __init__(self, path: Path, clock: Clock, *, told: Callable[[HistoryError], None] | None = None) -> None:
        """Nothing is opened or made before it is needed.

        Args:
            path: the file. Missing folders and the file are made with the first write, for the owner only.
            clock: what time it is.
            told: called with what goes wrong with the file, at once.
        """
        self._database = HistoryDatabase(path, told=told)
        self._clock = clock

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def problems(self) -> tuple[HistoryError, ...]:
        """What went wrong with the file so far, oldest first."""
        return tuple(self._database.problems)

    def close(self) -> None:
        """Close the file; it is opened again when needed. May be called twice."""
        self._database.close()

    # --- operations ----------------------------------------------------------------------------

    def begin(self, kind: OperationKind, job: str, run: str = "", repository: str = "") -> Operation:
        """Note that an operation begins, on disk before this returns, and return what takes its end.

        Args:
            kind: what is done.
            job: name of the job; empty for none.
            run: name of the run, where it is known (:meth:`Operation.name_run` otherwise).
            repository: name of the repository; empty for several or none.
        """
        operation = Operation(self._database, self._clock, kind, job, run, repository)
        now = self._clock.now_nanoseconds()

        def insert(connection: apsw.Connection) -> None:
            operation.write_beginning(connection)
            rows.remember_newest(connection, now)
            _drop_old(connection, now)

        self._database.write(insert)
        return operation

    def operations(self, job: str = "", kind: OperationKind | None = None, limit: int = 50, *,
                   state: OperationState | None = None, hidden: OperationKind | None = None,
                   repository: str = "") -> list[OperationRecord]:
        """Return operations, the newest first.

        Args:
            job: only this job's; empty for all.
            kind: only of this kind.
            limit: at most so many.
            state: only those that ended like this.
            hidden: none of this kind.
            repository: only those that were noted for this one.
        """
        conditions, values = ["1"], []
        for condition, wanted in (("job = ?", job), ("kind = ?", kind and kind.value),
                                  ("state = ?", state and state.value), ("kind != ?", hidden and hidden.value),
                                  ("repository = ?", repository)):
            if wanted:
                conditions.append(condition)
                values.append(wanted)
        query = (f"SELECT {rows.OPERATION_COLUMNS} FROM operations WHERE {' AND '.join(conditions)} "
                 "ORDER BY id DESC LIMIT ?")
        return self._records(query, (*values, limit))

    def operation(self, number: int) -> OperationRecord | None:
        """Return one operation, or None if there is none (any more)."""
        found = self._records(f"SELECT {rows.OPERATION_COLUMNS} FROM operations WHERE id = ?", (number,))
        return found[0] if found else None

    def _records(self, query: str, values: tuple[Any, ...]) -> list[OperationRecord]:
        return self._database.read(
            lambda connection: [rows.operation_record(connection, row)
                                for row in connection.execute(query, values).fetchall()], [])

    def log_lines(self, number: int) -> list[LogLine]:
        """Return the log of an operation, oldest line first."""
        return self._database.read(
            lambda connection: [LogLine(rows.to_moment(time), text) for time, text in connection.execute(
                "SELECT time, text FROM log_lines WHERE operation = ? ORDER BY number", (number,))], [])

    def mark_unfinished(self) -> int:
        """Mark the operations whose process is gone; return how many. Those of processes that still
        run, this one included, are left alone."""
        def find(connection: apsw.Connection) -> list[int]:
            running: list[Any] = connection.execute(
                "SELECT id, pid, process_mark, started FROM operations WHERE state = ?",
                (OperationState.RUNNING.value,)).fetchall()
            return [number for number, pid, mark, started in running if not still_runs(pid, mark, started)]

        nobody: list[int] = []
        gone = self._database.read(find, nobody)
        if not gone:
            return 0
        now = self._clock.now_nanoseconds()

        def mark(connection: apsw.Connection) -> int:
            connection.executemany("UPDATE operations SET state = ?, ended = ? WHERE id = ? AND state = ?", [
                (OperationState.UNFINISHED.value, now, number, OperationState.RUNNING.value) for number in gone])
            return len(gone)

        return self._database.write(mark) or 0

    # --- components ----------------------------------------------------------------------------

    def component_totals(self) -> list[ComponentTotals]:
        """Return what all operations say of each job's components in each repository."""
        query = f"SELECT {rows.TOTALS_COLUMNS} FROM component_totals ORDER BY job, component, repository"
        return self._database.read(lambda connection: [rows.component_totals(row) for row in connection.execute(query)],
                                   [])

    # --- copies --------------------------------------------------------------------------------

    def copy_records(self, job: str = "") -> list[CopyRecord]:
        """Return how far repositories are behind, of one job or of all."""
        query = "SELECT job, repository, stale_since, lacking, told FROM copies WHERE ? IN ('', job)"
        return self._database.read(lambda connection: [
            CopyRecord(owner, repository, rows.optional_moment(since), lacking, rows.optional_moment(told))
            for owner, repository, since, lacking, told in connection.execute(query, (job,))], [])

    def note_missed_run(self, job: str, repository: str, began: datetime) -> None:
        """Note that a repository of a job did not get a run that began at ``began``."""
        self._database.write(lambda connection: connection.execute(
            "INSERT INTO copies VALUES (?, ?, ?, 1, NULL) ON CONFLICT (job, repository) DO UPDATE SET "
            "stale_since = min(coalesce(stale_since, excluded.stale_since), excluded.stale_since), "
            "lacking = lacking + 1",
            (job, repository, rows.to_nanoseconds(began))))

    def note_caught_up(self, job: str, repository: str) -> None:
        """Note that a repository of a job has all its runs."""
        self._database.write(lambda connection: connection.execute(
            "UPDATE copies SET stale_since = NULL, lacking = 0 WHERE job = ? AND repository = ?", (job, repository)))

    def note_copy_told(self, job: str, repository: str, told: datetime | None) -> None:
        """Note when the person was told that a repository is stale; None for when he was told that it no longer is."""
        moment = None if told is None else rows.to_nanoseconds(told)
        self._database.write(lambda connection: connection.execute(
            "UPDATE copies SET told = ? WHERE job = ? AND repository = ?", (moment, job, repository)))

    # --- the scheduler -------------------------------------------------------------------------

    def due_state(self, key: str) -> DueState | None:
        """Return what was set for ``key``, or None."""
        def find(connection: apsw.Connection) -> DueState | None:
            row = connection.execute(f"SELECT {rows.DUE_COLUMNS} FROM due_states WHERE key = ?", (key,)).fetchone()
            return rows.due_state(row) if row is not None else None

        return self._database.read(find, None)

    def set_due_state(self, key: str, state: DueState) -> bool:
        """Keep ``state`` for ``key``, on disk before this returns; return whether it is."""
        values = (key, *rows.due_values(state))
        marks = ", ".join("?" * len(values))

        def put(connection: apsw.Connection) -> bool:
            connection.execute(f"INSERT OR REPLACE INTO due_states (key, {rows.DUE_COLUMNS}) VALUES ({marks})", values)
            if state.last_started is not None:
                rows.remember_newest(connection, rows.to_nanoseconds(state.last_started))
            return True

        return self._database.write(put) is True

    def newest_time(self) -> datetime | None:
        """Return the latest instant that anything here was noted at: the clock cannot rightly show
        less. None if nothing was."""
        def find(connection: apsw.Connection) -> datetime | None:
            row = connection.execute("SELECT time FROM newest").fetchone()
            return rows.to_moment(row[0]) if row is not None else None

        return self._database.read(find, None)

    def accept_clock(self) -> None:
        """Believe the clock although it went back: what was noted later than now counts no more in
        :meth:`newest_time`."""
        now = self._clock.now_nanoseconds()
        self._database.write(lambda connection: rows.set_newest(connection, now))

    # --- restores that can be taken back -------------------------------------------------------

    def remember_restore(self, restore_id: str, *, job: str, run: str, repository: str,
                         components: Sequence[KeptComponent]) -> bool:
        """Note where a restore kept what it replaced; once more with the same id replaces the note.

        Returns:
            Whether it is on disk. If not, the caller has to say where the kept things are.
        """
        now = self._clock.now_nanoseconds()

        def put(connection: apsw.Connection) -> bool:
            connection.execute("DELETE FROM restores WHERE id = ?", (restore_id,))
            connection.execute("INSERT INTO restores VALUES (?, ?, ?, ?, ?)", (restore_id, now, job, run, repository))
            connection.executemany("INSERT INTO kept_components VALUES (?, ?, ?, ?, ?)", [
                (restore_id, kept.component, kept.kind, kept.target, kept.kept) for kept in components])
            return True

        return self._database.write(put) is True

    def restores(self) -> list[RestoreRecord]:
        """Return the restores that can be taken back, the newest first."""
        def find(connection: apsw.Connection) -> list[RestoreRecord]:
            found: list[Any] = connection.execute(
                "SELECT id, time, job, run, repository FROM restores ORDER BY time DESC, id DESC").fetchall()
            return [RestoreRecord(number, rows.to_moment(time), job, run, repository, _kept(connection, number))
                    for number, time, job, run, repository in found]

        return self._database.read(find, [])

    def forget_restore(self, restore_id: str) -> bool:
        """Drop the note of a restore, which was taken back or whose kept things are gone; return
        whether there was one."""
        def drop(connection: apsw.Connection) -> bool:
            connection.execute("DELETE FROM restores WHERE id = ?", (restore_id,))
            return connection.changes() > 0

        return self._database.write(drop) is True


def _kept(connection: apsw.Connection, restore_id: str) -> tuple[KeptComponent, ...]:
    return tuple(KeptComponent(*row) for row in connection.execute(
        "SELECT component, kind, target, kept FROM kept_components WHERE restore = ? ORDER BY component, target",
        (restore_id,)))


def _drop_old(connection: apsw.Connection, now: int) -> None:
    """Remove what is too old or too much. By number and age both: a clock that jumped ahead must not
    empty the history."""
    connection.execute(
        "DELETE FROM operations WHERE state != ? AND (id <= (SELECT max(id) FROM operations) - ? OR "
        "(id <= (SELECT max(id) FROM operations) - ? AND started < ?))",
        (OperationState.RUNNING.value, KEPT_AT_MOST, KEPT_AT_LEAST, now - KEPT_DAYS * _DAY_NANOSECONDS))
