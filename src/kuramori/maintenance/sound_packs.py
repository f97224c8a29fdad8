"""Whether a pack is all right to its last byte: the quick answer, which is nearly always yes.

What is wrong with a pack that is not, :mod:`kuramori.maintenance.check_data` finds out by reading it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from kuramori.crypto.master_key import OpenError
from kuramori.errors import KuramoriError
from kuramori.ids import Id, hash_id
from kuramori.repository.compression import DecompressionError
from kuramori.repository.pack_description import PackDescription, describe_header
from kuramori.repository.pack_header import load_opened_header
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import open_sealed
from kuramori.storage.backend import FileType, Handle

SEGMENT = 8 * 1024 * 1024
"""Bytes read at once; memory is this, or one blob."""


def is_sound_pack(repository: Repository, pack: Id, size: int, digest: bytes) -> bool:
    """Read a pack whole. Tell whether its hash is its name, its header says what the index says, and every blob
    opens to what its id says.

    Args:
        repository: for its key and its files; the index is not used.
        size: the pack's size in bytes, from a listing.
        digest: of what the index says of it (:meth:`PackDescription.digest`).
    """
    try:
        described = describe_header(load_opened_header(repository, pack, size), pack)
        return (described.pack_size == size and described.digest() == digest
                and _blobs_are_sound(repository, described, size))
    except (KuramoriError, OpenError, DecompressionError):
        return False


def _blobs_are_sound(repository: Repository, described: PackDescription, size: int) -> bool:
    key, ids = repository.key, described.ids()
    lengths, uncompressed_lengths = described.lengths, described.uncompressed_lengths
    handle = Handle(FileType.PACK, described.pack.hex())
    whole = hashlib.sha256()
    for start, end, first, following in _segments(described, size):
        data = memoryview(repository.backend.load(handle, start, end - start))
        whole.update(data)
        at = 0
        for number in range(first, following):
            length = lengths[number]
            if hash_id(open_sealed(key, data[at : at + length], uncompressed_lengths[number])) != next(ids):
                return False
            at += length
    return whole.digest() == described.pack


def _segments(described: PackDescription, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield ranges of bytes that hold whole blobs, each with the numbers of its first blob and of the next range's;
    the last one is the header."""
    start = end = first = 0
    for number, length in enumerate(described.lengths):
        if end > start and end + length - start > SEGMENT:
            yield start, end, first, number
            start, first = end, number
        end += length
    if end > start:
        yield start, end, first, described.blob_count
    yield end, size, described.blob_count, described.blob_count
