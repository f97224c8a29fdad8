"""Writing what is used of some packs into new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from kuramori.errors import KuramoriError, PruneRefusedError
from kuramori.ids import Id
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.pack_commits import shared_commits
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer
from kuramori.repository.transfers import fetch_ahead, is_remote

_PIECE_BYTES = 4 * 1024 * 1024


class Piece(NamedTuple):
    """A part of a pack that is read at once."""

    last: bool
    """Whether it is the pack's last one."""
    pack: Id
    blobs: list[PackedBlob]


def pieces_of(chosen: Iterable[tuple[Id, list[PackedBlob]]]) -> Iterator[Piece]:
    """Cut packs into pieces of which neither the sealed nor the plain bytes are much more than a few megabytes, but
    for a single long blob: several are in memory at once."""
    for pack, blobs in chosen:
        piece: list[PackedBlob] = []
        size = 0
        for blob in sorted(blobs, key=lambda blob: blob.offset):
            if piece and size >= _PIECE_BYTES:
                yield Piece(False, pack, piece)
                piece, size = [], 0
            piece.append(blob)
            size += max(blob.length, blob.plain_length)
        yield Piece(True, pack, piece)


class Repacker:
    """Copies blobs into new packs. Used by one thread, for one prune.

    A blob is opened and its hash checked, and then its sealed bytes are stored as they are: sealing
    them again would cost more than all the rest. Only uncompressed blobs that can be compressed are
    sealed anew.
    """

    def __init__(self, repository: Repository, used: UsedBlobs, writer: IndexWriter, *, pack_size: int,
                 compression: Compression, also_incompressible: bool, check: Callable[[], None]) -> None:
        """Write into ``repository``, whose index is that of ``used``.

        Args:
            writer: told of every new pack that is durable.
            also_incompressible: compress also what gets no shorter by it.
            check: called before every pack; raises to end it.
        """
        self._repository = repository
        self._used = used
        self._check = check
        self._sealer = BlobSealer(repository.key, repository.version, compression,
                                  also_incompressible=also_incompressible)
        self._commits = shared_commits(repository.backend)
        self._packers = {
            blob_type: Packer(repository.backend, repository.key, blob_type, self._stored, pack_size,
                              commits=self._commits, waiting=check)
            for blob_type in BlobType}
        self._writer = writer
        self.packs_written = 0
        self.bytes_written = 0
        """Of blobs, without headers."""

    def run(self, packs: Sequence[Id], total_bytes: int, progress: Progress) -> None:
        """Copy what is used of ``packs`` and has no settled copy yet. When this returns it is
        durable, and ``writer`` knows it.

        Args:
            total_bytes: of what will be copied, for the progress.

        Raises:
            PruneRefusedError: a blob that is used cannot be read, from no copy.
            StorageError, LockLostError: nothing is lost; what was written is named by no index.
        """
        progress.start("repack", len(packs), total_bytes)
        chosen = self._repository.index.select(packs, self._used.settle)
        if is_remote(self._repository.backend):
            self._run_ahead(chosen, progress)
        else:
            for pack, blobs in chosen:
                self._check()
                self._copy(self._repository.read_sealed_blobs(pack, blobs))
                progress.advance(1, sum(blob.length for blob in blobs))
        for packer in self._packers.values():
            packer.flush()
        progress.finish()

    def _run_ahead(self, chosen: Iterable[tuple[Id, list[PackedBlob]]], progress: Progress) -> None:
        """Do it while the next pieces of packs are fetched."""
        for piece, read in fetch_ahead(self._repository.backend, self._read, pieces_of(chosen)):
            self._check()
            self._copy(read())
            progress.advance(int(piece.last), sum(blob.length for blob in piece.blobs))

    def _read(self, piece: Piece) -> list[tuple[PackedBlob, memoryview, bytes | KuramoriError]]:
        return list(self._repository.read_sealed_blobs(piece.pack, piece.blobs))

    def close(self) -> None:
        """Drop what is not durable. May be called more than once, and after errors."""
        for packer in self._packers.values():
            with suppress(KuramoriError):
                packer.discard()
        if self._commits is not None:
            self._commits.close()

    def _copy(self, blobs: Iterable[tuple[PackedBlob, memoryview, bytes | KuramoriError]]) -> None:
        for blob, sealed, plain in blobs:
            if isinstance(plain, KuramoriError):
                whole = self._from_elsewhere(blob, plain)
                self._packers[blob.type].add(blob.id, *self._sealer.seal(blob.type, blob.id, whole))
                continue
            compressed = None
            if not blob.uncompressed_length:
                compressed = self._sealer.seal_compressed(blob.type, blob.id, plain)
            self._packers[blob.type].add(blob.id, *(compressed or (sealed, blob.uncompressed_length)))

    def _from_elsewhere(self, blob: PackedBlob, error: KuramoriError) -> bytes:
        """Return a blob whose copy here is damaged from another copy."""
        if len(self._repository.index.lookup(blob.type, blob.id)) > 1:
            with suppress(KuramoriError):
                return self._repository.load_blob(blob.type, blob.id)
        raise PruneRefusedError(detail=error) from None

    def _stored(self, described: PackDescription) -> None:
        self._writer.describe_columns(described)
        self.packs_written += 1
        self.bytes_written += sum(described.lengths)
