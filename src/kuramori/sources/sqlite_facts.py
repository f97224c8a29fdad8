"""What proves a database: SQLite's own checks, its schema, its rows.

What is in a database is not trusted: the schema may call no functions that could do harm, and
virtual tables, whose code may not even be there, are not asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.sources.sqlite_vfs import QuietFile, vfs_name

_CACHE = -32 * 1024
_DETAIL_LENGTH = 500
_STEPS_BETWEEN_QUESTIONS = 100_000

ReadBytes = Callable[[int, int], bytes]
"""Returns up to so many bytes (first argument) at an offset (second)."""


def examine_connection(connection: apsw.Connection, path: str, *, check: bool = True) -> DatabaseRecord:
    """Return the facts of an open database.

    Args:
        connection: best in a read transaction, so that the facts are of one instant.
        path: what the record calls it.
        check: False for page size and number of pages only.

    Raises:
        apsw.Error: SQLite cannot read it.
    """
    page_size, page_count = connection.pragma("page_size"), connection.pragma("page_count")
    if not check:
        return DatabaseRecord(path, "sqlite", page_size=page_size, page_count=page_count)
    connection.pragma("cache_size", _CACHE)
    integrity = _check_integrity(connection)
    if integrity not in ("", "ok"):
        # Counting rows of a malformed database says nothing, and may fail.
        return DatabaseRecord(path, "sqlite", integrity=integrity, page_size=page_size, page_count=page_count)
    return DatabaseRecord(
        path, "sqlite", schema_hash=_hash_schema(connection), tables=_count_rows(connection), integrity=integrity,
        foreign_keys=_check_foreign_keys(connection), page_size=page_size, page_count=page_count,
    )


def _check_integrity(connection: apsw.Connection) -> str:
    """Return ``ok``, what is wrong, or nothing if it cannot be said: an index may be sorted by a
    function that only the application has."""
    for pragma in ("integrity_check(10)", "quick_check(10)"):
        try:
            lines = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}")]
        except (apsw.CorruptError, apsw.NotADBError) as error:
            return str(error)[:_DETAIL_LENGTH]
        except apsw.SQLError:
            continue
        return "; ".join(lines)[:_DETAIL_LENGTH]
    return ""


def _check_foreign_keys(connection: apsw.Connection) -> str:
    try:
        for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            return f"{table} row {row} refers to {parent}, where nothing answers to it"[:_DETAIL_LENGTH]
    except apsw.SQLError as error:
        return str(error)[:_DETAIL_LENGTH]
    return "ok"


def _hash_schema(connection: apsw.Connection) -> str:
    digest = hashlib.sha256()
    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
    for row in sorted(tuple(map(str, row)) for row in rows):
        digest.update("\0".join(row).encode("utf-8", "surrogatepass") + b"\n\0")
    return digest.hexdigest()


def _count_rows(connection: apsw.Connection) -> tuple[TableCount, ...]:
    names = [str(row[0]) for row in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND coalesce(sql, '') NOT LIKE 'CREATE VIRTUAL%'")]
    counts = []
    for name in sorted(names):
        quoted = name.replace('"', '""')
        try:
            rows: Any = connection.execute(f'SELECT count(*) FROM main."{quoted}"').fetchall()[0][0]
        except apsw.SQLError:
            continue  # sorted by a function that only the application has
        counts.append(TableCount(name, int(rows)))
    return tuple(counts)


def examine(path: Path, stop: Callable[[], bool] | None = None) -> DatabaseRecord:
    """Return the facts of a database file that nobody works in: one that was just restored, or that is locked.

    The file is opened in this process: do not call this for one that this very process has open in another way than
    through this library (see :mod:`kuramori.sources.sqlite_files`).

    Args:
        stop: asked often; True ends the work with ``apsw.InterruptError``.

    Raises:
        apsw.Error: it is no database, or SQLite cannot read it.
    """
    # immutable: nothing is written beside it, no lock is taken, and no log is looked for.
    connection = apsw.Connection(f"file:{_quoted(path)}?immutable=1",
                                 flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        _distrust(connection)
        if stop is not None:
            connection.set_progress_handler(stop, _STEPS_BETWEEN_QUESTIONS)
        return examine_connection(connection, str(path))
    finally:
        connection.close(True)


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def _distrust(connection: apsw.Connection) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)


def examine_image(read: ReadBytes, size: int, path: str, stop: Callable[[], bool]) -> DatabaseRecord:
    """Return the facts of an image that lies somewhere else than in a file.

    Args:
        read: gives its bytes; may be asked for any of them in any order, often.
        size: of the image in bytes.
        path: what the record calls it.
        stop: asked often; True ends the work with ``apsw.InterruptError``.

    Raises:
        apsw.Error: SQLite cannot read it.
        Exception: what ``read`` raises.
    """
    vfs = _ImageVfs(read, size)
    try:
        connection = apsw.Connection("file:image?immutable=1", vfs=vfs.name,
                                     flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            _distrust(connection)
            connection.set_progress_handler(stop, _STEPS_BETWEEN_QUESTIONS)
            return examine_connection(connection, path)
        finally:
            connection.close(True)
    finally:
        vfs.unregister()


class _ImageVfs(apsw.VFS):
    """Shows one image as a file that never changes."""

    def __init__(self, read: ReadBytes, size: int) -> None:
        self.name = vfs_name("stored")
        self._read = read
        self._size = size
        super().__init__(self.name, "")

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return False

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if name is None:
            return super().xOpen(name, flags)  # SQLite's own temporary file
        flags[1] = flags[0]
        return _ImageFile(self._read, self._size)


class _ImageFile(QuietFile):
    """The image."""

    def __init__(self, read: ReadBytes, size: int) -> None:
        self._read = read
        self._size = size

    def xFileSize(self) -> int:
        return self._size

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._read(amount, offset)

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_IMMUTABLE
