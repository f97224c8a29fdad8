"""Which files belong to an SQLite database.

Facts: https://www.sqlite.org/fileformat2.html. Nothing here needs SQLite itself.

Whoever has a database open in the same process must not have it opened here: when a process
closes any descriptor of a file, it loses all its POSIX locks on that file, those of SQLite too
(https://www.sqlite.org/howtocorrupt.html, 2.2). So the engine looks into files in worker processes
only, when it looks for databases.
"""

from __future__ import annotations

import os
import stat

MAGIC = b"SQLite format 3\0"
HEADER_LENGTH = 100
SIBLING_SUFFIXES = (b"-wal", b"-shm", b"-journal")
_WRITE_VERSION = 18
_WAL_VERSION = 2
LOCK_BYTE = 0x40000000
"""The page that holds this byte is never used: locks live there."""


def is_database_header(header: bytes) -> bool:
    """Tell whether a file that begins so is an SQLite database (and not encrypted)."""
    return header.startswith(MAGIC)


def is_wal_header(header: bytes) -> bool:
    """Tell whether a database that begins so uses a write-ahead log."""
    return len(header) > _WRITE_VERSION and header[_WRITE_VERSION] == _WAL_VERSION


def owner_of_sibling(name: bytes) -> bytes | None:
    """Return the name of the database to which a file would belong by its name: ``a.db`` for
    ``a.db-wal``; None if it is no such name."""
    for suffix in SIBLING_SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None


def sibling_statuses(name: bytes, directory: int) -> list[os.stat_result]:
    """Return the ``lstat`` of a database's log and journal, as far as they exist: by them one sees
    whether it was written to.

    Args:
        directory: a descriptor of its directory.
    """
    found = []
    for suffix in (b"-wal", b"-journal"):
        try:
            status = os.stat(name + suffix, dir_fd=directory, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(status)
    return found


def newest_change(status: os.stat_result, siblings: list[os.stat_result]) -> int:
    """Return the newest ctime in nanoseconds of a database, its log and its journal. With a log the
    database itself is not touched by every commit."""
    return max([status.st_ctime_ns, *(sibling.st_ctime_ns for sibling in siblings)])
