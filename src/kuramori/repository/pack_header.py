"""The header at the end of a pack (format section 1.6)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from kuramori.crypto.master_key import SEAL_OVERHEAD, OpenError
from kuramori.errors import N_, DamagedError, Phrase, SealVerificationError
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.storage.backend import Buffer, FileType, Handle

if TYPE_CHECKING:
    from kuramori.crypto.master_key import MasterKey
    from kuramori.repository.repository import Repository

PLAIN_ENTRY = struct.Struct("<BI32s")
COMPRESSED_ENTRY = struct.Struct("<BII32s")
LENGTH_FIELD = 4
MAXIMUM_HEADER = 16 * 1024 * 1024
EMPTY_PACK = SEAL_OVERHEAD + LENGTH_FIELD
"""Bytes of a pack beside its blobs and their entries in the header."""
MINIMUM_PACK = PLAIN_ENTRY.size + EMPTY_PACK

_TYPES = {0: (BlobType.DATA, False), 1: (BlobType.TREE, False),
          2: (BlobType.DATA, True), 3: (BlobType.TREE, True)}


def entry_size(blob: PackedBlob) -> int:
    """Return the bytes that a blob takes in the header."""
    return COMPRESSED_ENTRY.size if blob.uncompressed_length else PLAIN_ENTRY.size


def pack_size(blobs: Sequence[PackedBlob]) -> int:
    """Return the size in bytes of a pack that holds just these blobs."""
    return sum(blob.length + entry_size(blob) for blob in blobs) + EMPTY_PACK


def encode_header(key: MasterKey, blob_type: BlobType, ids: Iterable[bytes], lengths: Sequence[int],
                  uncompressed_lengths: Sequence[int]) -> bytes:
    """Return the sealed header and its length field for blobs of one type, in file order.

    Args:
        lengths: sealed bytes of each blob.
        uncompressed_lengths: plain bytes of each blob, 0 where it is not compressed.

    Raises:
        SealVerificationError: it did not open to what was sealed.
    """
    plain_kind, compressed_kind = (1, 3) if blob_type is BlobType.TREE else (0, 2)
    header = bytearray()  # of many blobs: an object for each entry would take as much again
    for blob_id, length, uncompressed_length in zip(ids, lengths, uncompressed_lengths, strict=True):
        if uncompressed_length:
            header += COMPRESSED_ENTRY.pack(compressed_kind, length, uncompressed_length, blob_id)
        else:
            header += PLAIN_ENTRY.pack(plain_kind, length, blob_id)
    sealed = key.seal(header)
    if key.open(sealed) != header:
        raise SealVerificationError(what=N_("a pack header"), detail=N_("the content differs"))
    return bytes(sealed) + struct.pack("<I", len(sealed))


def decode_header(key: MasterKey, pack: Id, sealed: bytes | memoryview) -> list[PackedBlob]:
    """Return the blobs that a sealed header (without its length field) lists, in file order.

    Raises:
        DamagedError: it does not open or is malformed.
    """
    return decode_opened_header(_open_header(key, pack, sealed), pack)


def _open_header(key: MasterKey, pack: Id, sealed: bytes | memoryview) -> bytes:
    try:
        return key.open(sealed)
    except OpenError as error:
        raise DamagedError(what=_name(pack), detail=str(error)) from None


def _name(pack: Id) -> str:
    return f"the header of pack {pack.hex()}"


def decode_opened_header(header: bytes, pack: Id) -> list[PackedBlob]:
    """Return the blobs that the plain bytes of a header list, in file order.

    Raises:
        DamagedError: it is malformed.
    """
    what = _name(pack)
    blobs: list[PackedBlob] = []
    position = offset = 0
    while position < len(header):
        kind = _TYPES.get(header[position])
        if kind is None:
            raise DamagedError(what=what, detail=Phrase(N_("unknown entry type {number}"), number=header[position]))
        blob_type, compressed = kind
        size = COMPRESSED_ENTRY.size if compressed else PLAIN_ENTRY.size
        if position + size > len(header):
            raise DamagedError(what=what, detail=N_("its last entry is cut off"))
        uncompressed_length = 0
        if compressed:
            _, length, uncompressed_length, blob_id = COMPRESSED_ENTRY.unpack_from(header, position)
        else:
            _, length, blob_id = PLAIN_ENTRY.unpack_from(header, position)
        blobs.append(PackedBlob(blob_type, Id(blob_id), pack, offset, length, uncompressed_length))
        offset += length
        position += size
    return blobs


def read_pack_header(repository: Repository, pack: Id, size: int) -> list[PackedBlob]:
    """Read a pack's header from the backend.

    Args:
        size: the pack's size in bytes, from a listing.

    Raises:
        DamagedError: the pack is too short, or the header is malformed or does not fit the size.
        StorageError: it could not be read.
    """
    blobs = decode_opened_header(load_opened_header(repository, pack, size), pack)
    refuse_other_size(pack, pack_size(blobs), size)
    return blobs


def refuse_other_size(pack: Id, described: int, size: int) -> None:
    """Raise if a pack has another size than its header describes.

    Raises:
        DamagedError
    """
    if described != size:
        raise DamagedError(what=f"pack {pack.hex()}", detail=Phrase(
            N_("its header describes {described} bytes, it has {size}"), described=described, size=size))


def load_opened_header(repository: Repository, pack: Id, size: int,
                       read: Callable[[int, int], Buffer] | None = None) -> bytes:
    """Read a pack's header from the backend and return its plain bytes.

    Args:
        size: the pack's, in bytes.
        read: returns a range of the pack, by its offset and its length; None to read from the backend.

    Raises:
        DamagedError: the pack is too short, or the header does not open.
        StorageError: it could not be read.
    """
    what = f"pack {pack.hex()}"
    read = read or partial(repository.backend.load, Handle(FileType.PACK, pack.hex()))
    if size < MINIMUM_PACK:
        raise DamagedError(what=what, detail=Phrase(N_("{size} bytes are too few for a pack"), size=size))
    # Read a guess at the end: most headers fit, and one request is enough then.
    guess = min(size, 4096)
    tail = read(size - guess, guess)
    length = int.from_bytes(tail[-LENGTH_FIELD:], "little")
    if length > MAXIMUM_HEADER + SEAL_OVERHEAD or length + LENGTH_FIELD > size or length <= SEAL_OVERHEAD:
        raise DamagedError(what=what, detail=Phrase(N_("its header claims {length} bytes"), length=length))
    if length + LENGTH_FIELD > guess:
        tail = read(size - LENGTH_FIELD - length, length + LENGTH_FIELD)
    return _open_header(repository.key, pack, memoryview(tail)[-LENGTH_FIELD - length : -LENGTH_FIELD])
