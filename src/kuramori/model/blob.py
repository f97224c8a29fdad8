"""Blobs, and where they lie (format section 1.6)."""

from __future__ import annotations

import enum
from typing import NamedTuple

from kuramori.ids import Id

SEALED_OVERHEAD = 32


class BlobType(enum.Enum):
    """The two types. An id may exist as both."""

    DATA = "data"
    TREE = "tree"

    # Members are the same objects everywhere; the library's own hash is Python code, for each look-up of a blob.
    __hash__ = object.__hash__


class PackedBlob(NamedTuple):
    """One copy of a blob in a pack."""

    type: BlobType
    id: Id
    pack: Id
    offset: int
    length: int
    """Sealed bytes in the pack."""
    uncompressed_length: int
    """Plain bytes if it is compressed, else 0."""

    @property
    def plain_length(self) -> int:
        """Bytes of the blob itself."""
        return self.uncompressed_length or self.length - SEALED_OVERHEAD
