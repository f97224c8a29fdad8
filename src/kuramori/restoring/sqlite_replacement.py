"""Puts a restored SQLite database in the place of one that applications have open.

Renaming a file over a live database would leave open connections with the old one, and the old
``-wal`` beside the new one, which SQLite would play into it. So the new content goes through SQLite:
one transaction that replaces every page, under SQLite's own locks.

The work is done in a process of its own: closing a database here could take away the locks of a
caller who has it open (see :mod:`kuramori.sources.sqlite_files`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from kuramori import errors
from kuramori.errors import N_, DatabaseReplacementError, SourceMissingError
from kuramori.model.databases import DatabaseRecord
from kuramori.model.names import display_text
from kuramori.repository.worker_process import WorkerProcess, end_workers
from kuramori.restoring import sqlite_wire

_BUSY_TIMEOUT = 60.0


def replace_database(restored: Path, live: Path, *, busy_timeout: float) -> None:
    """Replace the content of a live database by that of a restored one, durably.

    Open connections see the new rows with their next statement; nothing of an old log or journal
    survives. Killed at any moment it leaves the old content or the new one. A live database that is
    missing, or that SQLite cannot read, is replaced by a file that is renamed into its place. May be
    repeated.

    With a write-ahead log the page size of the live database stays; otherwise it becomes that
    of the restored one.

    Args:
        restored: a database file that nobody works in; it is only read.
        live: the one to replace; a link to it is followed.
        busy_timeout: seconds to wait for others who hold locks.

    Raises:
        LiveDatabaseBusyError: somebody held the live database for too long.
        DatabaseReplacementError: ``restored`` is no database, or the disk is full, or writing failed.
            In all cases the live database is as it was.
    """
    _ask(sqlite_wire.Replace(_text(restored), _text(live), busy_timeout), live)


def copy_database(live: Path, kept: Path, *, busy_timeout: float = _BUSY_TIMEOUT) -> None:
    """Make a durable copy of a database, of one instant, while others work in it: what is to be
    brought back should a replacement be a mistake.

    One that SQLite cannot read is copied as it lies on the disk, with its log and journal beside the copy.

    Args:
        live: is only read.
        kept: where the copy goes; a file there is replaced when the copy is whole.
        busy_timeout: seconds to wait for others who hold locks.

    Raises:
        SourceMissingError: there is no ``live``.
        LiveDatabaseBusyError: somebody held the live database for too long.
        DatabaseReplacementError: no copy could be made.
    """
    _ask(sqlite_wire.Copy(_text(live), _text(kept), busy_timeout), live)


def examine_live(live: Path, *, busy_timeout: float = _BUSY_TIMEOUT) -> DatabaseRecord:
    """Return the facts of a database that others may work in, at one instant.

    Raises:
        SourceMissingError: there is none.
        LiveDatabaseBusyError: somebody held it for too long.
        DatabaseReplacementError: SQLite cannot read it.
    """
    record = _ask(sqlite_wire.Examine(_text(live), busy_timeout), live)
    assert record is not None
    return record


def _text(path: Path) -> str:
    text = str(path.absolute())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DatabaseReplacementError(path=display_text(bytes(path)), detail=N_("its name is not UTF-8")) from None
    return text


def _ask(request: sqlite_wire.Request, live: Path) -> DatabaseRecord | None:
    if not isinstance(request, sqlite_wire.Replace) and not live.exists():
        raise SourceMissingError(path=str(live))
    worker = WorkerProcess("kuramori.restoring.sqlite_worker")
    try:
        worker.connection.send_bytes(sqlite_wire.encode(request))
        answer = sqlite_wire.decode_answer(worker.connection.recv_bytes())
    except (EOFError, OSError, msgspec.DecodeError):
        raise DatabaseReplacementError(
            path=str(live), detail=N_("a worker process ended unexpectedly")) from None
    finally:
        end_workers([worker])
    if answer.error:
        kind: type[DatabaseReplacementError] = getattr(errors, answer.error)
        raise kind(path=str(live), detail=answer.detail)
    return answer.record
