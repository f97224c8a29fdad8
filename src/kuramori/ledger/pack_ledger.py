"""Which packs of a repository were read and verified from this machine, and when.

The rolling check (:mod:`kuramori.maintenance.rolling_check`) writes it and goes by it. A row whose
check sum is wrong counts as never written: its pack is read again, which costs a little and is
always right. So does a time that lies in the future: no clock that was wrong makes a pack count as
verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw

from kuramori.clock import Clock
from kuramori.ids import ID_LENGTH, Id
from kuramori.ledger.database import LedgerDatabase, Warn, ignore_warning

_SCHEMA = """
CREATE TABLE pack (
    id BLOB PRIMARY KEY, size INTEGER NOT NULL, seen INTEGER NOT NULL, read INTEGER NOT NULL,
    sound INTEGER NOT NULL, checksum BLOB NOT NULL
) WITHOUT ROWID
"""
_NOTED_PACKS = 64
_NOTED_BYTES = 64 * 1024 * 1024
DAY_NANOSECONDS = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class PackRecord:
    """What is known of one pack. Instants are nanoseconds since 1970-01-01 UTC."""

    size: int
    """Bytes."""
    seen: int
    """When it was first seen here."""
    read: int = 0
    """When it was last read whole; 0 for never."""
    sound: bool = True
    """Whether it was sound then."""

    def is_fresh(self, now: int, days: float) -> bool:
        """Tell whether it was read, sound or not, in the last so many days."""
        return now - days * DAY_NANOSECONDS <= self.read <= now and self.read > 0

    @property
    def age_key(self) -> int:
        """The instant that its age is counted from: when it was read, or first seen."""
        return self.read or self.seen


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a repository was read in the last days."""

    packs: int = 0
    bytes: int = 0
    """Of all packs."""
    packs_read: int = 0
    bytes_read: int = 0
    """Of those that were read in the last days."""
    damaged: tuple[tuple[str, int], ...] = ()
    """Ids of packs that were damaged when they were last read, and when that was."""
    overdue: int = 0
    """Packs that were neither read nor first seen in the last days."""

    @property
    def percent(self) -> float:
        """The part of the bytes that was read; all of nothing is 100 %."""
        return 100.0 * self.bytes_read / self.bytes if self.bytes else 100.0


def measure_coverage(records: Mapping[Id, PackRecord], now: int, days: float) -> Coverage:
    """Return how much was read in the last days.

    Args:
        now: nanoseconds since 1970-01-01 UTC.
    """
    fresh = [record for record in records.values() if record.is_fresh(now, days)]
    return Coverage(
        packs=len(records), bytes=sum(record.size for record in records.values()), packs_read=len(fresh),
        bytes_read=sum(record.size for record in fresh),
        damaged=tuple(sorted((pack.hex(), record.read) for pack, record in records.items() if not record.sound)),
        overdue=sum(record.age_key < now - days * DAY_NANOSECONDS for record in records.values()))


class PackLedger:
    """The ledger of one repository's packs. May be used by several threads and processes at once.

    No method raises: where the file cannot be used, nothing is known, and ``warn`` is told.
    """

    def __init__(self, directory: Path, repository_id: str, clock: Clock, warn: Warn = ignore_warning) -> None:
        """Nothing is opened yet. Arguments as of :class:`kuramori.ledger.snapshot_ledger.SnapshotLedger`."""
        self._database = LedgerDatabase(directory / f"{repository_id}-packs.sqlite", _SCHEMA, warn)
        self._clock = clock

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._database.path

    def records(self) -> dict[Id, PackRecord]:
        """Return all that is known."""
        return self._database.read(_rows, {})

    def damaged(self) -> set[Id]:
        """Return the packs that were damaged, or gone, when a check last looked at them."""
        return {pack for pack, record in self.records().items() if not record.sound}

    def coverage(self, days: float) -> Coverage:
        """Return how much was read in the last days, of the packs that the last rolling check saw."""
        return measure_coverage(self.records(), self._clock.now_nanoseconds(), days)

    def observe(self, sizes: Mapping[Id, int]) -> dict[Id, PackRecord]:
        """Take in the packs that are there: new ones are noted, those that are gone are forgotten.
        Return what is known of all of them.

        Args:
            sizes: every pack and its bytes.
        """
        now = self._clock.now_nanoseconds()

        def update(connection: apsw.Connection) -> dict[Id, PackRecord]:
            known = _rows(connection)
            connection.executemany("DELETE FROM pack WHERE id = ?", ((pack,) for pack in known.keys() - sizes.keys()))
            current: dict[Id, PackRecord] = {}
            for pack, size in sizes.items():
                record = known.get(pack)
                if record is None or record.size != size:
                    record = PackRecord(size, now)
                    _put(connection, pack, record)
                current[pack] = record
            return current

        return self._database.use(update, {pack: PackRecord(size, now) for pack, size in sizes.items()})

    def forget(self, packs: Iterable[Id]) -> None:
        """Forget packs that were removed on purpose: what they were when they were read matters no more."""
        gone = list(packs)

        def remove(connection: apsw.Connection) -> None:
            connection.executemany("DELETE FROM pack WHERE id = ?", ((pack,) for pack in gone))

        if gone:
            self._database.read(remove, None)  # without a file there is nothing to forget

    def forget_others(self, packs: Container[Id]) -> None:
        """Forget packs that neither are there nor are named by an index any more.

        Args:
            packs: all others.
        """
        self.forget([pack for pack in self.records() if pack not in packs])

    def record(self, results: Iterable[tuple[Id, int, bool]]) -> None:
        """Note that packs were read just now, durably: id, bytes, and whether each was sound."""
        now = self._clock.now_nanoseconds()
        found = list(results)

        def note(connection: apsw.Connection) -> None:
            for pack, size, sound in found:
                row = connection.execute("SELECT seen FROM pack WHERE id = ?", (pack,)).fetchone()
                _put(connection, pack, PackRecord(size, row[0] if row else now, now, sound))

        self._database.use(note, None)


class PackNotes:
    """Gathers what was read and writes it down now and then: a killed run reads no more than a little
    again, and small packs do not cost a write each. Used by one thread."""

    def __init__(self, ledger: PackLedger) -> None:
        """Begin with nothing gathered."""
        self._ledger = ledger
        self._waiting: list[tuple[Id, int, bool]] = []
        self._bytes = 0

    def add(self, pack: Id, size: int, sound: bool) -> None:
        """Note a pack that was read just now: its bytes, and whether it is sound."""
        self._waiting.append((pack, size, sound))
        self._bytes += size
        if len(self._waiting) >= _NOTED_PACKS or self._bytes >= _NOTED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write down what is waiting."""
        if self._waiting:
            self._ledger.record(self._waiting)
            self._waiting, self._bytes = [], 0


def _rows(connection: apsw.Connection) -> dict[Id, PackRecord]:
    found: dict[Id, PackRecord] = {}
    for pack, size, seen, read, sound, checksum in connection.execute("SELECT * FROM pack"):
        whole = isinstance(pack, bytes) and len(pack) == ID_LENGTH  # a flipped bit can change a type, too
        if whole and _checksum(pack, size, seen, read, sound) == checksum:
            found[Id(pack)] = PackRecord(size, seen, read, bool(sound))
    return found


def _put(connection: apsw.Connection, pack: Id, record: PackRecord) -> None:
    fields = (pack, record.size, record.seen, record.read, int(record.sound))
    connection.execute("INSERT OR REPLACE INTO pack VALUES (?, ?, ?, ?, ?, ?)", (*fields, _checksum(*fields)))


def _checksum(pack: bytes, *numbers: int) -> bytes:
    return hashlib.sha256(pack + ",".join(map(str, numbers)).encode()).digest()[:8]
