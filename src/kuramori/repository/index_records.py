"""Where blobs lie, as records of fixed size that are sorted and looked up by their first bytes.

A record is the blob's id, a byte for its type, the number of the pack, offset, length and uncompressed length: 49
bytes, in memory or in a file, and no object of Python's. Ids are hashes, so they are spread evenly: a small table says
where the records begin whose ids begin with the same bits, and what is left to search is some hundred bytes. (This is
bucketing as in a hash table; a sorted order inside of it keeps the copies of a blob together.)
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from operator import add, itemgetter
from typing import TypeAlias

from kuramori.errors import N_, StorageError
from kuramori.model.blob import SEALED_OVERHEAD, BlobType
from kuramori.storage.durable_file import read_range

RECORD = struct.Struct("<32sBIIII")
"""Id, type (1 for trees), number of the pack, offset, length, uncompressed length."""
TAIL = struct.Struct("<IIII")
"""What a record has behind its key."""
_LENGTHS = struct.Struct("<II")
_LENGTHS_AT = RECORD.size - _LENGTHS.size
KEY_LENGTH = 33
"""Id and type: what a blob is looked up by."""
SHELVES = 256
"""One for each first byte of an id."""
_LENGTH = RECORD.size
_RECORDS_TOGETHER = 8
"""Between half as many and as many records are searched for one."""
_PREFIX_BITS = 16
_FEW = 4
"""Records that are at most this part of those on their shelf are put between them; more are sorted with them."""
_HELD_BYTES = 8 * 1024 * 1024
"""A file of up to so many bytes is held in memory: a system call for each look-up takes as long as the look-up."""
_key_of: Callable[[bytes], bytes] = itemgetter(slice(0, KEY_LENGTH))

Record: TypeAlias = tuple[bytes, int, int, int, int, int]
"""What :data:`RECORD` unpacks."""
_Shelf: TypeAlias = tuple[bytes, "array[int]", int]
"""Sorted records; where those with the same next bits begin; by how much 16 bits are shifted to get these bits."""

_EMPTY: _Shelf = (b"", array("I", (0, 0)), _PREFIX_BITS)


def record_key(blob_type: BlobType, blob_id: bytes) -> bytes:
    """Return what records of a blob begin with."""
    return blob_id + (b"\x01" if blob_type is BlobType.TREE else b"\x00")


def blob_type_of(code: int) -> BlobType:
    """Return the type that a record's byte stands for."""
    return BlobType.TREE if code else BlobType.DATA


def split_tails(tails: bytes) -> list[bytes]:
    """Return the different ones of concatenated tails, in order."""
    if len(tails) == TAIL.size:
        return [tails]
    return list(dict.fromkeys(tails[at : at + TAIL.size] for at in range(0, len(tails), TAIL.size)))


def unpack_tail(tails: bytes) -> tuple[int, int, int, int]:
    """Return pack number, offset, length and uncompressed length of the first of concatenated tails."""
    return TAIL.unpack_from(tails)


def sort_records(records: bytes) -> list[bytes]:
    """Return records in order, each different one once; copies of a blob stay in the order in which they are."""
    each = [records[at : at + _LENGTH] for at in range(0, len(records), _LENGTH)]
    return sorted(dict.fromkeys(each), key=_key_of)


def count_keys(ordered: Iterable[bytes]) -> int:
    """Return how many different blobs sorted records are of."""
    return len(set(map(_key_of, ordered)))


def _locate(bucket: bytes, key: bytes) -> int:
    """Return where the first record with a key begins, or -1."""
    at = bucket.find(key)
    while at > 0 and at % _LENGTH:  # by chance, or by somebody's design, it can stand across two records
        at = bucket.find(key, at + 1)
    return at


def _tails(records: bytes, key: bytes, at: int) -> bytes:
    """Return the tails of the records with a key, of which the first one begins at a place."""
    if at < 0:
        return b""
    end = at + _LENGTH
    tails = records[at + KEY_LENGTH : end]
    while records.startswith(key, end):
        tails += records[end + KEY_LENGTH : end + _LENGTH]
        end += _LENGTH
    return tails


def _shelf_bits(count: int) -> int:
    """Return by how many bits a shelf of so many records is divided."""
    return min((count // _RECORDS_TOGETHER).bit_length(), _PREFIX_BITS)


def _put_between(shelf: _Shelf, few: Sequence[bytes]) -> _Shelf:
    """Return a shelf with a few more records, which are sorted: the many others are copied in long pieces."""
    records, starts, shift = shelf
    added = [0] * len(starts)
    pieces: list[bytes] = []
    copied = 0
    for record in few:
        key = record[:KEY_LENGTH]
        bucket = (key[1] << 8 | key[2]) >> shift
        at, end = starts[bucket] * _LENGTH, starts[bucket + 1] * _LENGTH
        while at < end and records[at : at + KEY_LENGTH] <= key and not records.startswith(record, at):
            at += _LENGTH
        if at < end and records.startswith(record, at):
            continue  # it is there
        added[bucket + 1] += 1
        pieces += (records[copied:at], record)
        copied = at
    pieces.append(records[copied:])
    return b"".join(pieces), array("I", map(add, starts, accumulate(added))), shift


class MemoryRecords:
    """Records in memory, on 256 shelves by the first byte of their ids.

    One thread may put records in while others look up: a shelf is replaced as a whole.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._is_empty = True
        self._shelves: list[_Shelf] = [_EMPTY] * SHELVES
        self._firsts: list[int] | None = None
        """Number of the first record of each shelf, and of all; None after something was put in."""

    @property
    def count(self) -> int:
        """The number of records."""
        return self._first_numbers()[-1]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was put in yet."""
        return self._is_empty

    def put(self, shelf: int, new: bytes) -> None:
        """Put unsorted records in, all with the first byte ``shelf``; those that are there already once."""
        self._firsts, self._is_empty = None, False
        present, _, shift = self._shelves[shelf]
        bits = _shelf_bits((len(present) + len(new)) // _LENGTH)
        if len(new) * _FEW <= len(present) and bits == _PREFIX_BITS - shift:
            self._shelves[shelf] = _put_between(self._shelves[shelf], sort_records(new))
            return
        ordered = sort_records(present + new)
        bits = _shelf_bits(len(ordered))
        shift = _PREFIX_BITS - bits
        lead = bytes((shelf,))
        starts = array("I", (bisect_left(ordered, lead + (number << shift).to_bytes(2, "big"))
                             for number in range(1 << bits)))
        starts.append(len(ordered))
        self._shelves[shelf] = (b"".join(ordered), starts, shift)

    def tails(self, key: bytes) -> bytes:
        """Return the tails of all records with a key, one behind the other."""
        records, at = self._find(key)
        return _tails(records, key, at)

    def has(self, key: bytes) -> bool:
        """Tell whether there is a record with a key."""
        return self._find(key)[1] >= 0

    def has_each(self, keys: Iterable[bytes]) -> list[bool]:
        """Tell of each of many keys what :meth:`has` tells, in a third of the time where most are not there."""
        shelves = self._shelves
        found = []
        for key in keys:
            records, starts, shift = shelves[key[0]]
            bucket = (key[1] << 8 | key[2]) >> shift
            begin, end = starts[bucket], starts[bucket + 1]
            at = records.find(key, begin * _LENGTH, end * _LENGTH) if begin < end else -1
            found.append(at >= 0 and (not at % _LENGTH or self._find(key)[1] >= 0))
        return found

    def number(self, key: bytes) -> int:
        """Return the number of the first record with a key, or -1."""
        at = self._find(key)[1]
        return at if at < 0 else self._first_numbers()[key[0]] + at // _LENGTH

    def plain_lengths(self, keys: Iterable[bytes]) -> list[int] | None:
        """Return the plain length of each of many blobs, or None if one is unknown."""
        shelves = self._shelves
        lengths = []
        for key in keys:  # as _find does, without a call for each
            records, starts, shift = shelves[key[0]]
            bucket = (key[1] << 8 | key[2]) >> shift
            at = records.find(key, starts[bucket] * _LENGTH, starts[bucket + 1] * _LENGTH)
            if at % _LENGTH:
                at = self._find(key)[1]
                if at < 0:
                    return None
            length, uncompressed_length = _LENGTHS.unpack_from(records, at + _LENGTHS_AT)
            lengths.append(uncompressed_length or length - SEALED_OVERHEAD)
        return lengths

    def numbers(self, keys: Iterable[bytes]) -> list[int]:
        """Return :meth:`number` of each of many keys."""
        firsts, numbers = self._first_numbers(), []
        for key in keys:
            at = self._find(key)[1]
            numbers.append(at if at < 0 else firsts[key[0]] + at // _LENGTH)
        return numbers

    def _find(self, key: bytes) -> tuple[bytes, int]:
        """Return the records of a shelf, and where among them the first one with a key is, or -1."""
        records, starts, shift = self._shelves[key[0]]
        bucket = (key[1] << 8 | key[2]) >> shift
        end = starts[bucket + 1] * _LENGTH
        at = records.find(key, starts[bucket] * _LENGTH, end)
        while at > 0 and at % _LENGTH:  # see _locate
            at = records.find(key, at + 1, end)
        return records, at

    def record(self, number: int) -> Record:
        """Return the record of a number."""
        firsts = self._first_numbers()
        shelf = bisect_left(firsts, number + 1) - 1
        return RECORD.unpack_from(self._shelves[shelf][0], (number - firsts[shelf]) * _LENGTH)

    def shelf(self, number: int) -> bytes:
        """Return the sorted records of one shelf."""
        return self._shelves[number][0]

    def _first_numbers(self) -> list[int]:
        firsts = self._firsts
        if firsts is None:
            firsts = [0]
            for records, _, _ in self._shelves:
                firsts.append(firsts[-1] + len(records) // _LENGTH)
            self._firsts = firsts
        return firsts


class FileRecords:
    """Sorted records in a file. Of many, only the small table is in memory; may be used by several threads.

    The file is read and not mapped: a mapping would count the pages that it touches as ours, and would end the process
    where somebody cuts the file short.
    """

    def __init__(self, fd: int, path: str, offset: int, starts: array[int], distinct: int) -> None:
        """Take over an open file, which is closed with the object.

        Args:
            fd: its descriptor.
            path: for errors.
            offset: where the records begin.
            starts: where those begin whose ids begin with the same bits, and how many there are at all; one more than
                a power of two, at most 2^24 + 1.
            distinct: of how many different blobs they are.
        """
        self._fd = fd
        self._path = path
        self._held: bytes | None = None
        self._offset = offset
        self._starts = starts
        self._shift = 24 - ((len(starts) - 1).bit_length() - 1)
        self.distinct = distinct
        if self.count * _LENGTH <= _HELD_BYTES:
            with suppress(StorageError):  # whoever looks for something says so
                self._held = self._read(0, self.count)

    def __del__(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def count(self) -> int:
        """The number of records."""
        return self._starts[-1]

    def tails(self, key: bytes) -> bytes:
        """Return the tails of all records with a key, one behind the other.

        Raises:
            StorageError: the file cannot be read, or is shorter than it was.
        """
        bucket = self._bucket(key)
        return _tails(bucket, key, _locate(bucket, key))

    def has(self, key: bytes) -> bool:
        """Tell whether there is a record with a key.

        Raises:
            StorageError
        """
        return _locate(self._bucket(key), key) >= 0

    def number(self, key: bytes) -> int:
        """Return the number of the first record with a key, or -1.

        Raises:
            StorageError
        """
        at = _locate(self._bucket(key), key)
        return at if at < 0 else self._starts[int.from_bytes(key[:3], "big") >> self._shift] + at // _LENGTH

    def record(self, number: int) -> Record:
        """Return the record of a number.

        Raises:
            StorageError
        """
        return RECORD.unpack(self._read(number, number + 1))

    def shelf(self, number: int) -> bytes:
        """Return the sorted records whose ids begin with a byte.

        Raises:
            StorageError
        """
        prefixes = len(self._starts) - 1
        return self._read(self._starts[number * prefixes >> 8], self._starts[(number + 1) * prefixes >> 8])

    def _bucket(self, key: bytes) -> bytes:
        number = int.from_bytes(key[:3], "big") >> self._shift
        return self._read(self._starts[number], self._starts[number + 1])

    def _read(self, start: int, end: int) -> bytes:
        if self._held is not None:
            return self._held[start * _LENGTH : end * _LENGTH]
        length = (end - start) * _LENGTH
        try:
            data = read_range(self._fd, self._offset + start * _LENGTH, length)
        except OSError as error:
            raise self._error(error.strerror or type(error).__name__) from error
        if len(data) < length:
            raise self._error(N_("it became shorter"))
        return data

    def _error(self, detail: str) -> StorageError:
        return StorageError(location=self._path, operation="load", name=N_("the local index"), detail=detail)


def prefix_bits(count: int) -> int:
    """Return by how many bits of the ids a file of so many records is divided: at least 8, so that each shelf
    begins at a boundary."""
    return max(8, min(20, (count // _RECORDS_TOGETHER).bit_length()))


def shelf_starts(ordered: Sequence[bytes], shelf: int, bits: int) -> list[int]:
    """Return where in a shelf's sorted records those begin whose ids begin with each of the shelf's prefixes."""
    first = shelf << bits - 8
    return [bisect_left(ordered, (number << 24 - bits).to_bytes(3, "big"))
            for number in range(first, first + (1 << bits - 8))]


def unpack_shelf(records: bytes) -> Iterator[Record]:
    """Yield the records of a shelf."""
    return RECORD.iter_unpack(records)


def runs(ordered: bytes) -> Iterator[tuple[int, int]]:
    """Yield first place and number of the records of each blob that sorted records have several of."""
    keys = [ordered[at : at + KEY_LENGTH] for at in range(0, len(ordered), _LENGTH)]
    first = -1
    for place, (key, following) in enumerate(pairwise(keys)):
        if key == following:
            first = place if first < 0 else first
        elif first >= 0:
            yield first, place + 1 - first
            first = -1
    if first >= 0:
        yield first, len(keys) - first
