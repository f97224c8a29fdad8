"""The header at the end of a pack (format section 1.6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kuramori.crypto.master_key import SEAL_OVERHEAD, OpenError
from kuramori.errors import N_, DamagedError, Phrase, SealVerificationError
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob, PackEntry
from kuramori.storage.backend import FileType, Handle

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


def encode_header(key: MasterKey, blob_type: BlobType, entries: Sequence[PackEntry]) -> bytes:
    """Return the sealed header and its length field for blobs of one type, in file order.

    Raises:
        SealVerificationError: it did not open to what was sealed.
    """
    plain_kind, compressed_kind = (1, 3) if blob_type is BlobType.TREE else (0, 2)
    header = b"".join(
        COMPRESSED_ENTRY.pack(compressed_kind, length, uncompressed_length, blob_id) if uncompressed_length
        else PLAIN_ENTRY.pack(plain_kind, length, blob_id)
        for blob_id, _, length, uncompressed_length in entries
    )
    sealed = key.seal(header)
    if key.open(sealed) != header:
        raise SealVerificationError(what=N_("a pack header"), detail=N_("the content differs"))
    return bytes(sealed) + struct.pack("<I", len(sealed))


def decode_header(key: MasterKey, pack: Id, sealed: bytes | memoryview) -> list[PackedBlob]:
    """Return the blobs that a sealed header (without its length field) lists, in file order.

    Raises:
        DamagedError: it does not open or is malformed.
    """
    what = f"the header of pack {pack.hex()}"
    try:
        header = key.open(sealed)
    except OpenError as error:
        raise DamagedError(what=what, detail=str(error)) from None
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
    what = f"pack {pack.hex()}"
    handle = Handle(FileType.PACK, pack.hex())
    if size < MINIMUM_PACK:
        raise DamagedError(what=what, detail=Phrase(N_("{size} bytes are too few for a pack"), size=size))
    # Read a guess at the end: most headers fit, and one request is enough then.
    guess = min(size, 4096)
    tail = repository.backend.load(handle, size - guess, guess)
    length = int.from_bytes(tail[-LENGTH_FIELD:], "little")
    if length > MAXIMUM_HEADER + SEAL_OVERHEAD or length + LENGTH_FIELD > size or length <= SEAL_OVERHEAD:
        raise DamagedError(what=what, detail=Phrase(N_("its header claims {length} bytes"), length=length))
    if length + LENGTH_FIELD > guess:
        tail = repository.backend.load(handle, size - LENGTH_FIELD - length, length + LENGTH_FIELD)
    blobs = decode_header(repository.key, pack, tail[-LENGTH_FIELD - length : -LENGTH_FIELD])
    if pack_size(blobs) != size:
        raise DamagedError(what=what,
            detail=Phrase(N_("its header describes {described} bytes, it has {size}"),
                                   described=pack_size(blobs), size=size))
    return blobs
