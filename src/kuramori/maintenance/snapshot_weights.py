"""What snapshots weigh: the bytes that go when they go.

Most of what a snapshot holds others hold as well. What it alone holds is found in one pass with one
small number for each blob of the index: the only snapshot that needs it, or that several do. A tree
is read when it is first met, and once more when a second snapshot turns out to need it, because then
all below it is shared, too; never more than twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from kuramori.errors import N_, DamagedError, MissingBlobError, Phrase
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.tree import tree_references
from kuramori.progress import NoProgress, Progress
from kuramori.repository.index import Index
from kuramori.repository.pack_header import COMPRESSED_ENTRY, PLAIN_ENTRY
from kuramori.repository.repository import Repository

_NOBODY = 0
_SHARED = 1
_FIRST = 2
"""The owner's number of the first snapshot."""


@dataclass(slots=True)
class SnapshotWeight:
    """What goes with one snapshot."""

    stored: StoredSnapshot
    blobs: int = 0
    bytes: int = 0
    """Sealed bytes of these blobs; further copies of a blob do not count."""
    header_bytes: int = 0
    """What they take in the headers of their packs."""

    @property
    def bytes_in_packs(self) -> int:
        """Bytes of packs that they take."""
        return self.bytes + self.header_bytes


def weigh_alone(repository: Repository, snapshots: Sequence[StoredSnapshot],
                progress: Progress | None = None) -> list[SnapshotWeight]:
    """Return for each snapshot what it alone holds of all these: what a prune would free if it were
    forgotten, and only it. The index must be loaded.

    Memory: 5 bytes for each copy of a blob in the index.

    Args:
        snapshots: all of the repository; of what is left out, nobody knows that it is shared.

    Raises:
        MissingBlobError, DamagedError, StorageError: a tree cannot be read, or something is missing.
    """
    return _Weighing(repository, snapshots, progress or NoProgress(), sharing=True).run()


def weigh_in_turn(repository: Repository, snapshots: Sequence[StoredSnapshot],
                  progress: Progress | None = None) -> list[SnapshotWeight]:
    """Return for each snapshot what it holds and none of those **before** it in the list: what a prune
    would free if it and all after it were forgotten, less what all after it free. The index must be
    loaded; memory and errors are those of :func:`weigh_alone`."""
    return _Weighing(repository, snapshots, progress or NoProgress(), sharing=False).run()


class _Owners:
    """A number for every blob of an index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._owners = array("I", bytes(array("I").itemsize * index.record_count))

    def take(self, blob_type: BlobType, blob_id: Id, owner: int, sharing: bool) -> bool:
        """Give a blob to a snapshot; return whether what is below must be looked at.

        Raises:
            MissingBlobError: the index does not have it.
        """
        number = self._index.number(blob_type, blob_id)
        if number < 0:
            raise MissingBlobError(kind=blob_type.value, blob=blob_id.hex())
        before = self._owners[number]
        if before == _NOBODY:
            self._owners[number] = owner
            return True
        if not sharing or before in (_SHARED, owner):
            return False
        self._owners[number] = _SHARED
        return True

    def count(self, weigh: Callable[[int, int, int], None]) -> None:
        """Tell of every blob that somebody owns: its owner, sealed bytes and uncompressed length."""
        counted = bytearray(self._index.record_count)
        for _type, _id, number, _pack, _offset, length, uncompressed in self._index.copies():
            owner = self._owners[number]
            if owner >= _FIRST and not counted[number]:
                counted[number] = 1
                weigh(owner, length, uncompressed)


class _Weighing:
    """One pass."""

    def __init__(self, repository: Repository, snapshots: Sequence[StoredSnapshot], progress: Progress, *,
                 sharing: bool) -> None:
        self._repository = repository
        self._weights = [SnapshotWeight(stored) for stored in snapshots]
        self._progress = progress
        self._sharing = sharing
        self._owners = _Owners(repository.index)

    def run(self) -> list[SnapshotWeight]:
        self._progress.start("find used data", len(self._weights))
        try:
            for number, weight in enumerate(self._weights):
                self._walk(weight.stored.snapshot.tree, number + _FIRST)
                self._progress.advance(1)
        finally:
            self._progress.finish()
        self._owners.count(self._weigh)
        return self._weights

    def _walk(self, root: str, owner: int) -> None:
        waiting = [root]
        while waiting:
            tree_id = self._parse(waiting.pop())
            if not self._owners.take(BlobType.TREE, tree_id, owner, self._sharing):
                continue
            try:
                data, trees = tree_references(self._repository.load_blob(BlobType.TREE, tree_id))
            except (msgspec.DecodeError, ValueError) as error:
                raise DamagedError(what=Phrase(N_("tree {id}"), id=tree_id.hex()), detail=str(error)) from None
            for text in data:
                self._owners.take(BlobType.DATA, self._parse(text), owner, self._sharing)
            waiting += trees

    def _parse(self, text: str) -> Id:
        try:
            return parse_id(text)
        except ValueError:
            raise DamagedError(what=N_("a folder"), detail=Phrase(N_("{text} is no id"), text=text[:80])) from None

    def _weigh(self, owner: int, length: int, uncompressed: int) -> None:
        weight = self._weights[owner - _FIRST]
        weight.blobs += 1
        weight.bytes += length
        weight.header_bytes += (COMPRESSED_ENTRY if uncompressed else PLAIN_ENTRY).size
