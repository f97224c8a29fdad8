"""Which blobs the repository has, and where (format section 1.7)."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import repeat
from operator import or_
from typing import TypeAlias

from kuramori.ids import Id, split_ids
from kuramori.model.blob import SEALED_OVERHEAD, BlobType, PackedBlob
from kuramori.repository.index_records import (
    KEY_LENGTH,
    RECORD,
    SHELVES,
    TAIL,
    FileRecords,
    MemoryRecords,
    Record,
    blob_type_of,
    record_key,
    runs,
    split_tails,
    unpack_shelf,
    unpack_tail,
)
from kuramori.repository.memory_release import release_memory
from kuramori.repository.new_records import NewRecords
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.pack_header import COMPRESSED_ENTRY, EMPTY_PACK, PLAIN_ENTRY

_MASK32 = (1 << 32) - 1
_NEW = 2_000_000
"""So many blobs of packs that were just stored are searched without an order."""
_KINDS = (record_key(BlobType.DATA, b""), record_key(BlobType.TREE, b""))
_LARGE_BYTES = 2_000_000
"""So many bytes of records were read with much else, which is given back to the system."""

Copy: TypeAlias = tuple[BlobType, bytes, int, int, int, int, int]
"""One copy of a blob as a plain tuple, for passes over millions: type, id, the blob's number
(:meth:`Index.number`), the number of the pack (:meth:`Index.pack_at`), offset, length and
uncompressed length."""


class Index:
    """All index files of a repository as one look-up table.

    A blob is a record of 49 bytes, in a file on this machine where there is one
    (:mod:`kuramori.repository.local_index`), else in memory. What is added is sorted in at the next question; what
    packs hold that were just stored, at the first question that needs an order.

    Several threads may look up while one adds.
    """

    def __init__(self, stored: FileRecords | None = None, packs: Iterable[Id] = ()) -> None:
        """Begin empty, or with records in a file and the packs that their numbers stand for."""
        self._stored = stored
        self._packs: list[Id] = list(packs)
        self._pack_numbers: dict[Id, int] = {pack: number for number, pack in enumerate(self._packs)}
        self._stored_packs = len(self._packs)
        self._sorted = MemoryRecords()
        self._new = NewRecords()
        """Of packs that were stored just now."""
        self._loose: list[bytearray] = []
        """Unsorted records by the first byte of their ids, of packs that were added; empty for none."""
        self._distinct: int | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """The number of different blobs."""
        self.settle()
        if self._distinct is None:
            self._distinct = self._count_distinct()
        return self._distinct

    @property
    def pack_count(self) -> int:
        """The number of packs that hold at least one indexed blob."""
        return len(self._packs)

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Tell whether the blob is known."""
        if self._loose:
            self.settle()
        key = record_key(blob_type, blob_id)
        # In this order: what leaves the new ones is on the shelf before.
        return (self._new.has(key) or self._sorted.has(key)
                or (self._stored is not None and self._stored.has(key)))

    def has_each(self, blob_type: BlobType, ids: Sequence[bytes]) -> list[bool]:
        """Tell which of many blobs are known, as :meth:`has` does."""
        if self._loose:
            self.settle()
        kind = record_key(blob_type, b"")
        keys = [blob_id + kind for blob_id in ids]
        stored = self._stored
        known = self._new.has_each(kind, ids)  # first, see has()
        if not self._sorted.is_empty:
            known = list(map(or_, known, self._sorted.has_each(keys)))
        return known if stored is None else [there or stored.has(key) for key, there in zip(keys, known, strict=True)]

    def has_pack(self, pack: Id) -> bool:
        """Tell whether some index file names the pack."""
        return pack in self._pack_numbers

    def pack_ids(self) -> Iterator[Id]:
        """Yield every pack that an index file names."""
        return iter(self._packs)

    # --- adding ------------------------------------------------------------------------------

    def add_pack(self, pack: Id) -> None:
        """Take in a pack, though it may hold no blob."""
        self._pack_number(pack)

    def _pack_number(self, pack: Id) -> int:
        number = self._pack_numbers.get(pack)
        if number is None:
            number = self._pack_numbers[pack] = len(self._packs)
            self._packs.append(pack)
        return number

    def add_description(self, described: PackDescription) -> None:
        """Take in what an index file says of a pack; it may be said again."""
        with self._lock:
            number = self._pack_number(described.pack)
            if not described.blob_count:
                return
            self._settle_new()  # the copies of a blob stay in the order in which they came
            records = _records(number, described)
            if number < self._stored_packs:
                records = (record for record in records
                           if not self._is_stored(record[:KEY_LENGTH], record[KEY_LENGTH:]))
            loose = self._loose or [bytearray() for _ in range(SHELVES)]
            for record in records:
                loose[record[0]] += record
            self._loose = loose
            self._distinct = None

    def add_stored_pack(self, described: PackDescription) -> None:
        """Take in a pack that was just stored: the quick way of :meth:`add_description`."""
        with self._lock:
            if described.pack in self._pack_numbers:  # what of it is known must not be taken in twice
                self.add_description(described)
                return
            if self._loose:
                self.settle()
            self._new.add(_records(self._pack_number(described.pack), described), described.joined_ids)
            self._distinct = None
            if self._new.count > _NEW:
                self._settle_new()

    def _is_stored(self, key: bytes, tail: bytes) -> bool:
        return self._stored is not None and tail in split_tails(self._stored.tails(key))

    def settle(self) -> None:
        """Sort in what was added. It is done by itself where it is needed."""
        with self._lock:
            self._settle_new()
            if self._loose:
                large = sum(map(len, self._loose)) > _LARGE_BYTES
                for shelf, records in enumerate(self._loose):
                    if records:
                        self._sorted.put(shelf, bytes(records))
                        records.clear()
                self._loose = []
                if large:
                    release_memory()

    def _settle_new(self) -> None:
        if self._new.count:
            large = self._new.count * RECORD.size > _LARGE_BYTES
            for number, records in self._new.take_shelves():
                self._sorted.put(number, records)
            self._new = NewRecords()
            if large:
                release_memory()

    # --- one blob ----------------------------------------------------------------------------

    def _tails(self, key: bytes) -> bytes:
        """Return the tails of a blob's copies, the first one first; some may be there twice."""
        if self._loose:
            self.settle()
        new = self._new.tails(key)  # first, see has()
        tails = self._sorted.tails(key) + new
        return self._stored.tails(key) + tails if self._stored is not None else tails

    def lookup(self, blob_type: BlobType, blob_id: Id) -> list[PackedBlob]:
        """Return every known copy of a blob; an empty list if there is none."""
        tails = self._tails(record_key(blob_type, blob_id))
        if not tails:
            return []
        if len(tails) == TAIL.size:
            number, offset, length, uncompressed_length = unpack_tail(tails)
            return [PackedBlob(blob_type, blob_id, self._packs[number], offset, length, uncompressed_length)]
        return [PackedBlob(blob_type, blob_id, self._packs[number], offset, length, uncompressed_length)
                for number, offset, length, uncompressed_length in map(TAIL.unpack, split_tails(tails))]

    def has_copy(self, blob: PackedBlob) -> bool:
        """Tell whether just this copy of the blob is known."""
        number = self._pack_numbers.get(blob.pack)
        if number is None:
            return False
        tail = TAIL.pack(number, blob.offset, blob.length, blob.uncompressed_length)
        tails = self._tails(record_key(blob.type, blob.id))
        return tails == tail or (len(tails) > TAIL.size and tail in split_tails(tails))

    def plain_length(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Return the blob's length in plain bytes, as the index says, or None if it is unknown."""
        tails = self._tails(record_key(blob_type, blob_id))
        if not tails:
            return None
        _, _, length, uncompressed_length = unpack_tail(tails)
        return uncompressed_length or length - SEALED_OVERHEAD

    def plain_lengths(self, blob_type: BlobType, joined_ids: bytes) -> list[int] | None:
        """Return :meth:`plain_length` of each of many blobs, or None if one of them is unknown.

        Args:
            joined_ids: their ids, one behind the other.
        """
        keys = _keys(blob_type, joined_ids)
        if self._stored is None and not self._loose and not self._new.count:
            return self._sorted.plain_lengths(keys)
        lengths = [self.plain_length(blob_type, key[:-1]) for key in keys]
        return None if None in lengths else lengths  # type: ignore[return-value]  # as just seen

    def place(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Return where a blob's first copy lies as one number, or None if the blob is unknown.

        Sorted, such numbers follow packs and offsets; :meth:`blob_at` makes a blob of one.
        """
        tails = self._tails(record_key(blob_type, blob_id))
        if not tails:
            return None
        number, offset, length, uncompressed_length = unpack_tail(tails)
        return (number << 96) | (offset << 64) | (length << 32) | uncompressed_length

    def blob_at(self, blob_type: BlobType, blob_id: Id, place: int) -> PackedBlob:
        """Return the copy of a blob at a place."""
        return PackedBlob(blob_type, blob_id, self._packs[place >> 96],
                          (place >> 64) & _MASK32, (place >> 32) & _MASK32, place & _MASK32)

    # --- all blobs ---------------------------------------------------------------------------

    def packs(self) -> Iterator[tuple[Id, list[PackedBlob]]]:
        """Yield each pack with its blobs sorted by offset."""
        return self.select(self._packs, lambda _: True)

    def blobs(self) -> Iterator[PackedBlob]:
        """Yield every copy of every blob, in no particular order."""
        for _, record in self.records():
            yield self._blob(record)

    def blobs_of(self, packs: Iterable[Id]) -> dict[Id, list[PackedBlob]]:
        """Return the blobs of some packs, known or not, each pack's sorted by offset. One pass over all."""
        found: dict[Id, list[PackedBlob]] = {pack: [] for pack in packs}
        numbers = {self._pack_numbers[pack] for pack in found if pack in self._pack_numbers}
        if numbers:
            for _, record in self.records():
                if record[2] in numbers:
                    found[self._packs[record[2]]].append(self._blob(record))
        for blobs in found.values():
            blobs.sort(key=_by_offset)
        return found

    def _blob(self, record: Record) -> PackedBlob:
        blob_id, code, number, offset, length, uncompressed_length = record
        return PackedBlob(blob_type_of(code), Id(blob_id), self._packs[number], offset, length, uncompressed_length)

    # --- for maintenance ---------------------------------------------------------------------

    def pack_at(self, number: int) -> Id:
        """Return the pack of a number, below :attr:`pack_count`."""
        return self._packs[number]

    @property
    def record_count(self) -> int:
        """Above the :meth:`number` of every blob, and not much more than there are blobs."""
        self.settle()
        return self._sorted.count + (self._stored.count if self._stored is not None else 0)

    def number(self, blob_type: BlobType, blob_id: bytes) -> int:
        """Return a number that stands for the blob in this index, or -1 if it is unknown. It stays the same as long
        as nothing is added."""
        if self._loose or self._new.count:
            self.settle()
        return self._number(record_key(blob_type, blob_id))

    def numbers(self, blob_type: BlobType, joined_ids: bytes) -> list[int]:
        """Return :meth:`number` of each of many blobs.

        Args:
            joined_ids: their ids, one behind the other.
        """
        if self._loose or self._new.count:
            self.settle()
        keys = _keys(blob_type, joined_ids)
        return self._sorted.numbers(keys) if self._stored is None else list(map(self._number, keys))

    def _number(self, key: bytes) -> int:
        if self._stored is None:
            return self._sorted.number(key)
        number = self._stored.number(key)
        if number >= 0:
            return number
        number = self._sorted.number(key)
        return number if number < 0 else self._stored.count + number

    def records(self) -> Iterator[tuple[int, Record]]:
        """Yield every copy of every blob as its record, with the blob's number. The first one is number 0 itself, and
        so on; what a blob's number is of is its first copy."""
        self.settle()
        own = -1
        for source in self._sources():
            for shelf in range(SHELVES):
                number, last_id, last_code = -1, b"", -1
                for record in unpack_shelf(source.shelf(shelf)):
                    own += 1
                    if record[0] != last_id or record[1] != last_code:
                        last_id, last_code = record[0], record[1]
                        number = own if source is not self._sorted or self._stored is None else \
                            self._number(RECORD.pack(*record)[:KEY_LENGTH])
                    yield number, record

    def packed_bytes(self) -> int:
        """Return the size in bytes of all packs together, as it follows from what is in them. No pack is looked at."""
        return EMPTY_PACK * self.pack_count + sum(
            record[4] + (COMPRESSED_ENTRY.size if record[5] else PLAIN_ENTRY.size) for _, record in self.records())

    def numbered_blob(self, number: int) -> PackedBlob:
        """Return the first copy of the blob of a :meth:`number`."""
        return self._blob(self._record(number))

    def duplicates(self) -> Iterator[tuple[BlobType, bytes, int]]:
        """Yield type, id and number of copies of every blob that has several."""
        self.settle()
        counts: dict[bytes, int] = {}
        for source in self._sources():
            for shelf in range(SHELVES):
                records = source.shelf(shelf)
                for place, count in runs(records):
                    at = place * RECORD.size
                    counts[records[at : at + KEY_LENGTH]] = count
        if self._stored is not None:
            counts |= {key: len(self._tails(key)) // TAIL.size for key in self._keys_in_both()}
        for key, count in counts.items():
            yield blob_type_of(key[-1]), key[:-1], count

    def copies(self) -> Iterator[Copy]:
        """Yield every copy of every blob, the copies of one together or not."""
        for number, (blob_id, code, pack, offset, length, uncompressed_length) in self.records():
            yield blob_type_of(code), blob_id, number, pack, offset, length, uncompressed_length

    def select(self, packs: Iterable[Id], wanted: Callable[[int], bool]) -> Iterator[tuple[Id, list[PackedBlob]]]:
        """Yield packs in the order given, each with those of its blobs that are wanted, sorted by
        offset. Memory: 4 bytes for each of these, until its pack was yielded. Nothing may be added meanwhile.

        Args:
            wanted: is given the number of every copy in the packs once, before the first is yielded.
        """
        order = [(pack, self._pack_numbers[pack]) for pack in packs]
        chosen = {number: array("I") for _, number in order}
        for own, (number, record) in enumerate(self.records()):
            if record[2] in chosen and wanted(number):
                chosen[record[2]].append(own)
        for pack, number in order:
            blobs = [self._blob(self._record(own)) for own in chosen.pop(number)]
            blobs.sort(key=_by_offset)
            yield pack, blobs

    def _record(self, number: int) -> Record:
        if self._stored is None:
            return self._sorted.record(number)
        stored = self._stored.count
        return self._stored.record(number) if number < stored else self._sorted.record(number - stored)

    def _sources(self) -> list[MemoryRecords | FileRecords]:
        return [self._sorted] if self._stored is None else [self._stored, self._sorted]

    def _count_distinct(self) -> int:
        count = sum(len(_shelf_keys(self._sorted.shelf(shelf))) for shelf in range(SHELVES))
        if self._stored is None:
            return count
        return self._stored.distinct + count - len(self._keys_in_both())

    def _keys_in_both(self) -> set[bytes]:
        """Return the keys of blobs that have records in the file and in memory."""
        stored = self._stored
        if stored is None:
            return set()
        return {key for shelf in range(SHELVES) for key in _shelf_keys(self._sorted.shelf(shelf)) if stored.has(key)}

    # --- for the local index -----------------------------------------------------------------

    @property
    def unstored_count(self) -> int:
        """The number of records that are in memory only."""
        self.settle()
        return self._sorted.count

    def shelf(self, number: int) -> bytes:
        """Return all records of ids that begin with a byte; those of one source are sorted."""
        self.settle()
        return b"".join(source.shelf(number) for source in self._sources())

    def move_to_file(self, stored: FileRecords) -> None:
        """Take the records of a file instead of one's own, which must be the same. Nobody else may use the index
        meanwhile."""
        self._stored = stored
        self._stored_packs = len(self._packs)
        self._sorted = MemoryRecords()


def _records(number: int, described: PackDescription) -> Iterator[bytes]:
    return map(RECORD.pack, described.ids(), described.types, repeat(number), described.offsets, described.lengths,
               described.uncompressed_lengths)


def _keys(blob_type: BlobType, joined_ids: bytes) -> Iterator[bytes]:
    kind = record_key(blob_type, b"")
    return (blob_id + kind for blob_id in split_ids(joined_ids))


def _shelf_keys(records: bytes) -> Collection[bytes]:
    return {records[at : at + KEY_LENGTH] for at in range(0, len(records), RECORD.size)}


def _by_offset(blob: PackedBlob) -> int:
    return blob.offset
