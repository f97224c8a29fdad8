"""One operation while it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import apsw

from kuramori.clock import Clock
from kuramori.errors import KuramoriError
from kuramori.history import rows
from kuramori.history.database import HistoryDatabase
from kuramori.history.process_marks import process_mark
from kuramori.history.records import ComponentEntry, OperationKind, OperationState
from kuramori.history.stored_errors import encode_errors

LOG_LINES = 2000
"""So many lines of a log are kept, the last ones."""
_LINE_CHARACTERS = 2000
_FLUSH_LINES = 50
_FLUSH_SECONDS = 5.0
"""Lines are written together: every write costs an SD card several blocks."""


class Operation:
    """Takes the log and the end of one operation. For one thread at a time."""

    def __init__(self, database: HistoryDatabase, clock: Clock, kind: OperationKind, job: str, run: str,
                 repository: str) -> None:
        """:meth:`kuramori.history.history.History.begin` makes these; nothing is written yet."""
        self.kind = kind
        self.job = job
        self.run = run
        self.repository = repository
        self._number: int | None = None
        self._database = database
        self._clock = clock
        self._started = clock.now_nanoseconds()
        self._waiting: list[tuple[int, str]] = []
        self._lines = 0
        self._flushed = clock.monotonic()
        self._ended = False

    @property
    def number(self) -> int | None:
        """Its number in the history; None while it could not be noted there."""
        return self._number

    def write_beginning(self, connection: apsw.Connection) -> int:
        """Note the operation, if that is not done; return its number. For the inside of a transaction.

        It is noted anew where the file was damaged, and replaced, while the operation ran."""
        known = connection.execute("SELECT id FROM operations WHERE id = ? AND started = ? AND pid = ?",
                                   (self._number, self._started, os.getpid())).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO operations (kind, job, run, repository, state, started, pid, process_mark) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self.kind.value, self.job, self.run, self.repository, OperationState.RUNNING.value, self._started,
                 os.getpid(), process_mark()))
            self._number = connection.last_insert_rowid()
        assert self._number is not None
        return self._number

    def name_run(self, run: str) -> None:
        """Note the run's name, which was not known when the operation began."""
        self.run = run
        self._database.write(lambda connection: connection.execute(
            "UPDATE operations SET run = ? WHERE id = ?", (run, self.write_beginning(connection))))

    def name_repository(self, repository: str) -> None:
        """Note the repository, where it is another than was thought when the operation began."""
        if repository == self.repository:
            return
        self.repository = repository
        self._database.write(lambda connection: connection.execute(
            "UPDATE operations SET repository = ? WHERE id = ?", (repository, self.write_beginning(connection))))

    def log(self, text: str) -> None:
        """Add a line to the log (no secrets). It is on disk some seconds later, or when the operation
        ends."""
        self._waiting.append((self._clock.now_nanoseconds(), text[:_LINE_CHARACTERS]))
        if len(self._waiting) >= _FLUSH_LINES or self._clock.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put on disk what was logged."""
        if self._waiting and self._database.write(self._write_log) is not None:
            self._lines += len(self._waiting)
        self._waiting.clear()
        self._flushed = self._clock.monotonic()

    def finish(self, state: OperationState, *, size_bytes: int = 0, added_bytes: int = 0, files: int = 0,
               errors: Sequence[KuramoriError] = (), components: Sequence[ComponentEntry] = ()) -> None:
        """Note how it ended, on disk before this returns. The first call counts.

        Args:
            state: how; not ``RUNNING``.
            size_bytes: what a restore of everything would write (backup), what was freed (cleanup),
                what was written (restore), or what was read (check).
            added_bytes: what the repositories grew by.
            files: how many files.
            errors: what went wrong.
            components: what was done for each component in each repository; status and metrics
                come from these.
        """
        if state is OperationState.RUNNING:
            raise ValueError("an operation that ends does not run")
        if self._ended:
            return
        self._ended = True
        now = self._clock.now_nanoseconds()

        def end(connection: apsw.Connection) -> None:
            number = self._write_log(connection)
            connection.execute(
                "UPDATE operations SET state = ?, ended = ?, size_bytes = ?, added_bytes = ?, files = ?, errors = ? "
                "WHERE id = ?", (state.value, now, size_bytes, added_bytes, files, encode_errors(errors), number))
            for entry in components:
                self._write_component(connection, number, now, entry)
            rows.remember_newest(connection, now)

        self._database.write(end)
        self._waiting.clear()

    def _write_log(self, connection: apsw.Connection) -> int:
        number = self.write_beginning(connection)
        lines = enumerate(self._waiting, self._lines)
        connection.executemany("INSERT OR REPLACE INTO log_lines VALUES (?, ?, ?, ?)", [
            (number, position, time, text) for position, (time, text) in lines])
        connection.execute("DELETE FROM log_lines WHERE operation = ? AND number < ?",
                           (number, self._lines + len(self._waiting) - LOG_LINES))
        return number

    def _write_component(self, connection: apsw.Connection, number: int, now: int, entry: ComponentEntry) -> None:
        connection.execute("INSERT OR REPLACE INTO components VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (
            number, entry.component, entry.repository, entry.state.value, entry.size_bytes, entry.added_bytes,
            entry.files, entry.seconds, entry.snapshot_id))
        if self.kind is not OperationKind.BACKUP:
            return
        place = (self.job, entry.component, entry.repository)
        connection.execute("INSERT OR IGNORE INTO component_totals (job, component, repository) VALUES (?, ?, ?)",
                           place)
        if entry.state is OperationState.COMPLETE:
            connection.execute(
                "UPDATE component_totals SET last_good = ?, last_good_run = ?, size_bytes = ?, files = ?, seconds = ?, "
                "successes = successes + 1 WHERE job = ? AND component = ? AND repository = ?",
                (now, self.run, entry.size_bytes, entry.files, entry.seconds, *place))
        else:
            connection.execute("UPDATE component_totals SET failures = failures + 1 "
                               "WHERE job = ? AND component = ? AND repository = ?", place)
