"""Where a repository may get blobs that it has lost: other repositories have the same blobs under the
same ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob


class SpareBlobs(Protocol):
    """Gives blobs that a repository cannot give. Used by several threads."""

    def find(self, blob_type: BlobType, blob_id: Id) -> PackedBlob | None:
        """Return where another repository has a blob (its pack is one of that repository), or None if
        nobody has it. Raises nothing: one that cannot be asked has nothing."""
        ...

    def fetch(self, blobs: Sequence[tuple[BlobType, Id]]) -> Iterator[tuple[BlobType, Id, bytes]]:
        """Yield those of some blobs that anybody has whole, each verified by its id, in any order. What
        lies together there is read together. Raises nothing."""
        ...
