"""Which blobs the snapshots use: what a prune must keep."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kuramori.errors import N_, DamagedError, KuramoriError, MissingBlobError, Phrase, PruneRefusedError
from kuramori.ids import ID_LENGTH, Id, join_ids
from kuramori.model.blob import BlobType
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.tree import tree_references
from kuramori.progress import Progress
from kuramori.repository.index import Index
from kuramori.repository.repository import Repository

_USED = 1
_SETTLED = 2


class UsedBlobs:
    """Some of an index's blobs.

    A blob takes a byte here whether it is used or not, so a million blobs take a megabyte; a set of
    ids would take a hundred times that. Nothing may be added to the index meanwhile.
    """

    def __init__(self, index: Index) -> None:
        """Begin with none of the blobs that ``index`` has now."""
        self._index = index
        self._marks = bytearray(index.record_count)
        self._count = 0
        self._settled = 0

    def __len__(self) -> int:
        """The number of used blobs."""
        return self._count

    def add(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Add a blob; return whether it was not there yet.

        Raises:
            MissingBlobError: the index does not have it.
        """
        number = self._index.number(blob_type, blob_id)
        if number < 0:
            raise MissingBlobError(kind=blob_type.value, blob=blob_id.hex())
        if self._marks[number]:
            return False
        self._marks[number] = _USED
        self._count += 1
        return True

    def add_all(self, blob_type: BlobType, joined_ids: bytes) -> bool:
        """Add many blobs and return True; or return False and add none if the index lacks one.

        Args:
            joined_ids: their ids, one behind the other.
        """
        numbers = self._index.numbers(blob_type, joined_ids)
        if numbers and min(numbers) < 0:
            return False
        marks = self._marks
        for number in numbers:
            if not marks[number]:
                marks[number] = _USED
                self._count += 1
        return True

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Tell whether a blob is used."""
        number = self._index.number(blob_type, blob_id)
        return number >= 0 and self._marks[number] != 0

    def has_number(self, number: int) -> bool:
        """Tell whether the blob with this number in the index is used."""
        return self._marks[number] != 0

    def settle(self, number: int) -> bool:
        """Note that a used blob has a copy that stays; return whether it had none before. Blobs
        that are not used are passed over, with False."""
        if self._marks[number] != _USED:
            return False
        self._marks[number] |= _SETTLED
        self._settled += 1
        return True

    @property
    def unsettled(self) -> int:
        """The number of used blobs of which no copy is known to stay."""
        return self._count - self._settled


def find_used_blobs(repository: Repository, snapshots: Iterable[StoredSnapshot], progress: Progress) -> UsedBlobs:
    """Return the blobs that snapshots use, trees and data. The index must be loaded.

    Each different tree is read once. Memory: that of the result, and the ids of the folders that
    wait to be read.

    Args:
        progress: told of every snapshot.

    Raises:
        PruneRefusedError: a tree cannot be read or a blob is missing, so nobody knows what else is
            in use.
    """
    walk = _Walk(repository)
    for stored in snapshots:
        walk.snapshot(stored)
        progress.advance(1)
    walk.refuse_if_missing()
    return walk.used


class _Walk:
    """One pass over all trees."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.used = UsedBlobs(repository.index)
        self._missing: set[tuple[BlobType, bytes]] = set()
        self._first_missing: PruneRefusedError | None = None

    def snapshot(self, stored: StoredSnapshot) -> None:
        """Add what a snapshot uses."""
        waiting = [stored.snapshot.tree]
        while waiting:
            tree = self._add(stored, BlobType.TREE, waiting.pop())
            if tree is not None:
                waiting += self._read(stored, tree)

    def _read(self, stored: StoredSnapshot, tree: Id) -> list[str]:
        """Add the data of a tree; return the folders below."""
        try:
            data, trees = tree_references(self._repository.load_blob(BlobType.TREE, tree))
        except KuramoriError as error:
            raise _refusal(stored, error) from None
        except (msgspec.DecodeError, ValueError) as error:
            damage = DamagedError(what=Phrase(N_("tree {id}"), id=tree.hex()), detail=str(error))
            raise _refusal(stored, damage) from None
        joined = join_ids(data)
        if joined is None or not self.used.add_all(BlobType.DATA, joined):
            for text in data:  # one by one, to say which is missing
                self._add(stored, BlobType.DATA, text)
        return trees

    def _add(self, stored: StoredSnapshot, blob_type: BlobType, text: str) -> Id | None:
        """Add a blob; return its id if it was not there yet."""
        try:
            blob_id = bytes.fromhex(text)
            if len(blob_id) != ID_LENGTH:
                raise ValueError(text)
        except ValueError:
            detail = Phrase(N_("{text} is no id"), text=text[:80])
            raise _refusal(stored, detail) from None
        try:
            return Id(blob_id) if self.used.add(blob_type, blob_id) else None
        except MissingBlobError as error:
            self._missing.add((blob_type, blob_id))
            if self._first_missing is None:
                self._first_missing = _refusal(stored, error)
            return None

    def refuse_if_missing(self) -> None:
        """Raise if some blob was missing; all are looked for, so that their number can be told."""
        if self._first_missing is None:
            return
        if len(self._missing) == 1:
            raise self._first_missing
        raise PruneRefusedError(detail=Phrase(
            N_("{count} blobs that snapshots use are missing from the index; the first: {detail}"),
            count=len(self._missing), detail=self._first_missing.fields["detail"]))


def _refusal(stored: StoredSnapshot, detail: KuramoriError | Phrase) -> PruneRefusedError:
    return PruneRefusedError(detail=Phrase(N_("snapshot {snapshot}: {detail}"), snapshot=stored.short_id,
                                           detail=detail))
