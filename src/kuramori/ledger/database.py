"""A small SQLite file that remembers, and never stands in the way of a backup.

Every use opens it anew, so any number of processes and threads may share one file. A change is
durable when it returns (rollback journal, ``synchronous=EXTRA``). A damaged file is put aside and a
new one begins; one that cannot be opened or written is as good as empty. Both are said once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw

from kuramori.errors import N_, KuramoriError, LedgerDamagedError, LedgerError


class LedgerContentError(Exception):
    """A row is not what was once written."""


_BUSY_MILLISECONDS = 20_000
_VERSION = 1
_MOST_KEPT = 1000

_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError, LedgerContentError)

_Result = TypeVar("_Result")
Warn = Callable[[KuramoriError], None]


def ignore_warning(error: KuramoriError) -> None:
    """Say nothing."""


class LedgerDatabase:
    """The file. May be used by several threads."""

    def __init__(self, path: Path, schema: str, warn: Warn) -> None:
        """Nothing is opened yet.

        Args:
            schema: statements that make the tables of an empty file.
            warn: told when the file is damaged, or the first time that it cannot be used.
        """
        self.path = path
        self._schema = schema
        self._warn = warn
        self._complained = False

    def use(self, work: Callable[[apsw.Connection], _Result], otherwise: _Result) -> _Result:
        """Do something in one transaction; return what it returns.

        Args:
            work: may be called twice, with an empty file the second time. It raises
                :class:`LedgerContentError` where it meets what was never written.
            otherwise: returned if the file cannot be used.
        """
        for last in (False, True):
            try:
                return self._in_transaction(work)
            except _DAMAGE as error:
                if last or not self._put_aside(str(error)):
                    self._complain(str(error))
            except (apsw.Error, OSError) as error:
                self._complain(getattr(error, "strerror", None) or str(error))
                return otherwise
        return otherwise

    def read(self, work: Callable[[apsw.Connection], _Result], otherwise: _Result) -> _Result:
        """The same, but a file that is not there is not made."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return otherwise
        except OSError as error:  # a folder of somebody else's: that is no reason to fail either
            self._complain(error.strerror or str(error))
            return otherwise
        return self.use(work, otherwise)

    def _in_transaction(self, work: Callable[[apsw.Connection], _Result]) -> _Result:
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            version = connection.pragma("user_version")
            if version == 0:
                if self.path.stat().st_size:
                    raise LedgerContentError("it was cut off")  # SQLite takes so short a file for an empty one
                connection.execute(self._schema)
                connection.pragma("user_version", _VERSION)
            elif version != _VERSION:
                # Its rows may mean something else: neither read nor put aside.
                raise apsw.CantOpenError(N_("a newer kuramori has written it"))
            result = work(connection)
            connection.execute("COMMIT")
            return result
        finally:
            connection.close()  # rolls back what was not committed

    def _connect(self) -> apsw.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.execute("PRAGMA synchronous=EXTRA")
        return connection

    def _put_aside(self, detail: str) -> bool:
        """Rename the file and its journal; return whether that could be done."""
        for number in range(1, _MOST_KEPT):
            kept = self.path.with_name(f"{self.path.name}.damaged-{number}")
            if os.path.lexists(kept):
                continue
            try:
                os.rename(self.path, kept)
                # A journal that stays would be played into the new file.
                with suppress(FileNotFoundError):
                    os.rename(f"{self.path}-journal", f"{kept}-journal")
            except FileNotFoundError:
                return True  # another process was quicker
            except OSError:
                return False
            self._warn(LedgerDamagedError(path=str(self.path), kept=kept.name, detail=detail))
            return True
        return False

    def _complain(self, detail: str) -> None:
        if not self._complained:
            self._complained = True
            self._warn(LedgerError(path=str(self.path), detail=detail))
