"""An index file: which blobs lie where in which packs (format section 1.7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec

from kuramori.model.json import decode_json, go_json

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class IndexBlob(msgspec.Struct, omit_defaults=True, gc=False):
    """One blob of a pack."""

    id: str
    type: str
    """``data`` or ``tree``."""
    offset: _Size
    length: _Size
    """Sealed bytes in the pack."""
    uncompressed_length: _Size = 0
    """Plain bytes if the blob is compressed, else 0."""


class IndexPack(msgspec.Struct):
    """One pack and its blobs, in any order."""

    id: str
    blobs: list[IndexBlob]


class IndexFile(msgspec.Struct, omit_defaults=True):
    """The document. ``supersedes`` was written up to restic 0.16 and means nothing."""

    packs: list[IndexPack]
    supersedes: list[str] | None = None


class _UndecodedPack(msgspec.Struct):
    id: str
    blobs: msgspec.Raw


class _UndecodedFile(msgspec.Struct):
    packs: list[_UndecodedPack]
    supersedes: list[str] | None = None


_TYPE_NAMES = ("data", "tree")
_ROWS_AT_ONCE = 1000
_PIECE = 512 * 1024
"""Bytes of a document that are decoded at once: some thousand blobs."""
_DECODER = msgspec.json.Decoder(IndexFile)
_PACK_DECODER = msgspec.json.Decoder(_UndecodedFile)
_BLOBS_DECODER = msgspec.json.Decoder(list[IndexBlob])


def encode_index_blobs(blobs: list[IndexBlob]) -> bytes:
    """Return a part of what :func:`encode_index_pack` wants: one blob or more."""
    return go_json(blobs)[1:-1]


def encode_index_columns(joined_ids: bytes | bytearray, types: Sequence[int], offsets: Sequence[int],
                         lengths: Sequence[int], uncompressed_lengths: Sequence[int]) -> Iterator[bytes]:
    """Yield the parts that :func:`encode_index_pack` wants, byte for byte as :func:`encode_index_blobs` makes them of
    the same blobs, in half of the time.

    Args:
        joined_ids: 32 bytes for each blob.
        types: 0 for data, 1 for a tree.
        uncompressed_lengths: 0 for what is not compressed.
    """
    digits = joined_ids.hex()
    rows = zip(range(0, len(digits), 64), types, offsets, lengths, uncompressed_lengths, strict=True)
    while texts := [
        f'{{"id":"{digits[at:at + 64]}","type":"{_TYPE_NAMES[kind]}","offset":{offset},"length":{length}'
        + (f',"uncompressed_length":{plain}}}' if plain else "}")
        for at, kind, offset, length, plain in islice(rows, _ROWS_AT_ONCE)
    ]:
        yield ",".join(texts).encode()


def encode_index_pack(pack: str, parts: Iterable[bytes]) -> list[bytes]:
    """Return the part of a document that describes one pack, in pieces: the whole is many megabytes, and is put
    together once.

    Args:
        pack: its id.
        parts: its blobs, encoded by :func:`encode_index_blobs`.
    """
    return [b'{"id":"' + pack.encode() + b'","blobs":[', *_separated(parts), b"]}"]


def encode_index(packs: Iterable[list[bytes]]) -> bytes:
    """Return the document for encoded packs (:func:`encode_index_pack`); restic ends it with a
    line break."""
    pieces = [b'{"packs":[']
    for pack in packs:
        pieces += [b",", *pack] if len(pieces) > 1 else pack
    pieces.append(b"]}\n")
    return b"".join(pieces)


def _separated(parts: Iterable[bytes]) -> Iterator[bytes]:
    for number, part in enumerate(parts):
        if number:
            yield b","
        yield part


def decode_index(document: bytes) -> IndexFile:
    """Return the index of a document.

    Raises:
        msgspec.DecodeError: it is none (also ``ValidationError``).
    """
    return decode_json(_DECODER, document)


def decode_index_packs(document: bytes) -> Iterator[tuple[str, Iterator[list[IndexBlob]]]]:
    """Yield the packs of a document: name, and the blobs in pieces of some thousand, of which only one has to be in
    memory as objects.

    Raises:
        msgspec.DecodeError: it is no index (also ``ValidationError``); perhaps only after some pieces.
    """
    for pack in decode_json(_PACK_DECODER, document).packs:
        yield pack.id, _decode_blobs(bytes(pack.blobs))


def _decode_blobs(document: bytes) -> Iterator[list[IndexBlob]]:
    start = 0
    if document[:2] == b"[{" and document[-2:] == b"}]":
        # Cut between two objects. Where that would be inside of a string, which no id and no type contains, both
        # halves of the string are malformed, and what follows is decoded as a whole.
        start = 1
        while (end := document.find(b"},{", start + _PIECE)) >= 0:
            try:
                blobs = decode_json(_BLOBS_DECODER, b"[%b}]" % document[start:end])
            except msgspec.DecodeError:
                break
            yield blobs
            start = end + 2
    yield decode_json(_BLOBS_DECODER, b"[" + document[start:] if start else document)
