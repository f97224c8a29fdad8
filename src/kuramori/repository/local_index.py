"""The index of a large repository as one file in the local cache, so that a small job need not read it all.

The file holds the sorted records of :mod:`kuramori.repository.index_records` and the names of the index files that they
were made from. It is used only where its tag, made with the repository's master key, is that of its content, and where
all these index files are still in the repository; index files never change. What other index files say is
read as ever and kept in memory, until there is so much of it that the file is written anew. So it may be deleted,
damaged or old at any time. It shows the ids of the repository's blobs, but nothing of their content.

Layout, little-endian: magic, nonce, tag, then what the tag is of: numbers of names, of packs, of records, of different
blobs, and of prefix bits; the names and the packs, 32 bytes each; where each prefix begins; the records.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from kuramori.crypto.master_key import NONCE_LENGTH, TAG_LENGTH, MasterKey
from kuramori.ids import ID_LENGTH, Id
from kuramori.repository.index import Index
from kuramori.repository.index_records import (
    RECORD,
    SHELVES,
    FileRecords,
    count_keys,
    prefix_bits,
    shelf_starts,
    sort_records,
)
from kuramori.storage import durable_file
from kuramori.storage.cache import cache_folder, make_cache_folder
from kuramori.storage.leftovers import is_abandoned, leftover_name

WORTHWHILE = 50_000
"""Fewer records are read from the index files in less than a tenth of a second."""
_PART = 8
"""The file is written anew when this part of its records, and more than are worthwhile, are not in it."""

_MAGIC = b"kuramori index 1"
_COUNTS = struct.Struct("<IIQQI")
_HEAD = len(_MAGIC) + NONCE_LENGTH + TAG_LENGTH
_AT_ONCE = 1024 * 1024
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_BITS = 24


class LocalIndex:
    """The file for one repository. Nothing that goes wrong with it fails an operation."""

    def __init__(self, directory: Path, repository_id: str, key: MasterKey) -> None:
        """Use a folder of caches.

        Args:
            directory: the folder; it is made when the file is first written.
            repository_id: from the repository's config.
            key: the repository's; it makes and checks the tag.
        """
        self._directory = str(directory)
        self._folder = cache_folder(self._directory, repository_id)
        self._path = os.path.join(self._folder, "index-records")
        self._key = key

    def open(self, present: Collection[str]) -> tuple[Index, set[str]]:
        """Return an index with what the file says, and the names of the index files that it need not be told of;
        both are empty where there is no good file.

        Args:
            present: the names of all index files of the repository.
        """
        try:
            fd = os.open(self._path, _READ)
        except OSError:
            return Index(), set()
        try:
            found = self._read(fd, present)
        except OSError:
            found = None
        if found is None:
            os.close(fd)
            return Index(), set()
        return found

    def _read(self, fd: int, present: Collection[str]) -> tuple[Index, set[str]] | None:
        """Read the file; whoever gets an index need not close ``fd`` any more."""
        size = os.fstat(fd).st_size
        head = durable_file.read_range(fd, 0, _HEAD + _COUNTS.size)
        if len(head) < _HEAD + _COUNTS.size or not head.startswith(_MAGIC):
            return None
        names_count, packs_count, records, distinct, bits = _COUNTS.unpack_from(head, _HEAD)
        if not 8 <= bits <= _MOST_BITS:
            return None
        names_at = _HEAD + _COUNTS.size
        packs_at = names_at + names_count * ID_LENGTH
        starts_at = packs_at + packs_count * ID_LENGTH
        records_at = starts_at + ((1 << bits) + 1) * 4
        if size != records_at + records * RECORD.size:
            return None
        # The names before the tag: mostly it is these that decide, and the tag takes a look at every byte.
        names = {name.hex() for name in _ids(durable_file.read_range(fd, names_at, packs_at - names_at))}
        if not names <= set(present) or not self._authentic(fd, head, size):
            return None
        packs = _ids(durable_file.read_range(fd, packs_at, starts_at - packs_at))
        starts = array("I", durable_file.read_range(fd, starts_at, records_at - starts_at))
        if sys.byteorder == "big":
            starts.byteswap()
        return Index(FileRecords(fd, self._path, records_at, starts, distinct), packs), names

    def _authentic(self, fd: int, head: bytes, size: int) -> bool:
        nonce, tag = head[len(_MAGIC) : -TAG_LENGTH - _COUNTS.size], head[_HEAD - TAG_LENGTH : _HEAD]
        authenticator = self._key.authenticator(nonce)
        for start in range(_HEAD, size, _AT_ONCE):
            authenticator.update(durable_file.read_range(fd, start, min(_AT_ONCE, size - start)))
        try:
            authenticator.verify(tag)
        except InvalidSignature:
            return False
        return True

    def keep(self, index: Index, names: Collection[str]) -> None:
        """Write the file anew if it is worthwhile; then the index has its records there. To be called before anybody
        else uses the index.

        Args:
            names: the index files that ``index`` was made from.
        """
        new = index.unstored_count
        if new <= WORTHWHILE or new <= (index.record_count - new) // _PART:
            return
        try:
            make_cache_folder(self._directory, self._folder)
            self._remove_leftovers()
            path = os.path.join(self._folder, leftover_name("kuramori"))
            fd = os.open(path, _CREATE, 0o600)
        except OSError:
            return  # a full or read-only disk: work on without
        try:
            durable_file.lock_if_possible(fd)
            # Not synced: what a power cut leaves is found by its tag.
            records_at, starts, distinct = self._write(fd, index, names)
            os.replace(path, self._path)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                os.unlink(path)
            return
        index.move_to_file(FileRecords(fd, self._path, records_at, starts, distinct))

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            with suppress(OSError):
                if is_abandoned(path, 0):
                    os.unlink(path)

    def _write(self, fd: int, index: Index, names: Collection[str]) -> tuple[int, array[int], int]:
        bits = prefix_bits(index.record_count)
        packs = list(index.pack_ids())
        tables_at = _HEAD + _COUNTS.size
        starts_at = tables_at + (len(names) + len(packs)) * ID_LENGTH
        records_at = starts_at + ((1 << bits) + 1) * 4
        starts = array("I")
        count = distinct = 0
        position = records_at
        for shelf in range(SHELVES):
            ordered = sort_records(index.shelf(shelf))
            starts.extend(count + start for start in shelf_starts(ordered, shelf, bits))
            count += len(ordered)
            distinct += count_keys(ordered)
            position += _write_at(fd, b"".join(ordered), position)
        starts.append(count)
        table = array("I", starts)
        if sys.byteorder == "big":
            table.byteswap()
        counts = _COUNTS.pack(len(names), len(packs), count, distinct, bits)
        _write_at(fd, counts + b"".join(map(bytes.fromhex, sorted(names))) + b"".join(packs) + table.tobytes(), _HEAD)
        nonce = os.urandom(NONCE_LENGTH)
        authenticator = self._key.authenticator(nonce)
        for start in range(_HEAD, position, _AT_ONCE):
            authenticator.update(durable_file.read_range(fd, start, min(_AT_ONCE, position - start)))
        _write_at(fd, _MAGIC + nonce + authenticator.finalize(), 0)
        return records_at, starts, distinct


def _write_at(fd: int, data: bytes, position: int) -> int:
    os.lseek(fd, position, os.SEEK_SET)
    return durable_file.write_all(fd, [data])


def _ids(joined: bytes) -> Iterator[Id]:
    return (Id(joined[at : at + ID_LENGTH]) for at in range(0, len(joined), ID_LENGTH))
