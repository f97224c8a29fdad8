"""Which blobs the repository has, and where (format section 1.7)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob

_MASK32 = (1 << 32) - 1

Copy: TypeAlias = tuple[BlobType, bytes, int, int, int, int, int]
"""One copy of a blob as a plain tuple, for passes over millions: type, id, the blob's key
(:meth:`Index.key`), the number of the pack (:meth:`Index.pack_at`), offset, length and
uncompressed length."""


class Index:
    """All index files of a repository as one look-up table.

    A blob's place is one integer (pack number, offset, length, uncompressed length), so a million
    blobs are a million short objects and not several million.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._places: dict[BlobType, dict[bytes, int]] = {BlobType.DATA: {}, BlobType.TREE: {}}
        self._copies: dict[tuple[BlobType, bytes], list[int]] = {}
        self._packs: list[Id] = []
        self._pack_numbers: dict[Id, int] = {}

    def __len__(self) -> int:
        """The number of different blobs."""
        return sum(len(places) for places in self._places.values())

    @property
    def pack_count(self) -> int:
        """The number of packs that hold at least one indexed blob."""
        return len(self._packs)

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Tell whether the blob is known."""
        return blob_id in self._places[blob_type]

    def has_pack(self, pack: Id) -> bool:
        """Tell whether some index file names the pack."""
        return pack in self._pack_numbers

    def pack_ids(self) -> Iterator[Id]:
        """Yield every pack that an index file names."""
        return iter(self._packs)

    def add(self, blobs: Iterable[PackedBlob]) -> None:
        """Take in blobs; the same copy may be added again."""
        for blob in blobs:
            self.add_blob(blob.type, blob.id, blob.pack, blob.offset, blob.length, blob.uncompressed_length)

    def add_pack(self, pack: Id) -> None:
        """Take in a pack, though it may hold no blob."""
        self._pack_number(pack)

    def _pack_number(self, pack: Id) -> int:
        number = self._pack_numbers.get(pack)
        if number is None:
            number = self._pack_numbers[pack] = len(self._packs)
            self._packs.append(pack)
        return number

    def add_blob(self, blob_type: BlobType, blob_id: bytes, pack: Id,
                 offset: int, length: int, uncompressed_length: int) -> None:
        """Take in one copy of a blob; the same copy may be added again."""
        number = self._pack_number(pack)
        place = (number << 96) | (offset << 64) | (length << 32) | uncompressed_length
        first = self._places[blob_type].setdefault(blob_id, place)
        if first != place:
            copies = self._copies.setdefault((blob_type, blob_id), [])
            if place not in copies:
                copies.append(place)

    def lookup(self, blob_type: BlobType, blob_id: Id) -> list[PackedBlob]:
        """Return every known copy of a blob; an empty list if there is none."""
        first = self._places[blob_type].get(blob_id)
        if first is None:
            return []
        places = [first, *self._copies.get((blob_type, blob_id), ())]
        return [self._blob(blob_type, blob_id, place) for place in places]

    def has_copy(self, blob: PackedBlob) -> bool:
        """Tell whether just this copy of the blob is known."""
        number = self._pack_numbers.get(blob.pack)
        first = self._places[blob.type].get(blob.id)
        if number is None or first is None:
            return False
        place = (number << 96) | (blob.offset << 64) | (blob.length << 32) | blob.uncompressed_length
        return first == place or place in self._copies.get((blob.type, blob.id), ())

    def plain_length(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Return the blob's length in plain bytes, as the index says, or None if it is unknown."""
        place = self._places[blob_type].get(blob_id)
        if place is None:
            return None
        return (place & _MASK32) or ((place >> 32) & _MASK32) - 32

    def packs(self) -> Iterator[tuple[Id, list[PackedBlob]]]:
        """Yield each pack with its blobs sorted by offset."""
        blobs: list[list[PackedBlob]] = [[] for _ in self._packs]
        for blob in self.blobs():
            blobs[self._pack_numbers[blob.pack]].append(blob)
        for pack, contained in zip(self._packs, blobs, strict=True):
            contained.sort(key=_by_offset)
            yield pack, contained

    def blobs(self) -> Iterator[PackedBlob]:
        """Yield every copy of every blob, in no particular order."""
        for blob_type, places in self._places.items():
            for blob_id, place in places.items():
                yield self._blob(blob_type, Id(blob_id), place)
        for (blob_type, blob_id), copies in self._copies.items():
            for place in copies:
                yield self._blob(blob_type, Id(blob_id), place)

    def place(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Return where a blob's first copy lies as one number, or None if the blob is unknown.

        Sorted, such numbers follow packs and offsets; :meth:`blob_at` makes a blob of one. It is an
        object of the index itself, so keeping many takes no memory but their list's.
        """
        return self._places[blob_type].get(blob_id)

    def blob_at(self, blob_type: BlobType, blob_id: Id, place: int) -> PackedBlob:
        """Return the copy of a blob at a place."""
        return self._blob(blob_type, blob_id, place)

    # --- for maintenance ---------------------------------------------------------------------

    def pack_at(self, number: int) -> Id:
        """Return the pack of a number, below :attr:`pack_count`."""
        return self._packs[number]

    def key(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Return a number of 64 bits that stands for the blob in this index (its first copy's pack
        and offset), or None if the blob is unknown. It stays the same when copies are added."""
        place = self._places[blob_type].get(blob_id)
        return None if place is None else place >> 64

    def sorted_keys(self) -> array[int]:
        """Return the keys of all blobs, ascending."""
        return array("Q", sorted(place >> 64 for places in self._places.values() for place in places.values()))

    def duplicates(self) -> Iterator[tuple[BlobType, bytes, int]]:
        """Yield type, id and number of copies of every blob that has several."""
        for (blob_type, blob_id), copies in self._copies.items():
            yield blob_type, blob_id, 1 + len(copies)

    def copies(self) -> Iterator[Copy]:
        """Yield every copy of every blob, in no particular order."""
        for blob_type, places in self._places.items():
            for blob_id, place in places.items():
                yield (blob_type, blob_id, place >> 64, place >> 96, (place >> 64) & _MASK32,
                       (place >> 32) & _MASK32, place & _MASK32)
        for (blob_type, blob_id), more in self._copies.items():
            key = self._places[blob_type][blob_id] >> 64
            for place in more:
                yield (blob_type, blob_id, key, place >> 96, (place >> 64) & _MASK32,
                       (place >> 32) & _MASK32, place & _MASK32)

    def select(self, packs: Iterable[Id], wanted: Callable[[int], bool]) -> Iterator[tuple[Id, list[PackedBlob]]]:
        """Yield packs in the order given, each with those of its blobs that are wanted, sorted by
        offset. Memory: 16 bytes for each of these, until its pack was yielded.

        Args:
            wanted: is given the key of every copy in the packs once, before the first is yielded.
        """
        order = [(pack, self._pack_numbers[pack]) for pack in packs]
        chosen: dict[int, dict[BlobType, tuple[list[bytes], list[int]]]] = {
            number: {blob_type: ([], []) for blob_type in BlobType} for _, number in order}
        for blob_type, places in self._places.items():
            for blob_id, place in places.items():
                if (place >> 96) in chosen and wanted(place >> 64):
                    ids, its_places = chosen[place >> 96][blob_type]
                    ids.append(blob_id)
                    its_places.append(place)
        for (blob_type, blob_id), copies in self._copies.items():
            for place in copies:
                if (place >> 96) in chosen and wanted(self._places[blob_type][blob_id] >> 64):
                    ids, its_places = chosen[place >> 96][blob_type]
                    ids.append(blob_id)
                    its_places.append(place)
        for pack, number in order:
            blobs = [self._blob(blob_type, Id(blob_id), place) for blob_type, (ids, its_places)
                     in chosen.pop(number).items() for blob_id, place in zip(ids, its_places, strict=True)]
            blobs.sort(key=_by_offset)
            yield pack, blobs

    def _blob(self, blob_type: BlobType, blob_id: Id, place: int) -> PackedBlob:
        return PackedBlob(blob_type, blob_id, self._packs[place >> 96],
                          (place >> 64) & _MASK32, (place >> 32) & _MASK32, place & _MASK32)


def _by_offset(blob: PackedBlob) -> int:
    return blob.offset
