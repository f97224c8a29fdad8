"""What an index file says of a pack, in columns: a million blobs are not a million objects."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from operator import add, eq, lt

from kuramori.errors import N_, DamagedError
from kuramori.ids import Id, join_ids, parse_id, split_ids
from kuramori.model.blob import SEALED_OVERHEAD, BlobType, PackedBlob
from kuramori.model.index_file import IndexBlob
from kuramori.repository.pack_header import COMPRESSED_ENTRY, EMPTY_PACK, PLAIN_ENTRY, decode_opened_header

_TYPES = {BlobType.DATA.value: 0, BlobType.TREE.value: 1}
_BOTH = (BlobType.DATA, BlobType.TREE)
_LARGEST = 0xFFFFFFFF
_AT_ONCE = 4096
_COMPRESSED = (2, 3)
"""Kinds of entries of a header that are of compressed blobs. The lowest bit of every kind is the type's number."""
_RUNS = re.compile(rb"(?s:(?:\0.{36}){1,%d}|(?:\x01.{36}){1,%d}|(?:\x02.{40}){1,%d}|(?:\x03.{40}){1,%d})"
                   % ((_AT_ONCE,) * 4))
"""Entries of a header that are of one kind."""


def _column() -> array[int]:
    return array("I")


@dataclass(slots=True)
class PackDescription:
    """The blobs of a pack; the columns are equally long, and in the order of the index file."""

    pack: Id
    joined_ids: bytearray = field(default_factory=bytearray)
    """The ids, one behind the other."""
    types: bytearray = field(default_factory=bytearray)
    """0 for data, 1 for a tree."""
    offsets: array[int] = field(default_factory=_column)
    lengths: array[int] = field(default_factory=_column)
    """Sealed bytes in the pack."""
    uncompressed_lengths: array[int] = field(default_factory=_column)
    """Plain bytes if the blob is compressed, else 0."""

    @property
    def blob_count(self) -> int:
        """The number of blobs."""
        return len(self.types)

    @property
    def pack_size(self) -> int:
        """Bytes of a pack that holds just these blobs."""
        plain = self.uncompressed_lengths.count(0)
        return (sum(self.lengths) + plain * PLAIN_ENTRY.size + (self.blob_count - plain) * COMPRESSED_ENTRY.size
                + EMPTY_PACK)

    @property
    def mixed(self) -> bool:
        """Whether both types are in it."""
        return 0 < self.types.count(1) < len(self.types)

    @property
    def seamless(self) -> bool:
        """Whether the blobs follow each other from the pack's beginning."""
        if all(map(eq, self.offsets, accumulate(self.lengths, initial=0))):
            return True
        end = 0
        for offset, length in sorted(zip(self.offsets, self.lengths, strict=True)):
            if offset != end:
                return False
            end += length
        return True

    def ids(self) -> Iterator[bytes]:
        """Yield the ids."""
        return split_ids(self.joined_ids)

    def digest(self) -> bytes:
        """Return what tells descriptions apart that do not name the same blobs at the same places."""
        ordered = self if all(map(lt, self.offsets, self.offsets[1:])) else self._in_order()
        digest = hashlib.sha256(ordered.joined_ids)
        for column in (ordered.types, ordered.offsets, ordered.lengths, ordered.uncompressed_lengths):
            digest.update(column)
        return digest.digest()

    def _in_order(self) -> PackDescription:
        rows = sorted(zip(self.offsets, self.lengths, self.ids(), self.types, self.uncompressed_lengths, strict=True))
        offsets, lengths, ids, types, uncompressed_lengths = zip(*rows, strict=True)
        return PackDescription(self.pack, bytearray(b"".join(ids)), bytearray(types), array("I", offsets),
                               array("I", lengths), array("I", uncompressed_lengths))

    def rows(self) -> Iterator[tuple[BlobType, bytes, int, int, int]]:
        """Yield type, id, offset, length and uncompressed length of each blob."""
        return zip(map(_BOTH.__getitem__, self.types), self.ids(), self.offsets, self.lengths,
                   self.uncompressed_lengths, strict=True)

    def blobs(self) -> Iterator[PackedBlob]:
        """Yield the blobs as objects."""
        types = map(_BOTH.__getitem__, self.types)
        return map(PackedBlob, types, map(Id, self.ids()), repeat(self.pack), self.offsets, self.lengths,
                   self.uncompressed_lengths)


def describe_in_order(pack: Id, blob_type: BlobType, joined_ids: bytearray, lengths: array[int],
                      uncompressed_lengths: array[int]) -> PackDescription:
    """Return the description of a pack that has blobs of one type, which follow each other from its beginning.

    Args:
        lengths: sealed bytes of each blob.
        uncompressed_lengths: plain bytes of each blob, 0 where it is not compressed.
    """
    offsets = array("I", accumulate(lengths, initial=0))
    offsets.pop()
    types = bytearray([_TYPES[blob_type.value]]) * len(lengths)
    return PackDescription(pack, joined_ids, types, offsets, lengths, uncompressed_lengths)


def describe_pack(name: str, pieces: Iterable[Sequence[IndexBlob]], version: int) -> PackDescription:
    """Return what an index file says of a pack, after it was checked.

    Args:
        name: the pack, as it stands in the index file.
        pieces: its blobs.
        version: of the repository.

    Raises:
        ValueError: an id or a number is impossible.
    """
    described = PackDescription(parse_id(name))
    for blobs in pieces:
        ids = [blob.id for blob in blobs]
        # One by one where something is wrong, to say what.
        described.joined_ids += join_ids(ids) or b"".join(map(parse_id, ids))
        try:
            described.types += bytes([_TYPES[blob.type] for blob in blobs])
        except KeyError as error:
            raise ValueError(f"unknown blob type {error.args[0][:40]!r}") from None
        lengths = [blob.length for blob in blobs]
        offsets = [blob.offset for blob in blobs]
        if blobs and (min(lengths) < SEALED_OVERHEAD or max(map(add, offsets, lengths)) > _LARGEST):
            _refuse_places(blobs)
        described.lengths.extend(lengths)
        described.offsets.extend(offsets)
        described.uncompressed_lengths.extend([blob.uncompressed_length for blob in blobs])
    if version < 2 and any(described.uncompressed_lengths):
        raise ValueError(N_("it lists compressed blobs in a repository of version 1"))
    return described


def describe_header(header: bytes, pack: Id) -> PackDescription:
    """Return what the plain bytes of a pack's header say of the pack.

    Raises:
        DamagedError: the header is malformed.
    """
    described = PackDescription(pack)
    end = 0
    for run in _RUNS.finditer(header):
        if run.start() != end:
            break
        _add_entries(described, header[end : run.end()])
        end = run.end()
    if end != len(header):
        decode_opened_header(header, pack)  # says what is wrong
    if sum(described.lengths) > _LARGEST:
        raise DamagedError(what=f"the header of pack {pack.hex()}", detail=N_("its blobs are too long"))
    described.offsets.extend(accumulate(described.lengths, initial=0))
    described.offsets.pop()
    return described


def _add_entries(described: PackDescription, entries: bytes) -> None:
    """Add entries of one kind: some are objects at a time."""
    kind = entries[0]
    if kind in _COMPRESSED:
        _, lengths, uncompressed_lengths, ids = zip(*COMPRESSED_ENTRY.iter_unpack(entries), strict=True)
        described.uncompressed_lengths.extend(uncompressed_lengths)
    else:
        _, lengths, ids = zip(*PLAIN_ENTRY.iter_unpack(entries), strict=True)
        described.uncompressed_lengths.extend([0] * len(lengths))
    described.types += bytes([kind & 1]) * len(lengths)
    described.lengths.extend(lengths)
    described.joined_ids += b"".join(ids)


def _refuse_places(blobs: Sequence[IndexBlob]) -> None:
    for blob in blobs:
        if blob.length < SEALED_OVERHEAD or blob.offset + blob.length > _LARGEST:
            raise ValueError(f"impossible place of blob {blob.id[:64]}: {blob.offset}+{blob.length}")
