"""Opens databases of running applications for reading, so that nothing of theirs is written to.

A connection goes through a VFS of our own, which opens every file read-only and by the descriptor
of its folder (so paths may be of any length and no link is followed), makes no files and removes
none. There are three ways to open, tried in this order where they apply:

*beside*: like any other reader, with SQLite's own locks. For databases with a rollback journal,
and for those with a write-ahead log whose ``-shm`` exists: then readers and writers agree in it
who may do what. A reader changes marks in ``-shm`` and nothing else.

*alone*: for a database with a log but without a ``-shm``: it was closed in good order, or its
machine lost power, or it lies on a medium that cannot be written to. SQLite would make ``-wal``
and ``-shm`` anew, with our owner and in a folder that is not ours. Instead the index of the log is
kept in memory (``locking_mode=EXCLUSIVE`` before the first reading does that) while we hold no
more than the shared lock on the database. That is sound as long as nobody else works in it, and
whoever does makes a ``-shm``, which cannot go away while we hold our lock: so if there is still
none at the end, all that was read is of one instant. Otherwise it is read again, beside the others.

*after a crash*: a rollback journal was left behind by a program that died. Its pages belong into the
database before anybody reads it. SQLite puts them there, and our VFS keeps what it writes in memory.
Nobody else can do the same or begin to write while we hold the shared lock, for both need an
exclusive one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from kuramori.clock import Clock
from kuramori.errors import N_
from kuramori.sources.sqlite_files import HEADER_LENGTH, MAGIC, is_wal_header
from kuramori.sources.sqlite_vfs import QuietFile, vfs_name

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ATTEMPTS = 5
_SHARED = apsw.SQLITE_LOCK_SHARED
_SECTOR = 512
_LARGEST_OVERLAY = 256 * 1024 * 1024
_PAUSE = 0.002
"""Seconds between two attempts to get a lock. A program that writes without a pause leaves a lock free for some
microseconds at a time; with the usual pauses of 0.1 s such a moment is not met in half a minute, with these
at once. An attempt takes some 50 microseconds."""
_STEPS_BETWEEN_QUESTIONS = 100_000
_PLACES = 32
_GET_PATH = 50
"""``F_GETPATH`` of macOS, which has no ``/proc``."""
_read = apsw.VFSFile.xRead
_MAKE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


class StoppedError(Exception):
    """Whoever asked for the work does not want it any more."""


class OutOfTimeError(Exception):
    """Something took longer than it may."""


class Patience:
    """How long to wait for others, and whether to go on at all."""

    def __init__(self, clock: Clock, seconds: float, stop: Callable[[], bool]) -> None:
        """Wait ``seconds`` for a lock; leave as soon as ``stop`` says so (asked often)."""
        self._clock = clock
        self.seconds = seconds
        self._stop = stop
        self._deadline = 0.0

    def apply(self, connection: apsw.Connection) -> None:
        """Let a connection wait, and ask, as this says."""
        connection.set_busy_handler(self._wait)
        connection.set_progress_handler(self._stop, _STEPS_BETWEEN_QUESTIONS)

    def _wait(self, earlier: int) -> bool:
        now = self._clock.monotonic()
        if earlier == 0:
            self._deadline = now + self.seconds
        if self._stop() or now >= self._deadline:
            return False
        self._clock.sleep(min(_PAUSE, self._deadline - now))
        return True

    @contextmanager
    def until(self, connection: apsw.Connection, deadline: float | None) -> Iterator[None]:
        """Give a connection only so much time for what it is asked meanwhile.

        Args:
            deadline: seconds, of the clock that never goes back; None for as long as it takes.

        Raises:
            OutOfTimeError: it was not enough.
        """
        if deadline is None:
            yield
            return
        over = False

        def stop() -> bool:
            nonlocal over
            over = self._clock.monotonic() >= deadline
            return over or self._stop()

        connection.set_progress_handler(stop, _STEPS_BETWEEN_QUESTIONS)
        try:
            yield
        except apsw.InterruptError:
            if over:
                raise OutOfTimeError from None
            raise
        finally:
            connection.set_progress_handler(self._stop, _STEPS_BETWEEN_QUESTIONS)

    def check(self) -> None:
        """Raise if the work is not wanted any more.

        Raises:
            StoppedError
        """
        if self._stop():
            raise StoppedError


class SourceChangingError(Exception):
    """Others came and went so often that nothing could be read in peace."""


class Reading:
    """A connection in a read transaction."""

    def __init__(self, connection: apsw.Connection, vfs: _SourceVfs, look: _Look) -> None:
        self.connection = connection
        self.path = vfs.path
        self.identity = look.identity
        """Device and number of the file."""
        self.is_in_memory = look.is_in_memory
        """Whether reading here and there in the file would not slow down who reads it from the first byte to the last:
        the system seems to hold it in memory."""
        self._vfs = vfs

    @property
    def blocks_writers(self) -> bool:
        """Whether writers have to wait until it ends: so it is with rollback journals."""
        return bool(self.connection.pragma("journal_mode") != "wal")

    @property
    def first_page(self) -> bytes:
        """The first page, as it is at this instant. (SQLite reads it when the transaction begins,
        whole, from the log if that has a newer one.)"""
        return self._vfs.first_page

    @property
    def is_in_its_file(self) -> bool:
        """Whether all pages of this instant are in the database's file as they are, and stay so while the transaction
        lasts: nothing is in a log or a journal, and whoever wants to write to the file has to wait."""
        vfs = self._vfs
        if self.blocks_writers:
            quiet = not vfs.alone
        else:
            # Beside others the log may be brought into the file meanwhile. Alone nobody else works in it, or all is
            # read again (see the beginning of this module).
            quiet = vfs.alone and vfs.log_is_empty()
        pages: int = self.connection.pragma("page_count")
        return quiet and vfs.main is not None and vfs.main.xFileSize() >= pages * self.connection.pragma("page_size")

    def read_file(self, amount: int, offset: int) -> bytes:
        """Return bytes of the database's file.

        Raises:
            SourceChangingError: it is not so long any more.
            apsw.Error: it cannot be read.
        """
        assert self._vfs.main is not None
        data = self._vfs.main.xRead(amount, offset)
        if len(data) != amount:
            raise SourceChangingError(N_("it became shorter"))
        return data

    def end(self) -> None:
        """End the transaction, so that nobody has to wait any longer. May be called once."""
        self.connection.execute("COMMIT")

    def was_undisturbed(self) -> bool:
        """Tell, before the transaction ends, whether what was read is of one instant."""
        return not self._vfs.alone or self._vfs.log_index_missing()


@contextmanager
def _opened(name: str, directory: int, patience: Patience, *, alone: bool,
            recover: bool) -> Iterator[tuple[apsw.Connection, _SourceVfs]]:
    vfs = _SourceVfs(name, directory, alone=alone)
    try:
        flags = apsw.SQLITE_OPEN_READWRITE if recover else apsw.SQLITE_OPEN_READONLY
        connection = apsw.Connection(vfs.path, flags=flags, vfs=vfs.name)
        try:
            patience.apply(connection)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            if alone:
                connection.pragma("locking_mode", "exclusive")
            connection.execute("BEGIN")
            connection.pragma("schema_version")  # the transaction begins with the first reading
            vfs.beginning = False
            yield connection, vfs
        finally:
            connection.close(True)
            vfs.main = None
    finally:
        vfs.unregister()


def read_database(name: bytes, directory: int, patience: Patience, read: Callable[[Reading], None]) -> None:
    """Call ``read`` with a database in a read transaction: all that it reads is of one instant.

    Args:
        name: the file's name.
        directory: a descriptor of its directory.
        read: called once more from the beginning where somebody else came meanwhile, so that what
            was read before does not count.

    Raises:
        apsw.Error: SQLite cannot read it; ``BusyError`` if somebody held it for too long.
        UnicodeDecodeError: SQLite cannot open a file with such a name.
        SourceChangingError
        StoppedError
    """
    text = name.decode("utf-8")
    recover = False
    for _ in range(_ATTEMPTS):
        look = _look_at(name, directory)
        logged = is_wal_header(look.header) or _exists(name + b"-wal", directory)
        alone = recover or (logged and not _exists(name + b"-shm", directory))
        try:
            with _opened(text, directory, patience, alone=alone, recover=recover) as (connection, vfs):
                reading = Reading(connection, vfs, look)
                read(reading)
                if recover or reading.was_undisturbed():
                    return
        except (apsw.ReadOnlyError, apsw.CantOpenError):
            # A journal that must be played back first; or files came or went since we looked.
            patience.check()
            if recover:
                raise
            recover = _exists(name + b"-journal", directory)
            if not recover and not alone:
                raise
        except (apsw.InterruptError, apsw.BusyError):
            patience.check()
            raise
        except SourceChangingError:
            patience.check()
    raise SourceChangingError(N_("other programs opened and closed it all the time"))


class _Look(NamedTuple):
    """What a file is before SQLite opens it: then it must not be opened any more."""

    header: bytes
    identity: tuple[int, int]
    is_in_memory: bool


def _look_at(name: bytes, directory: int) -> _Look:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(fd)
        return _Look(os.pread(fd, HEADER_LENGTH, 0), (status.st_dev, status.st_ino), _is_in_memory(fd, status.st_size))
    finally:
        os.close(fd)


def _is_in_memory(fd: int, size: int) -> bool:
    """Tell whether the system seems to hold a file in memory, judged by some places in it."""
    try:
        for number in range(_PLACES):
            os.preadv(fd, [bytearray(1)], size * number // _PLACES, os.RWF_NOWAIT)
    except (AttributeError, OSError):  # not Linux; it would have to be read; not with this file system
        return False
    return True


def _exists(name: bytes, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _path_of(directory: int) -> str:
    """Return a path to an open directory."""
    path = f"/proc/self/fd/{directory}"
    if os.path.isdir(path):
        return path
    return os.fsdecode(fcntl.fcntl(directory, _GET_PATH, b"\0" * 1024).rstrip(b"\0"))


class _SourceVfs(apsw.VFS):
    """Opens one database and what belongs to it, read-only."""

    def __init__(self, name: str, directory: int, *, alone: bool) -> None:
        self.name = vfs_name("source")
        self._directory = directory
        self._base_name = name
        self.alone = alone
        self.beginning = True
        self.first_page = b""
        self.main: _MainFile | None = None
        """The database's file, when SQLite has opened it."""
        self.path = f"{_path_of(directory)}/{name}"
        super().__init__(self.name, "")

    def log_index_missing(self) -> bool:
        """Tell whether there is still no ``-shm``."""
        return not _exists(os.fsencode(self._base_name) + b"-shm", self._directory)

    def log_is_empty(self) -> bool:
        """Tell whether there is no ``-wal``, or nothing in it."""
        try:
            return os.stat(os.fsencode(self._base_name) + b"-wal", dir_fd=self._directory,
                           follow_symlinks=False).st_size == 0
        except FileNotFoundError:
            return True

    def xFullPathname(self, name: str) -> str:
        # The default would resolve the descriptor into a path, which may be too long, and follow links.
        return name if name.startswith(self.path) else super().xFullPathname(name)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        wanted, flags[1] = flags[0], flags[0]
        if path is None or not path.startswith(self.path):
            return super().xOpen(name, flags)  # SQLite's own temporary file, or another database
        if wanted & apsw.SQLITE_OPEN_WAL and not os.path.lexists(path):
            # Nobody reads it while it is empty: should a writer make one, the index in -shm (or that
            # there was none) says that our transaction is older.
            return QuietFile()
        if wanted & apsw.SQLITE_OPEN_MAIN_DB:
            self.main = _MainFile(self, name, [(wanted & ~_MAKE) | apsw.SQLITE_OPEN_READONLY, 0])
            return self.main
        # Opened by root as what they are, a log and a journal would be given the owner of the database,
        # which they have already: but it counts as a change of the file.
        return _ReadOnlyFile(self, name, [apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_READONLY, 0])

    def saw(self, data: bytes) -> None:
        """Take note of what is read from the database or its log while a transaction begins."""
        if len(data) >= _SECTOR and data.startswith(MAGIC):
            self.first_page = data

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if not filename.startswith(self.path):  # of the database itself nothing is removed
            super().xDelete(filename, syncdir)


class _ReadOnlyFile(apsw.VFSFile):
    """A log or a journal: what SQLite would write is forgotten."""

    def __init__(self, vfs: _SourceVfs, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        data = _read(self, amount, offset)
        if self._vfs.beginning:
            self._vfs.saw(data)
        return data

    def xWrite(self, data: Buffer, offset: int) -> None:
        pass

    def xTruncate(self, newsize: int) -> None:
        pass

    def xSync(self, flags: int) -> None:
        pass


class _MainFile(_ReadOnlyFile):
    """The database itself. When a journal is played back, what it writes is kept in memory."""

    def __init__(self, vfs: _SourceVfs, name: Any, flags: list[int]) -> None:
        self._sectors: dict[int, bytes] = {}
        self._size: int | None = None
        super().__init__(vfs, name, flags)

    def xLock(self, level: int) -> None:
        if not self._vfs.alone or level <= _SHARED:
            super().xLock(level)

    def xUnlock(self, level: int) -> None:
        if not self._vfs.alone or level < _SHARED:
            super().xUnlock(level)

    def xFileSize(self) -> int:
        return super().xFileSize() if self._size is None else self._size

    def xTruncate(self, newsize: int) -> None:
        self._size = newsize

    def xWrite(self, data: Buffer, offset: int) -> None:
        written = bytes(data)
        if len(self._sectors) * _SECTOR > _LARGEST_OVERLAY:
            raise apsw.FullError(N_("its journal is too large to be read beside it; open it once with its program"))
        for start in range(0, len(written), _SECTOR):
            self._sectors[(offset + start) // _SECTOR] = written[start : start + _SECTOR]
        self._size = max(self.xFileSize(), offset + len(written))

    def xRead(self, amount: int, offset: int) -> bytes:
        data = _read(self, amount, offset)
        if self._size is not None:
            data = self._patched(data, amount, offset)
        if self._vfs.beginning:
            self._vfs.saw(data)
        return data

    def _patched(self, data: bytes, amount: int, offset: int) -> bytes:
        assert self._size is not None
        patched = bytearray(data.ljust(amount, b"\0"))
        for sector in range(offset // _SECTOR, (offset + amount - 1) // _SECTOR + 1):
            written = self._sectors.get(sector)
            if written is None:
                continue
            start = sector * _SECTOR - offset
            skipped = max(0, -start)
            part = written[skipped : amount - start]
            patched[start + skipped : start + skipped + len(part)] = part
        return bytes(patched[: max(0, self._size - offset)])
