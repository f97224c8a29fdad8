"""Reads a dump of MariaDB or MySQL as it passes: how many rows each table has, and a hash of the rest."""

from __future__ import annotations

import hashlib
import re

from kuramori.model.databases import TableCount

_ROW = b"\nINSERT INTO `"
ROWS_BEGIN = re.compile(rb"LOCK TABLES `((?:[^`]|``)+)` WRITE;")
"""The line before a table's rows."""
ROWS_END = b"UNLOCK TABLES;"
EVENTS_BEGIN = b"-- Dumping events for database"
EVENTS_END = (b"-- Dumping routines for database", b"-- Current Database:", b"-- Dump completed")
_SECTION_END = b"\n" + ROWS_END + b"\n"
_LONGEST_LINE = 64 * 1024 * 1024

# What differs between two dumps of the same schema, or says nothing of it.
_IGNORED = (b"--", b"USE `", b"CREATE DATABASE ", b"LOCK TABLES ", b"UNLOCK TABLES", b"INSERT INTO ", b"SET ",
            b"/*!4", b"/*M!", b"DROP ", b"COMMIT")
_COUNTER = re.compile(rb" AUTO_INCREMENT=\d+")


class DumpScanner:
    """Give it every byte of a dump in order: :meth:`see`. The dump must have one INSERT for each row
    (``--skip-extended-insert``) and its locks (``--add-locks``). A line break within a value is written as
    ``\\n`` in dumps, so that what begins a line is a statement.

    The hash leaves out events, which a restore brings back last. Rows are counted by searching, not line by
    line. Memory: one line of the schema.
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._rows: dict[bytes, int] = {}
        self._table: bytes | None = None
        """Whose rows are passing; None outside of rows."""
        self._rest = b""
        """Outside: the line that has not ended. Inside: the last bytes, in which a match may have begun."""
        self._hash = hashlib.sha256()
        self._in_events = False
        self._lost = False

    def see(self, piece: memoryview) -> None:
        """Take the next piece."""
        data = self._rest + bytes(piece)
        self._rest = b""
        while data:
            data = self._outside(data) if self._table is None else self._inside(data)

    def _outside(self, data: bytes) -> bytes:
        """Read lines until rows begin; return what follows."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = data[start:end]
            start = end + 1
            begins = ROWS_BEGIN.fullmatch(line)
            if begins:
                self._table = begins[1]
                self._rows.setdefault(begins[1], 0)
                return data[end:]  # with the line break, which belongs to what is searched for
            self._take_line(line)
        self._rest = data[start:]
        if len(self._rest) > _LONGEST_LINE:
            self._rest, self._lost = b"", True
        return b""

    def _take_line(self, line: bytes) -> None:
        if line.startswith(EVENTS_BEGIN):
            self._in_events = True
        elif line.startswith(EVENTS_END):
            self._in_events = False
        line = line.strip()
        if line and not self._in_events and not line.startswith(_IGNORED):
            self._hash.update(_COUNTER.sub(b"", line) + b"\n")

    def _inside(self, data: bytes) -> bytes:
        """Count rows until they end; return what follows."""
        assert self._table is not None
        end = data.find(_SECTION_END)
        if end >= 0:
            self._rows[self._table] += data.count(_ROW, 0, end)
            self._table = None
            return data[end + len(_SECTION_END):]
        # What may go on in the next piece is kept, and what begins in it is not counted yet.
        kept_from = max(len(data) - len(_SECTION_END) + 1, 0)
        self._rows[self._table] += data.count(_ROW, 0, kept_from + len(_ROW) - 1)
        self._rest = data[kept_from:]
        return b""

    def tables(self) -> tuple[TableCount, ...]:
        """Return the tables and their rows, sorted by name."""
        counts = [TableCount(name.decode("utf-8", "replace").replace("``", "`"), rows)
                  for name, rows in self._rows.items()]
        return tuple(sorted(counts, key=lambda table: table.name))

    def schema_hash(self) -> str:
        """Return the hash of everything but rows and counters; empty if it could not be followed."""
        return "" if self._lost else self._hash.hexdigest()
