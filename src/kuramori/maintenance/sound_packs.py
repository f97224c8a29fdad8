"""Whether a pack is all right to its last byte: the quick answer, which is nearly always yes.

What is wrong with a pack that is not, :mod:`kuramori.maintenance.check_data` finds out by reading it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import KuramoriError
from kuramori.ids import Id, hash_id
from kuramori.repository.compression import DecompressionError
from kuramori.repository.memory_release import release_memory
from kuramori.repository.pack_description import PackDescription, describe_header
from kuramori.repository.pack_header import load_opened_header
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import blobs_are_sound, open_sealed_briefly
from kuramori.repository.transfers import is_remote
from kuramori.storage.backend import Buffer, FileType, Handle

_MANY_BLOBS = 20_000
_GROUP = 128 * 1024
"""Sealed bytes of blobs that are opened together."""
_GROUP_PLAIN = 4 * 1024 * 1024
"""... and the most that they may hold."""
SEGMENT = 8 * 1024 * 1024
"""Bytes read at once; memory is this, or one blob."""
_FETCHED_WHOLE = 17 * 1024 * 1024
"""... and up to so many bytes where every request takes its time: a pack of the default size."""
_LOCAL_SEGMENT = 512 * 1024
"""... from a disk of this machine, where reading often costs little."""


def sound_digest(repository: Repository, pack: Id, size: int) -> bytes | None:
    """Read a pack whole. If its hash is its name and every blob opens to what its header says, return the digest of
    what the header says (:meth:`PackDescription.digest`), which has to be that of what the index says; else None.

    Args:
        repository: for its key and its files; the index is not used.
        size: the pack's size in bytes, from a listing.
    """
    try:
        read = _reader(repository, pack, size)
        described = describe_header(load_opened_header(repository, pack, size, read), pack)
        if described.blob_count > _MANY_BLOBS:
            release_memory()  # a header of many blobs took several times what its columns take
        sound = described.pack_size == size and _blobs_are_sound(repository, described, size, read)
        return described.digest() if sound else None
    except (KuramoriError, OpenError, DecompressionError):
        return None


def _reader(repository: Repository, pack: Id, size: int) -> Callable[[int, int], Buffer]:
    """Return what gives a range of a pack by its offset and length. A pack of the usual size that lies far away is
    fetched at once."""
    load = partial(repository.backend.load, Handle(FileType.PACK, pack.hex()))
    if size > _FETCHED_WHOLE or not is_remote(repository.backend):
        return load
    content = memoryview(load(0, size))
    return lambda offset, length: content[offset : offset + length]


def _blobs_are_sound(repository: Repository, described: PackDescription, size: int,
                     read: Callable[[int, int], Buffer]) -> bool:
    whole = hashlib.sha256()
    ids = described.ids()
    longest = SEGMENT if is_remote(repository.backend) else _LOCAL_SEGMENT
    for start, end, first, following in _segments(described, size, longest):
        data = memoryview(b"")  # not two ranges at a time
        data = memoryview(read(start, end - start))
        whole.update(data)
        at = 0
        for number, after, length in _groups(described.lengths, first, following):
            group = (described.lengths[number:after], described.uncompressed_lengths[number:after],
                     list(islice(ids, after - number)))
            sealed = data[at : at + length]
            if not (_is_sound_group(repository.key, sealed, *group) or _are_sound(repository.key, sealed, *group)):
                return False
            at += length
    return whole.digest() == described.pack


def _groups(lengths: Sequence[int], first: int, following: int) -> Iterator[tuple[int, int, int]]:
    """Yield the first number and the one after the last of blobs that are opened together, and their bytes."""
    number, total = first, 0
    for after in range(first, following):
        length = lengths[after]
        if total and total + length > _GROUP:
            yield number, after, total
            number, total = after, 0
        total += length
    if total:
        yield number, following, total


def _is_sound_group(key: MasterKey, sealed: memoryview, lengths: Sequence[int], uncompressed_lengths: Sequence[int],
                    ids: Sequence[bytes]) -> bool:
    if len(lengths) == 1 or sum(uncompressed_lengths) > _GROUP_PLAIN:
        return False
    return blobs_are_sound(key, bytes(sealed), lengths, uncompressed_lengths, ids)


def _are_sound(key: MasterKey, sealed: memoryview, lengths: Sequence[int], uncompressed_lengths: Sequence[int],
               ids: Sequence[bytes]) -> bool:
    at = 0
    for length, uncompressed_length, blob_id in zip(lengths, uncompressed_lengths, ids, strict=True):
        if hash_id(open_sealed_briefly(key, sealed[at : at + length], uncompressed_length)) != blob_id:
            return False
        at += length
    return True


def _segments(described: PackDescription, size: int, longest: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield ranges of bytes that hold whole blobs, each with the numbers of its first blob and of the next range's;
    the last one is the header."""
    start = end = first = 0
    for number, length in enumerate(described.lengths):
        if end > start and end + length - start > longest:
            yield start, end, first, number
            start, first = end, number
        end += length
    if end > start:
        yield start, end, first, described.blob_count
    yield end, size, described.blob_count, described.blob_count
