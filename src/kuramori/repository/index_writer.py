"""Collects stored packs and writes index files (format section 1.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeAlias

from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.model.index_file import (
    IndexBlob,
    encode_index,
    encode_index_blobs,
    encode_index_columns,
    encode_index_pack,
)
from kuramori.repository.locks import withdraw_unless_held
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType

MAXIMUM_BLOBS = 25_000
"""restic closes a file at 50,000; half of that halves the memory that writing and reading one takes,
and after a crash less has to be stored again."""
MAXIMUM_SECONDS = 600.0
_AT_ONCE = 1000
"""A pack may hold twenty thousand small blobs; that many objects are not made at once."""

Description: TypeAlias = tuple[BlobType, bytes, int, int, int]
"""A blob of a pack: type, id, offset, length and uncompressed length."""


def _nothing() -> None:
    """There is no lock."""


class IndexWriter:
    """Writes an index file whenever it is full or old, and at the end. Used by one thread."""

    def __init__(self, repository: Repository, check: Callable[[], None] = _nothing) -> None:
        """Begin with nothing to write.

        Args:
            check: :meth:`kuramori.repository.locks.Lock.check` of the lock that is held; a file is not kept
                if that raises after it was written.
        """
        self._repository = repository
        self._check = check
        self._packs: list[list[bytes]] = []
        self._blobs = 0
        self._since = 0.0
        self.saved: list[str] = []
        """Names of the index files written so far."""

    def add(self, described: PackDescription) -> None:
        """Take in a pack that is durable, also into the repository's index; write an index file if
        it is time to."""
        self.describe_columns(described)
        self._repository.index.add_stored_pack(described)

    def describe_columns(self, described: PackDescription) -> None:
        """Take in a pack that is durable, as :meth:`describe` does, without an object for each blob."""
        self._begin()
        self._take(described.pack, encode_index_columns(
            described.joined_ids, described.types, described.offsets, described.lengths,
            described.uncompressed_lengths), described.blob_count)

    def describe(self, pack: Id, blobs: Iterable[Description]) -> None:
        """Take in a pack that is durable, and leave the repository's index as it is; write an index
        file if it is time to."""
        self._begin()
        described = iter(blobs)
        parts: list[bytes] = []
        count = 0
        while some := [
            IndexBlob(blob_id.hex(), blob_type.value, offset, length, uncompressed_length)
            for blob_type, blob_id, offset, length, uncompressed_length in islice(described, _AT_ONCE)
        ]:
            parts.append(encode_index_blobs(some))
            count += len(some)
        self._take(pack, parts, count)

    def _begin(self) -> None:
        if not self._packs:
            self._since = self._repository.clock.monotonic()

    def _take(self, pack: Id, parts: Iterable[bytes], count: int) -> None:
        self._packs.append(encode_index_pack(pack.hex(), parts))
        self._blobs += count
        if self._blobs >= MAXIMUM_BLOBS or self._repository.clock.monotonic() - self._since > MAXIMUM_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been taken in; nothing if there is nothing.

        Raises:
            LockLostError: the lock was lost; nothing was written, or it is gone again.
        """
        if not self._packs:
            return
        document = encode_index(self._packs)
        self._packs = []  # the document is a copy: do not hold both while it is sealed
        self._blobs = 0
        self._check()
        name = self._repository.save_unpacked(FileType.INDEX, document)
        withdraw_unless_held(self._repository, FileType.INDEX, name, self._check)
        self.saved.append(name)
