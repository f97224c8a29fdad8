"""The process that works on a live database: see :mod:`kuramori.restoring.sqlite_replacement`."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import apsw

from kuramori.clock import SystemClock
from kuramori.errors import N_
from kuramori.model.databases import DatabaseRecord
from kuramori.repository.worker_channel import WorkerChannel, leave_signals_to_the_main_process
from kuramori.restoring import sqlite_wire
from kuramori.sources.sqlite_facts import examine_connection
from kuramori.sources.sqlite_files import SIBLING_SUFFIXES
from kuramori.sources.sqlite_image import read_image
from kuramori.sources.sqlite_reading import Patience, Reading, SourceChangingError, read_database
from kuramori.sources.sqlite_stream import ImageError
from kuramori.storage.durable_file import sync_file, sync_folder

_UNREADABLE = (apsw.NotADBError, apsw.CorruptError)


class _RefusedError(Exception):
    """The request cannot be met; the text says why."""


def _do(request: sqlite_wire.Request) -> DatabaseRecord | None:
    patience = Patience(SystemClock(), request.busy_timeout, lambda: False)
    live = Path(request.live).resolve()
    if isinstance(request, sqlite_wire.Replace):
        _replace(Path(request.restored), live, patience)
        return None
    if isinstance(request, sqlite_wire.Copy):
        _copy(live, Path(request.kept), patience)
        return None
    found: list[DatabaseRecord] = []
    _read(live, patience, lambda reading: found.append(examine_connection(reading.connection, request.live)))
    return found[-1]


# --- replacing -------------------------------------------------------------------------------


def _replace(restored: Path, live: Path, patience: Patience) -> None:
    with _restored(restored) as source:
        if not live.exists():
            _put_in_place(restored, live, restored)
            return
        try:
            _replace_through_sqlite(restored, source, live, patience)
        except _UNREADABLE:
            _put_in_place(restored, live, live)


@contextmanager
def _restored(path: Path) -> Iterator[apsw.Connection]:
    """Open a database that nobody works in; it must be one."""
    source = apsw.Connection(f"file:{quote(str(path))}?immutable=1",
                             flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        try:
            source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except _UNREADABLE:
            raise _RefusedError(N_("what was restored is not an SQLite database")) from None
        yield source
    finally:
        source.close(True)


def _replace_through_sqlite(restored: Path, source: apsw.Connection, live: Path, patience: Patience) -> None:
    target = apsw.Connection(str(live), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        patience.apply(target)
        target.pragma("synchronous", "extra")
        target.pragma("fullfsync", 1)
        target.pragma("schema_version")  # plays back what a dead program left
        logged = target.pragma("journal_mode") == "wal"
        if logged and target.pragma("page_size") != source.pragma("page_size"):
            with _converted(restored, target.pragma("page_size"), live, patience) as converted:
                _copy_all(converted, target)
        else:
            _copy_all(source, target)
        if target.pragma("journal_mode") == "wal":
            # The old rows are out of reach already; this takes them off the disk. Where a reader is in
            # the way, the next checkpoint will do it.
            with suppress(apsw.BusyError, apsw.LockedError):
                target.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        target.close(True)


def _copy_all(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as backup:
        backup.step(-1)


@contextmanager
def _converted(restored: Path, page_size: int, live: Path, patience: Patience) -> Iterator[apsw.Connection]:
    """Give a copy with another page size: a database with a log cannot change its own while others
    have it open. (``VACUUM INTO`` keeps row ids.)"""
    path = _beside(live)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

        def convert(reading: Reading) -> None:
            reading.end()
            reading.connection.pragma("page_size", page_size)
            reading.connection.execute("VACUUM INTO ?", (str(path),))

        _read(restored, patience, convert)
        with _restored(path) as converted:
            yield converted
    finally:
        for suffix in ("", *map(os.fsdecode, SIBLING_SUFFIXES)):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.kuramori")


def _put_in_place(restored: Path, live: Path, owner: Path) -> None:
    """Copy a database file to where there is none, or none that SQLite can read.

    What remains of the old one goes before the new one comes: SQLite would play an old log into it.
    """
    with _durable_copy(live, owner) as fd, open(restored, "rb") as file:
        shutil.copyfileobj(file, os.fdopen(os.dup(fd), "wb", buffering=0), 1 << 20)
        sync_file(fd)
        for suffix in SIBLING_SUFFIXES:
            live.with_name(live.name + os.fsdecode(suffix)).unlink(missing_ok=True)
        sync_folder(str(live.parent))


@contextmanager
def _durable_copy(path: Path, owner: Path) -> Iterator[int]:
    """Give a new file that takes the name ``path`` when the block ends well, with mode and owner of
    another one."""
    status = owner.stat()
    temporary = _beside(path)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield fd
        with suppress(PermissionError):
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        sync_file(fd)
        temporary.rename(path)
        sync_folder(str(path.parent))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


# --- reading ---------------------------------------------------------------------------------


def _read(live: Path, patience: Patience, read: Callable[[Reading], None]) -> None:
    directory = os.open(live.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        read_database(os.fsencode(live.name), directory, patience, read)
    finally:
        os.close(directory)


def _copy(live: Path, kept: Path, patience: Patience) -> None:
    try:
        with _durable_copy(kept, live) as fd:
            def read(reading: Reading) -> None:
                os.ftruncate(fd, 0)
                read_image(reading, lambda offset, chunk: _write(fd, chunk, offset))

            _read(live, patience, read)
    except (*_UNREADABLE, ImageError):
        for suffix in ("", *map(os.fsdecode, SIBLING_SUFFIXES)):
            part = live.with_name(live.name + suffix)
            if part.is_file():
                with _durable_copy(kept.with_name(kept.name + suffix), part) as fd, open(part, "rb") as file:
                    shutil.copyfileobj(file, os.fdopen(os.dup(fd), "wb", buffering=0), 1 << 20)


def _write(fd: int, chunk: bytearray | memoryview, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


# --- the process -----------------------------------------------------------------------------


def _answer(request: sqlite_wire.Request) -> sqlite_wire.Answer:
    try:
        return sqlite_wire.Answer(record=_do(request))
    except (apsw.BusyError, apsw.LockedError):
        return sqlite_wire.Answer("LiveDatabaseBusyError", f"{request.busy_timeout:g}")
    except apsw.FullError:
        return sqlite_wire.Answer("DatabaseReplacementError", "No space left on device")
    except OSError as error:
        return sqlite_wire.Answer("DatabaseReplacementError", error.strerror or str(error))
    except (apsw.Error, ImageError, SourceChangingError, _RefusedError) as error:
        return sqlite_wire.Answer("DatabaseReplacementError", str(error))


def run(fd: int) -> None:
    """Do what the first message on the socket ``fd`` asks for. Called in a process of its own."""
    leave_signals_to_the_main_process()  # what has begun is brought to its end, or that one ends us
    connection = WorkerChannel(fd)
    with suppress(EOFError, OSError):
        connection.send_bytes(sqlite_wire.encode(_answer(sqlite_wire.decode_request(connection.recv_bytes()))))
