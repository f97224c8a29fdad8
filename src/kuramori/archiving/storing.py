"""Where the chunks of files go: into packs of this process, or to the main process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.repository.packer import Packer
from kuramori.repository.sealing import BlobSealer

Chunk = bytes | bytearray | memoryview

Claim = Callable[[Sequence[bytes]], Sequence[int]]
"""Asks which of these blobs are to be stored: 1 for each that nobody has or is about to store,
and that is ours from now on; 0 for the others."""


class StoreCounts:
    """What was stored."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.blobs = 0
        self.plain_bytes = 0
        self.stored_bytes = 0


class ChunkStore(Protocol):
    """Takes chunks of files."""

    def store(self, ids: Sequence[Id], chunks: Sequence[Chunk]) -> None:
        """Store chunks by their ids, as far as they are new. The buffers may be reused then."""
        ...


class BlobStore:
    """Stores the data blobs that nobody has yet."""

    def __init__(self, sealer: BlobSealer, packer: Packer, claim: Claim) -> None:
        """Seal with ``sealer``, pack with ``packer``, ask ``claim`` first."""
        self._sealer = sealer
        self._packer = packer
        self._claim = claim
        self.counts = StoreCounts()

    def store(self, ids: Sequence[Id], chunks: Sequence[Chunk]) -> None:
        """Store chunks by their ids, as far as they are new. The buffers may be reused then."""
        for blob_id, chunk, wanted in zip(ids, chunks, self._claim(ids), strict=True):
            if wanted:
                self.store_claimed(blob_id, chunk)

    def store_claimed(self, blob_id: Id, chunk: Chunk) -> None:
        """Store a chunk that was claimed already. The buffer may be reused then."""
        sealed, uncompressed_length = self._sealer.seal(BlobType.DATA, blob_id, _readable(chunk))
        self._packer.add(blob_id, sealed, uncompressed_length)
        self.counts.blobs += 1
        self.counts.plain_bytes += len(chunk)
        self.counts.stored_bytes += len(sealed)


def _readable(chunk: Chunk) -> bytes | memoryview:
    return memoryview(chunk) if isinstance(chunk, bytearray) else chunk


class HandingStore:
    """Gives the data blobs that nobody has yet to another process: that of a worker where only the
    main process can write to the storage."""

    def __init__(self, claim: Claim, hand_over: Callable[[list[bytes], list[bytes]], None]) -> None:
        """Ask ``claim`` first, and give ids and chunks to ``hand_over``."""
        self._claim = claim
        self._hand_over = hand_over

    def store(self, ids: Sequence[Id], chunks: Sequence[Chunk]) -> None:
        """Hand over chunks by their ids, as far as they are new. The buffers may be reused then."""
        wanted = [number for number, answer in enumerate(self._claim(ids)) if answer]
        if wanted:
            self._hand_over([ids[number] for number in wanted], [bytes(chunks[number]) for number in wanted])
