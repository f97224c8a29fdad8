"""Where the chunks of files go: into packs of this process, or to the main process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.repository.sealing import BlobSealer

Chunk = bytes | bytearray | memoryview
SealedBytes = bytes | bytearray | memoryview

_SMALL = 16 * 1024
"""Chunks of up to so many bytes are sealed many at once: they cost Python rather than arithmetic."""
_HANDED_BYTES = 256 * 1024
"""Sealed bytes that one message to the main process holds, but for a last blob: enough that messages cost little."""

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

    def store_wanted(self, ids: Sequence[Id], chunks: Sequence[Chunk], wanted: Sequence[int]) -> None:
        """Store those of some chunks that were claimed: ``wanted`` is what a :data:`Claim` returned for ``ids``. The
        buffers may be reused then."""
        ...


class SealedSink(Protocol):
    """Takes sealed blobs: a packer, or who hands them to one."""

    def add(self, blob_id: Id, sealed: SealedBytes, uncompressed_length: int) -> None:
        """Take one. Its bytes are not changed afterwards."""
        ...

    def add_all(self, ids: Sequence[bytes], sealed: Sequence[SealedBytes],
                uncompressed_lengths: Sequence[int]) -> None:
        """Take many small ones."""
        ...


class BlobStore:
    """Stores the data blobs that nobody has yet."""

    def __init__(self, sealer: BlobSealer, sink: SealedSink, claim: Claim) -> None:
        """Seal with ``sealer``, give to ``sink``, ask ``claim`` first."""
        self._sealer = sealer
        self._sink = sink
        self._claim = claim
        self.counts = StoreCounts()

    def store(self, ids: Sequence[Id], chunks: Sequence[Chunk]) -> None:
        """Store chunks by their ids, as far as they are new. The buffers may be reused then."""
        self.store_wanted(ids, chunks, self._claim(ids))

    def store_wanted(self, ids: Sequence[Id], chunks: Sequence[Chunk], wanted: Sequence[int]) -> None:
        """Store those of some chunks that were claimed. The buffers may be reused then."""
        small_ids: list[bytes] = []
        small: list[bytes] = []
        for blob_id, chunk, is_ours in zip(ids, chunks, wanted, strict=True):
            if not is_ours:
                continue
            if isinstance(chunk, bytes) and len(chunk) <= _SMALL:
                small_ids.append(blob_id)
                small.append(chunk)
            else:
                self.store_claimed(blob_id, chunk)
        if small:
            self._store_together(small_ids, small)

    def _store_together(self, ids: list[bytes], chunks: list[bytes]) -> None:
        """Store small chunks that were claimed."""
        sealed, uncompressed_lengths = self._sealer.seal_all(BlobType.DATA, ids, chunks)
        self._sink.add_all(ids, sealed, uncompressed_lengths)
        self.counts.blobs += len(ids)
        self.counts.plain_bytes += sum(map(len, chunks))
        self.counts.stored_bytes += sum(map(len, sealed))

    def store_claimed(self, blob_id: Id, chunk: Chunk) -> None:
        """Store a chunk that was claimed already. The buffer may be reused then."""
        sealed, uncompressed_length = self._sealer.seal(BlobType.DATA, blob_id, _readable(chunk))
        self._sink.add(blob_id, sealed, uncompressed_length)
        self.counts.blobs += 1
        self.counts.plain_bytes += len(chunk)
        self.counts.stored_bytes += len(sealed)


def _readable(chunk: Chunk) -> bytes | memoryview:
    return memoryview(chunk) if isinstance(chunk, bytearray) else chunk


class HandingSink:
    """Gives sealed blobs to another process, many small ones at once: in a worker where only the main process can
    write to the store."""

    def __init__(self, hand_over: Callable[[list[bytes], list[SealedBytes], list[int]], None]) -> None:
        """Give ids, sealed blobs and uncompressed lengths to ``hand_over``."""
        self._hand_over = hand_over
        self._ids: list[bytes] = []
        self._sealed: list[SealedBytes] = []
        self._lengths: list[int] = []
        self._bytes = 0

    def add(self, blob_id: Id, sealed: SealedBytes, uncompressed_length: int) -> None:
        """Take a sealed blob."""
        self._ids.append(blob_id)
        self._sealed.append(sealed)
        self._lengths.append(uncompressed_length)
        self._bytes += len(sealed)
        if self._bytes >= _HANDED_BYTES:
            self.flush()

    def add_all(self, ids: Sequence[bytes], sealed: Sequence[SealedBytes],
                uncompressed_lengths: Sequence[int]) -> None:
        """Take many small sealed blobs."""
        self._ids += ids
        self._sealed += sealed
        self._lengths += uncompressed_lengths
        self._bytes += sum(map(len, sealed))
        if self._bytes >= _HANDED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Give on what is held."""
        if self._ids:
            self._hand_over(self._ids, self._sealed, self._lengths)
            self._ids, self._sealed, self._lengths, self._bytes = [], [], [], 0
