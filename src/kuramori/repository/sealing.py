"""From a blob to its sealed form and back, verified both ways (format sections 1.5, 1.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeVar

from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import N_, DamagedError, Phrase, SealVerificationError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.compression import (
    Compression,
    Compressor,
    DecompressionError,
    decompress,
    decompress_all,
    decompress_exactly,
    decompresses_to,
)

_Opened = TypeVar("_Opened", bound=bytes | memoryview)

MAXIMUM_PLAIN_LENGTH = 1 << 30
"""The longest blob we take memory for. Writers cut at 8 MiB; a tree of a huge folder is longer."""

MAXIMUM_UNPACKED_LENGTH = 512 * 1024 * 1024
"""The longest index, snapshot or lock we take memory for."""


class BlobSealer:
    """Makes sealed blobs. May be used by several threads."""

    def __init__(self, key: MasterKey, version: int, compression: Compression, *,
                 also_incompressible: bool = False) -> None:
        """Seal with ``key`` for a repository of ``version`` 1 (never compressed) or 2.

        Args:
            also_incompressible: compress data even where that makes it a little longer, so that it
                counts as compressed from then on.
        """
        self._key = key
        self._also_incompressible = also_incompressible
        # Trees are mostly hashes too: see _UNPACKED.
        tree = Compression.MAX if compression is Compression.MAX else Compression.FASTEST
        self._tree = Compressor(tree) if version >= 2 else None
        self._data = Compressor(compression) if version >= 2 and compression is not Compression.OFF else None

    def seal(self, blob_type: BlobType, blob_id: Id, plain: bytes | memoryview) -> tuple[bytearray, int]:
        """Return the sealed blob and its ``uncompressed_length`` (0 if stored uncompressed).

        The result has been opened again, and the hash of what came out compared with ``blob_id``:
        faulty memory or a faulty library is noticed before anything is written.

        Raises:
            SealVerificationError: it was noticed.
        """
        return self._seal(blob_id, plain, self._compress(blob_type, plain))

    def seal_all(self, blob_type: BlobType, ids: Sequence[bytes],
                 plains: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
        """Return what :meth:`seal` returns for each of many small blobs, as two lists: sealed blobs and their
        uncompressed lengths. Everything has been opened again and compared with the ids.

        Raises:
            SealVerificationError: a blob did not open to what its id says.
        """
        packed = [self._compress(blob_type, plain) for plain in plains]
        uncompressed_lengths = [0 if frame is None else len(plain) for plain, frame in zip(plains, packed, strict=True)]
        sealed = self._key.seal_all([plain if frame is None else frame
                                     for plain, frame in zip(plains, packed, strict=True)])
        if not blobs_are_sound(self._key, b"".join(sealed), list(map(len, sealed)), uncompressed_lengths, ids):
            for blob_id, one, uncompressed_length in zip(ids, sealed, uncompressed_lengths, strict=True):
                self._verify(blob_id, one, uncompressed_length)
        return sealed, uncompressed_lengths

    def seal_compressed(self, blob_type: BlobType, blob_id: Id,
                        plain: bytes | memoryview) -> tuple[bytearray, int] | None:
        """Return what :meth:`seal` returns, or None where that would be stored uncompressed.

        Raises:
            SealVerificationError
        """
        packed = self._compress(blob_type, plain)
        return None if packed is None else self._seal(blob_id, plain, packed)

    def seal_packed(self, blob_id: Id, plain: bytes | memoryview, packed: bytes) -> tuple[bytearray, int]:
        """Return what :meth:`seal` returns, for a blob that is compressed already.

        Args:
            packed: ``plain`` as another repository holds it.

        Raises:
            SealVerificationError: also where ``packed`` is not ``plain``.
        """
        return self._seal(blob_id, plain, packed)

    def _compress(self, blob_type: BlobType, plain: bytes | memoryview) -> bytes | None:
        if not plain:  # "compressed" is told by a non-zero length, so empty blobs stay as they are
            return None
        if blob_type is BlobType.TREE:
            return self._tree.compress(plain) if self._tree else None
        if self._data is None:
            return None
        return self._data.compress(plain) if self._also_incompressible else self._data.compress_if_smaller(plain)

    def _seal(self, blob_id: Id, plain: bytes | memoryview, packed: bytes | None) -> tuple[bytearray, int]:
        uncompressed_length = 0 if packed is None else len(plain)
        sealed = self._key.seal(plain if packed is None else packed)
        self._verify(blob_id, sealed, uncompressed_length)
        return sealed, uncompressed_length

    def _verify(self, blob_id: bytes, sealed: bytes | bytearray, uncompressed_length: int) -> None:
        try:
            again = open_sealed_briefly(self._key, sealed, uncompressed_length)
        except (OpenError, DecompressionError) as error:
            raise SealVerificationError(what=Phrase(N_("blob {id}"), id=blob_id.hex()),
                detail=str(error)) from None
        if hash_id(again) != blob_id:
            raise SealVerificationError(what=Phrase(N_("blob {id}"), id=blob_id.hex()),
                detail=N_("the hash differs"))


def open_sealed_briefly(key: MasterKey, sealed: bytes | bytearray | memoryview,
                        uncompressed_length: int) -> bytes | memoryview:
    """Return the plain bytes of a sealed blob, without checking their hash. They are gone when this thread opens
    another.

    Raises:
        OpenError: the MAC is wrong.
        DecompressionError: malformed, or not exactly ``uncompressed_length`` bytes.
    """
    opened = key.open_briefly(sealed)
    return _unpack(opened, uncompressed_length) if uncompressed_length else opened


def _unpack(packed: bytes | memoryview, uncompressed_length: int) -> bytes:
    if uncompressed_length > MAXIMUM_PLAIN_LENGTH:
        raise DecompressionError(f"it claims to hold {uncompressed_length} bytes")
    return decompress_exactly(packed, uncompressed_length)


def open_together(key: MasterKey, sealed: bytes, lengths: Sequence[int], uncompressed_lengths: Sequence[int],
                  ids: Sequence[bytes]) -> list[bytes] | None:
    """Return the plain bytes of many small blobs that lie one behind the other, each verified against its id; None
    where one of them needs a closer look, which may find it sound after all. Memory: all of them, opened.

    Args:
        lengths: sealed bytes of each.
        uncompressed_lengths: plain bytes of each, 0 where it is not compressed; so much memory is taken.
    """
    try:
        plains = key.open_all(sealed, lengths)
        packed = [number for number, length in enumerate(uncompressed_lengths) if length]
        unpacked = decompress_all([plains[number] for number in packed], [uncompressed_lengths[n] for n in packed])
    except (OpenError, DecompressionError):
        return None
    for number, plain in zip(packed, unpacked, strict=True):
        plains[number] = plain
    return plains if [sha256(plain).digest() for plain in plains] == list(ids) else None


def blobs_are_sound(key: MasterKey, sealed: bytes, lengths: Sequence[int], uncompressed_lengths: Sequence[int],
                    ids: Sequence[bytes]) -> bool:
    """Tell whether :func:`open_together` opens blobs; False says nothing."""
    return open_together(key, sealed, lengths, uncompressed_lengths, ids) is not None


def open_blob(key: MasterKey, sealed: bytes | bytearray | memoryview, blob: PackedBlob) -> bytes:
    """Return the plain bytes of a blob, verified against its id.

    Raises:
        DamagedError: MAC, compression, length or hash is wrong.
    """
    return _open_verified(key.open, sealed, blob)


def open_blob_briefly(key: MasterKey, sealed: bytes | bytearray | memoryview, blob: PackedBlob) -> bytes | memoryview:
    """Return what :func:`open_blob` returns, but gone when this thread opens another: for what is written or dropped
    at once.

    Raises:
        DamagedError: MAC, compression, length or hash is wrong.
    """
    return _open_verified(key.open_briefly, sealed, blob)


def _open_verified(open_text: Callable[[bytes | bytearray | memoryview], _Opened],
                   sealed: bytes | bytearray | memoryview, blob: PackedBlob) -> _Opened | bytes:
    try:
        if len(sealed) != blob.length:
            raise OpenError(f"{len(sealed)} bytes instead of {blob.length}")
        opened = open_text(sealed)
        plain = _unpack(opened, blob.uncompressed_length) if blob.uncompressed_length else opened
    except (OpenError, DecompressionError) as error:
        raise _damaged(blob, str(error)) from None
    if hash_id(plain) != blob.id:
        raise _damaged(blob, N_("its content does not match its id"))
    return plain


def _damaged(blob: PackedBlob, detail: str) -> DamagedError:
    what = Phrase(N_("{type} blob {id} in pack {pack}"), type=blob.type.value, id=blob.id.hex(), pack=blob.pack.hex())
    return DamagedError(what=what, detail=detail)


def seal_unpacked(key: MasterKey, version: int, document: bytes) -> bytearray:
    """Return an index, snapshot or lock as it is stored, verified by opening it again.

    Raises:
        SealVerificationError: it did not open to the same bytes.
    """
    plain = document if version < 2 else b"\x02" + _UNPACKED.compress(document)
    sealed = key.seal(plain)
    if not _opens_to(key, sealed, plain, document):
        raise SealVerificationError(what=N_("a repository file"), detail=N_("the content differs"))
    return sealed


def _opens_to(key: MasterKey, sealed: bytearray, plain: bytes, document: bytes) -> bool:
    """Tell whether sealed bytes open to ``document``; its decompressed copy is never held whole,
    for an index file may have many megabytes."""
    try:
        opened = key.open(sealed)
        if plain is document:
            return opened == document
        return opened[:1] == b"\x02" and decompresses_to(memoryview(opened)[1:], document)
    except (OpenError, DecompressionError):
        return False


_UNPACKED = Compressor(Compression.FASTEST)
"""Index files are mostly hexadecimal digits of hashes. On them the lowest level is not only the
fastest: it looks for few repetitions, finds fewer false ones, and its output is 5 to 8 % smaller
than that of the levels above it (of trees 1 %), but for the very highest, which takes 50 times as
long."""


def open_unpacked(key: MasterKey, sealed: bytes | bytearray, what: str) -> bytes:
    """Return the JSON of an index, snapshot or lock.

    Args:
        what: its name, for the error.

    Raises:
        DamagedError: MAC, lead byte or compression is wrong.
    """
    try:
        plain = key.open(sealed)
        if plain[:1] in (b"{", b"["):
            return plain
        if plain[:1] != b"\x02":
            raise DecompressionError(N_("its first byte is of no known kind"))
        return decompress(memoryview(plain)[1:], MAXIMUM_UNPACKED_LENGTH)
    except (OpenError, DecompressionError) as error:
        raise DamagedError(what=what, detail=str(error)) from None
