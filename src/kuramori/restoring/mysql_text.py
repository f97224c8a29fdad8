"""What is changed in a dump of MariaDB or MySQL on its way into a database."""

from __future__ import annotations

import re

from kuramori.sources.mysql_scanner import EVENTS_BEGIN, EVENTS_END, ROWS_BEGIN, ROWS_END

_STATEMENT_BYTES = 256 * 1024
"""Rows are joined to statements of about this length: well below every server's limit."""
# Whatever the name: a USE that came through would lead the client into a database that is in use.
_NAMING = re.compile(rb"(?:USE |CREATE DATABASE [^`]*)`(?:[^`]|``)+`[^`]*;\s*")
_SANDBOX = b"/*M!999999\\-"
_END = b"\n" + ROWS_END + b"\n"


class DumpAltering:
    """Call it with each piece, and at the end with ``b""``; it returns what is to be fed. It

    * leaves out what names the database (``CREATE DATABASE``, ``USE``), so that the dump goes into the one
      that the client is connected to;
    * joins the rows, which the dump has one in a statement, to statements of many: ten times as fast;
    * withholds the events, which must not run before everything is in its place: see :attr:`events`;
    * leaves out MariaDB's sandbox line for clients of MySQL, which take it for a mistake.
    """

    def __init__(self, for_mariadb: bool) -> None:
        """Begin before the first byte.

        Args:
            for_mariadb: whether the client is MariaDB's.
        """
        self._for_mariadb = for_mariadb
        self._rest: list[bytes] = []
        self._row: bytes | None = None
        """How the statement of each row begins, while rows pass."""
        self._in_events = False
        self._events: list[bytes] = []

    @property
    def events(self) -> bytes:
        """The statements that make the events."""
        return b"".join(self._events)

    def __call__(self, piece: bytes) -> bytes:
        """Return what is to be fed instead of a piece."""
        if not piece:
            whole, self._rest = b"".join(self._rest), []
            return self._alter(whole)
        end = piece.rfind(b"\n") + 1
        if not end:
            self._rest.append(piece)
            return b""
        whole = b"".join([*self._rest, piece[:end]])
        self._rest = [piece[end:]]
        return self._alter(whole)

    def _alter(self, lines: bytes) -> bytes:
        found: list[bytes] = []
        start = 0
        while start < len(lines):
            if self._row is None:
                start = self._outside(lines, start, found)
            else:
                start = self._inside(lines, start, found)
        return b"".join(found)

    def _outside(self, lines: bytes, start: int, found: list[bytes]) -> int:
        """Take one line that is no row; return where the next begins."""
        end = lines.find(b"\n", start) + 1 or len(lines)
        line = lines[start:end]
        bare = line.rstrip(b"\n")
        rows = ROWS_BEGIN.fullmatch(bare)
        if rows:
            self._row = b"INSERT INTO `" + rows[1] + b"` VALUES ("
        if line.startswith(EVENTS_BEGIN):
            self._in_events = True
        elif line.startswith(EVENTS_END):
            self._in_events = False
        if self._in_events:
            self._events.append(line)
        elif not _NAMING.fullmatch(bare) and (self._for_mariadb or not line.startswith(_SANDBOX)):
            found.append(line)
        return end

    def _inside(self, lines: bytes, start: int, found: list[bytes]) -> int:
        """Take the rows up to their end, or all that is there; return where the next line begins."""
        assert self._row is not None
        if lines.startswith(_END[1:], start):
            end = start
        else:
            end = lines.find(_END, start) + 1 or len(lines)
        border, joined = b");\n" + self._row, b"),\n("
        at = start
        while at < end:
            stop = lines.rfind(b"\n", at, min(at + _STATEMENT_BYTES, end)) + 1 or lines.find(b"\n", at, end) + 1 or end
            found.append(lines[at:stop].replace(border, joined))
            at = stop
        if end < len(lines):
            self._row = None
        return end
