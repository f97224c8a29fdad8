"""The history's file: opened when it is needed, shared by processes and threads, never in the way.

SQLite's rollback journal with ``synchronous=EXTRA`` (FULL, and the folder too): what was committed
is there after a power cut, and nothing but one file has to be kept. A WAL would be faster and
would lose the last commits of a power cut unless it were synced as often.

Whatever the file does, nothing is raised: a backup is more important than the note about it. What
went wrong is kept in :attr:`HistoryDatabase.problems`.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import apsw

from kuramori.errors import HistoryDamagedError, HistoryError, HistoryTooNewError, HistoryUnavailableError
from kuramori.history import schema
from kuramori.storage.durable_file import make_folders

Result = TypeVar("Result")

BUSY_SECONDS = 10.0
"""How long to wait for another process that writes; its transactions take milliseconds."""

_MOST_PROBLEMS = 20
_MOST_KEPT = 100
_DAMAGED = (apsw.CorruptError, apsw.NotADBError)


class HistoryDatabase:
    """A file of SQLite that may be missing, damaged, read-only or full. May be used by several threads.

    Attributes:
        problems: what went wrong so far, oldest first; each kind of trouble once.
    """

    def __init__(self, path: Path, *, told: Callable[[HistoryError], None] | None = None,
                 busy_seconds: float = BUSY_SECONDS) -> None:
        """Nothing is opened or made yet.

        Args:
            path: the file; its folder is made with the first write, both for the owner only.
            told: called with each new problem, at once.
            busy_seconds: how long to wait for another process.
        """
        self.path = path
        self.problems: list[HistoryError] = []
        self._told = told
        self._busy_milliseconds = int(busy_seconds * 1000)
        self._guard = threading.RLock()
        self._connection: apsw.Connection | None = None

    def write(self, action: Callable[[apsw.Connection], Result]) -> Result | None:
        """Run ``action`` in a transaction; return what it returns, or None if nothing was written."""
        def in_transaction(connection: apsw.Connection) -> Result:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = action(connection)
                connection.execute("COMMIT")
                return result
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        return self._attempt(in_transaction, create=True)

    def read(self, action: Callable[[apsw.Connection], Result], default: Result) -> Result:
        """Return what ``action`` returns, or ``default`` if there is no file or it cannot be read."""
        result = self._attempt(action, create=False)
        return default if result is None else result

    def close(self) -> None:
        """Close the file. It is opened again when needed; may be called twice."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _attempt(self, action: Callable[[apsw.Connection], Result], *, create: bool) -> Result | None:
        """Run ``action``; once more where the file was damaged and replaced, or moved away."""
        with self._guard:
            for last in (False, True):
                try:
                    connection = self._open(create)
                    return action(connection) if connection is not None else None
                except schema.TooNewError:
                    self.close()
                    self._note(HistoryTooNewError(path=str(self.path)))
                    return None
                except (apsw.Error, OSError) as error:
                    self.close()
                    if last or not self._can_go_on(error):
                        self._note(HistoryUnavailableError(path=str(self.path), detail=_reason(error)))
                        return None
        return None

    def _can_go_on(self, error: Exception) -> bool:
        """Tell whether another attempt makes sense; put a damaged file aside first."""
        if isinstance(error, _DAMAGED):
            return self._set_aside()
        # Opening anew helps where the file was replaced or removed under an open connection.
        return isinstance(error, (apsw.ReadOnlyError, apsw.IOError))

    def _open(self, create: bool) -> apsw.Connection | None:
        if self._connection is not None:
            return self._connection
        if not self.path.exists():
            if not create:
                return None
            self._make_file()
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _prepare(connection, self._busy_milliseconds)
            schema.bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _make_file(self) -> None:
        make_folders(str(self.path.parent.absolute()), 0o700)
        # Before SQLite would make it with a wider mode; its journal takes over the mode of the file.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _set_aside(self) -> bool:
        """Rename a damaged file, unless another process did so meanwhile; return whether it is gone."""
        try:
            with _only_one(self.path.with_name(self.path.name + ".lock")):
                if not self._is_damaged():
                    return True
                kept = next((name for number in range(1, _MOST_KEPT)
                             if not (name := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists()), None)
                if kept is None:
                    return False
                os.rename(self.path, kept)
                journal = self.path.with_name(self.path.name + "-journal")
                if journal.exists():  # it belongs to the damaged file and must not be played into a new one
                    os.rename(journal, kept.with_name(kept.name + "-journal"))
        except OSError:
            return False
        self._note(HistoryDamagedError(path=str(self.path), kept=str(kept)))
        return True

    def _is_damaged(self) -> bool:
        try:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        except apsw.CantOpenError:
            return False
        try:
            _prepare(connection, self._busy_milliseconds)
            return bool(connection.pragma("quick_check") != "ok")
        except _DAMAGED:
            return True
        finally:
            connection.close()

    def _note(self, problem: HistoryError) -> None:
        if any(type(known) is type(problem) and known.fields == problem.fields for known in self.problems):
            return
        self.problems = [*self.problems, problem][-_MOST_PROBLEMS:]
        if self._told is not None:
            self._told(problem)


def _prepare(connection: apsw.Connection, busy_milliseconds: int) -> None:
    connection.set_busy_timeout(busy_milliseconds)
    connection.pragma("journal_mode", "delete")
    connection.pragma("synchronous", "extra")
    connection.pragma("foreign_keys", True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error).partition(": ")[2] or str(error)  # apsw begins with the name of the class


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes for a ``with`` block, where the file system has locks."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
