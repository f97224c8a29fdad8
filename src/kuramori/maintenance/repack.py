"""Writing what is used of some packs into new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from kuramori.errors import KuramoriError, PruneRefusedError
from kuramori.ids import Id
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType, PackedBlob, PackEntry
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.packer import Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer


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
        self._packers = {
            blob_type: Packer(repository.backend, repository.key, blob_type, self._stored, pack_size)
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
        for pack, blobs in self._repository.index.select(packs, self._used.settle):
            self._check()
            self._copy(pack, blobs)
            progress.advance(1, sum(blob.length for blob in blobs))
        for packer in self._packers.values():
            packer.flush()
        progress.finish()

    def close(self) -> None:
        """Drop what is not durable. May be called more than once, and after errors."""
        for packer in self._packers.values():
            with suppress(KuramoriError):
                packer.discard()

    def _copy(self, pack: Id, blobs: list[PackedBlob]) -> None:
        for blob, sealed, plain in self._repository.read_sealed_blobs(pack, blobs):
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

    def _stored(self, pack: Id, blob_type: BlobType, entries: list[PackEntry]) -> None:
        self._writer.describe(pack, [(blob_type, *entry) for entry in entries])
        self.packs_written += 1
        self.bytes_written += sum(entry.length for entry in entries)
