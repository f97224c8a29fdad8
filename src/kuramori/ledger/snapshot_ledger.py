"""Which snapshots of a repository this machine has seen, and which it has removed on purpose.

A store can lose files, list nothing for a moment, be rolled back to an old copy, or belong to
somebody who deletes. The repository itself cannot tell: what is gone has never been. This ledger
lies on this machine and can. Whoever is about to remove data asks it first.

A removal is written down *before* it is done, so a crash in between raises no alarm; what was
written is known after it is durable, so a crash in between costs one entry, which the next listing
makes up for. Every row carries a check sum, because SQLite does not notice a flipped bit in a value.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import apsw

from kuramori.clock import Clock
from kuramori.ledger.database import LedgerContentError, LedgerDatabase, Warn, ignore_warning

_SCHEMA = """
CREATE TABLE snapshot (
    id TEXT PRIMARY KEY, state INTEGER NOT NULL, seen INTEGER NOT NULL, changed INTEGER NOT NULL,
    removed_by TEXT NOT NULL, checksum BLOB NOT NULL
) WITHOUT ROWID
"""
_MOST_REMOVED = 10_000
"""So many removed snapshots are remembered, to notice when they come back."""


class _State(enum.IntEnum):
    KNOWN = 0
    """It was there."""
    REMOVING = 1
    """Its removal has begun; whether it was done will show."""
    REMOVED = 2
    """It was removed on purpose, and is gone."""


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A snapshot that was seen."""

    id: str
    """64 hexadecimal digits."""
    seen_nanoseconds: int
    """When it was first seen or written here, since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class LedgerComparison:
    """How a listing differs from what is known."""

    known: int = 0
    """Snapshots that should be there."""
    vanished: tuple[KnownSnapshot, ...] = ()
    """Known ones that are gone and that nobody here removed, in the order in which they became known."""
    returned: tuple[str, ...] = ()
    """Ids of snapshots that were removed and gone, and are there again; sorted."""
    unlisted: tuple[str, ...] = ()
    """Ids of vanished ones that are there when they are asked for: the listing is wrong."""
    unknown: tuple[str, ...] = ()
    """Ids that were never seen before: others write into the repository, too; sorted."""

    @property
    def agrees(self) -> bool:
        """Whether nothing is gone that should be there."""
        return not self.vanished

    @property
    def rolled_back(self) -> bool:
        """Whether an older state of the repository stands in its place."""
        return bool(self.vanished and self.returned)


_Row: TypeAlias = tuple[_State, int]
"""State, and when it was first seen."""


class SnapshotLedger:
    """The ledger of one repository. May be used by several threads and processes at once.

    No method raises: where the file cannot be used, nothing is known, and ``warn`` is told.
    """

    def __init__(self, directory: Path, repository_id: str, clock: Clock, warn: Warn = ignore_warning) -> None:
        """Nothing is opened yet.

        Args:
            directory: where ledgers lie; made when the first is written.
            repository_id: 64 hexadecimal digits. A copy of all files of a repository has the same
                id, and so the same ledger.
            warn: told of a damaged ledger, and once that it cannot be used.
        """
        self._database = LedgerDatabase(directory / f"{repository_id}-snapshots.sqlite", _SCHEMA, warn)
        self._clock = clock

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._database.path

    def observe(self, present: Iterable[str]) -> None:
        """Take in a complete listing: what is new in it becomes known, and what was being removed
        and is gone counts as removed. What has vanished stays known."""
        names = set(present)
        self._database.use(lambda connection: self._observe(connection, names), None)

    def recorded(self, ids: Iterable[str]) -> None:
        """Note snapshots that were written and are durable, also ones that were removed before."""
        names = list(ids)

        def record(connection: apsw.Connection) -> None:
            rows = _rows(connection)
            now = self._clock.now_nanoseconds()
            for name in names:
                state, seen = rows.get(name, (None, now))
                if state is not _State.KNOWN:
                    _put(connection, name, _State.KNOWN, seen, now)

        self._database.use(record, None)

    def removed(self, ids: Iterable[str], by: str) -> None:
        """Note snapshots that are about to be removed on purpose. Must return before they are.

        Args:
            by: who does it, for people who look into the file.
        """
        names = list(ids)

        def remove(connection: apsw.Connection) -> None:
            rows = _rows(connection)
            now = self._clock.now_nanoseconds()
            for name in names:
                state, seen = rows.get(name, (None, now))
                if state is not _State.REMOVING:
                    _put(connection, name, _State.REMOVING, seen, now, by)

        self._database.use(remove, None)

    def compare(self, present: set[str]) -> LedgerComparison:
        """Return how a complete listing differs from what is known. The listing must not be older
        than the locks that keep others from removing meanwhile."""
        rows: dict[str, _Row] = self._database.read(_rows, {})
        known = {name: seen for name, (state, seen) in rows.items() if state is _State.KNOWN}
        return LedgerComparison(
            known=len(known),
            vanished=tuple(sorted((KnownSnapshot(name, seen) for name, seen in known.items() if name not in present),
                                  key=lambda each: (each.seen_nanoseconds, each.id))),
            returned=tuple(sorted(name for name in present if name in rows and rows[name][0] is _State.REMOVED)),
            unknown=tuple(sorted(present - rows.keys())),
        )

    def accept(self, present: set[str], by: str) -> LedgerComparison:
        """Believe a complete listing: what has vanished was removed on purpose by somebody else, and
        what came back is known again. Return what was accepted."""
        comparison = self.compare(present)

        def believe(connection: apsw.Connection) -> None:
            self._observe(connection, present)
            rows = _rows(connection)
            now = self._clock.now_nanoseconds()
            for name, (state, seen) in rows.items():
                if state is _State.KNOWN and name not in present:
                    _put(connection, name, _State.REMOVED, seen, now, by)
                elif state is _State.REMOVED and name in present:
                    _put(connection, name, _State.KNOWN, seen, now)

        self._database.use(believe, None)
        return comparison

    def _observe(self, connection: apsw.Connection, present: set[str]) -> None:
        rows = _rows(connection)
        now = self._clock.now_nanoseconds()
        for name in sorted(present - rows.keys()):
            _put(connection, name, _State.KNOWN, now, now)
        gone = [(name, seen) for name, (state, seen) in rows.items()
                if state is _State.REMOVING and name not in present]
        for name, seen in gone:
            _put(connection, name, _State.REMOVED, seen, now)
        if gone:
            connection.execute(
                "DELETE FROM snapshot WHERE state = ? AND id NOT IN "
                "(SELECT id FROM snapshot WHERE state = ? ORDER BY changed DESC LIMIT ?)",
                (int(_State.REMOVED), int(_State.REMOVED), _MOST_REMOVED))


def _rows(connection: apsw.Connection) -> dict[str, _Row]:
    found: dict[str, _Row] = {}
    for name, state, seen, changed, by, checksum in connection.execute("SELECT * FROM snapshot"):
        if _checksum(name, state, seen, changed, by) != checksum:
            raise LedgerContentError("a row does not match its check sum")
        found[name] = _State(state), seen
    return found


def _put(connection: apsw.Connection, name: str, state: _State, seen: int, changed: int, by: str | None = None) -> None:
    """Write a row; without ``by`` who removed it stays as it is."""
    if by is None:
        by = next((row[0] for row in connection.execute("SELECT removed_by FROM snapshot WHERE id = ?", (name,))), "")
    connection.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?, ?)",
                       (name, int(state), seen, changed, by, _checksum(name, int(state), seen, changed, by)))


def _checksum(*fields: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, fields)).encode()).digest()[:8]
