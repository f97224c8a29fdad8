"""Descriptions of packs, made of blobs that tests have as objects."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.index import Index
from kuramori.repository.pack_description import PackDescription


def description_of(blobs: Sequence[PackedBlob]) -> PackDescription:
    """Return the description of a pack with these blobs, all of which say that they are in it."""
    (pack,) = {blob.pack for blob in blobs}
    return PackDescription(
        pack, bytearray(b"".join(blob.id for blob in blobs)),
        bytearray(int(blob.type is BlobType.TREE) for blob in blobs),
        array("I", [blob.offset for blob in blobs]), array("I", [blob.length for blob in blobs]),
        array("I", [blob.uncompressed_length for blob in blobs]))


def add_blobs(index: Index, blobs: Iterable[PackedBlob]) -> None:
    """Tell an index of blobs in their order, as an index file would."""
    for _pack, together in groupby(blobs, attrgetter("pack")):
        index.add_description(description_of([*together]))
