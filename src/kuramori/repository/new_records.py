"""Where blobs lie that were stored just now, as records in the order in which they came.

A first backup asks of each blob whether it is there already, nearly always in vain, and of hardly any where it lies.
So nothing is sorted, which would take longer than all the questions: a bit for some bits of each id answers most of
them (a Bloom filter of one hash function, which an id itself is), and the others search the records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from kuramori.repository.index_records import KEY_LENGTH, RECORD, SHELVES

_UNUSED_BITS = 6
"""Of the first 32 of an id: what is left is the place of a bit among 8 MB of them. Pages of it that no id falls into
take no memory."""
_LENGTH = RECORD.size


class NewRecords:
    """Records by the first byte of their ids, in the order in which they were added.

    One thread may add while others look up.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.count = 0
        """The number of records."""
        self._shelves: list[bytearray] = []
        self._seen = bytearray()

    def add(self, records: Iterable[bytes], joined_ids: bytes | bytearray) -> None:
        """Add records.

        Args:
            joined_ids: their ids, one behind the other.
        """
        if not self._shelves:
            self._shelves = [bytearray() for _ in range(SHELVES)]
            self._seen = bytearray(1 << (32 - _UNUSED_BITS - 3))
        shelves, seen = self._shelves, self._seen
        for record in records:
            shelves[record[0]] += record
        firsts = _first_bits(joined_ids)
        for first in firsts:  # behind the records: whoever sees a bit must find them
            seen[first >> (_UNUSED_BITS + 3)] |= 1 << (first >> _UNUSED_BITS & 7)
        self.count += len(firsts)

    def has_each(self, kind: bytes, ids: Sequence[bytes]) -> list[bool]:
        """Tell of each of many blobs whether there is a record of it.

        Args:
            kind: what stands behind an id in a key.
        """
        if not self.count:
            return [False] * len(ids)
        seen = self._seen
        return [seen[first >> (_UNUSED_BITS + 3)] >> (first >> _UNUSED_BITS & 7) & 1 == 1 and self._has(blob_id + kind)
                for first, blob_id in zip(_first_bits(b"".join(ids)), ids, strict=True)]

    def has(self, key: bytes) -> bool:
        """Tell whether there is a record with a key."""
        return self._may_have(key) and self._has(key)

    def tails(self, key: bytes) -> bytes:
        """Return the tails of all records with a key, one behind the other."""
        if not self._may_have(key):
            return b""
        records = self._shelves[key[0]]
        return b"".join(records[at + KEY_LENGTH : at + _LENGTH] for at in _places(records, key))

    def take_shelves(self) -> Iterator[tuple[int, bytes]]:
        """Yield the first byte of ids and their records, where there are some, which are gone when the next ones are
        asked for: whoever puts them elsewhere holds them once, and others find them in one place or the other."""
        for number, records in enumerate(self._shelves):
            if records:
                yield number, bytes(records)
                records.clear()

    def _may_have(self, key: bytes) -> bool:
        if not self.count:
            return False
        first = int.from_bytes(key[:4], sys.byteorder)
        return self._seen[first >> (_UNUSED_BITS + 3)] >> (first >> _UNUSED_BITS & 7) & 1 == 1

    def _has(self, key: bytes) -> bool:
        return next(_places(self._shelves[key[0]], key), None) is not None


def _first_bits(joined_ids: bytes | bytearray) -> list[int]:
    """Return the first 32 bits of each id as a number, in the order of bytes of this machine."""
    return memoryview(joined_ids).cast("I")[::8].tolist()


def _places(records: bytearray, key: bytes) -> Iterator[int]:
    """Yield where the records with a key begin."""
    at = records.find(key)
    while at >= 0:
        if not at % _LENGTH:  # by chance, or by somebody's design, it can stand across two records
            yield at
        at = records.find(key, at + 1)
