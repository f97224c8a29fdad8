"""What is lost with packs that are gone or damaged."""

from __future__ import annotations

from collections.abc import Callable

from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.repository.index import Index


def find_only_in(index: Index, gone: Callable[[Id], bool]) -> set[tuple[BlobType, bytes]]:
    """Return the blobs that an index knows only from certain packs.

    Args:
        gone: tells whether a pack is one of these.
    """
    from_gone = [gone(pack) for pack in index.pack_ids()]
    only: set[tuple[BlobType, bytes]] = set()
    there: set[tuple[BlobType, bytes]] = set()
    if not any(from_gone):
        return only
    several = {(blob_type, blob_id) for blob_type, blob_id, _ in index.duplicates()}
    for blob_type, blob_id, _key, number, _offset, _length, _uncompressed in index.copies():
        if from_gone[number]:
            only.add((blob_type, blob_id))
        elif (blob_type, blob_id) in several:
            there.add((blob_type, blob_id))
    return only - there
