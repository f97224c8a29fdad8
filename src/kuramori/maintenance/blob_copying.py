"""Blobs on their way from one repository into another: opened, verified and sealed anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple

from kuramori.errors import N_, DamagedError, KuramoriError, Phrase
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.processors import available_processors
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.pack_commits import shared_commits
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer
from kuramori.repository.transfers import TransferThreads, end_transfers, is_remote, parallel_transfers

_WINDOW_BLOBS = 100_000
"""So many waiting blobs take 15 MB."""
_WINDOW_BYTES = 1 << 30
_PIECE_BYTES = 8 << 20
_REMOTE_PIECE_BYTES = 4 << 20
"""Of a source that is far away more of them are in memory at once."""
_MAXIMUM_THREADS = 4
_KEPT_ERRORS = 1000
"""A source that lost a disk may lack millions of blobs."""


class SourceUnavailableError(Exception):
    """The source does not answer. What was stored in the target is sound.

    Attributes:
        error: why.
    """

    def __init__(self, error: KuramoriError) -> None:
        """Wrap what the source's store raised."""
        super().__init__(str(error))
        self.error = error


class _Copied(NamedTuple):
    """What became of one blob."""

    blob: PackedBlob
    sealed: bytes | bytearray | memoryview
    uncompressed_length: int
    error: KuramoriError | None


class BlobCopier:
    """Copies blobs into one repository. Used by one thread.

    Data blobs are queued and copied together, so that a pack is read once for all that is wanted of
    it; threads read and seal pieces of packs meanwhile. Each holds one piece at a time.
    """

    def __init__(self, source: Repository, target: Repository, *, compression: Compression, pack_size: int,
                 check: Callable[[], None], check_lock: Callable[[], None]) -> None:
        """Copy from ``source`` to ``target``; both indexes are loaded.

        Args:
            compression: what is compressed in the source is left as it is by ``AUTO``.
            check: called before every piece; raises to end it.
            check_lock: called when the index is written; raises if a lock was lost, and only then.
        """
        self._source = source
        self._target = target
        self._check = check
        self._keep_packed = compression is Compression.AUTO and target.version >= 2
        self._sealer = BlobSealer(target.key, target.version, compression)
        self._writer = IndexWriter(target, check_lock)
        self._commits = shared_commits(target.backend)
        self._packers = {blob_type: Packer(target.backend, target.key, blob_type, self._stored, pack_size,
                                           commits=self._commits, waiting=check)
                         for blob_type in BlobType}
        self._threads = max(min(available_processors(), _MAXIMUM_THREADS), parallel_transfers(source.backend))
        self._piece_bytes = min(_PIECE_BYTES, _REMOTE_PIECE_BYTES) if is_remote(source.backend) else _PIECE_BYTES
        self._pool: TransferThreads[list[_Copied]] = TransferThreads(self._threads)
        self._queue: list[tuple[int, Id]] = []
        self._queued_bytes = 0
        self.queued_blobs_total = 0
        self.queued_bytes_total = 0
        """Sealed bytes in the source of all that was ever queued."""
        self.failures = 0
        """How many blobs could not be read, from no copy."""
        self._errors: dict[tuple[BlobType, bytes], KuramoriError] = {}
        self.blobs_copied = 0
        self.bytes_copied = 0
        """Sealed bytes in the target."""

    # --- taking blobs --------------------------------------------------------------------------

    def store_tree(self, tree_id: Id, plain: bytes) -> None:
        """Store a tree that is at hand, verified."""
        self._add(BlobType.TREE, tree_id, *self._sealer.seal(BlobType.TREE, tree_id, plain))

    def queue(self, blob_id: Id) -> None:
        """Take a data blob of the source's index, once. :meth:`run` copies it."""
        place = self._source.index.place(BlobType.DATA, blob_id)
        assert place is not None
        self._queue.append((place, blob_id))
        length = self._source.index.blob_at(BlobType.DATA, blob_id, place).length
        self._queued_bytes += length
        self.queued_blobs_total += 1
        self.queued_bytes_total += length

    @property
    def window_is_full(self) -> bool:
        """Tell whether it is time for :meth:`run`: so much is queued."""
        return len(self._queue) >= _WINDOW_BLOBS or self._queued_bytes >= _WINDOW_BYTES

    def note_failure(self, blob_type: BlobType, blob_id: Id, error: KuramoriError) -> None:
        """Keep the error of a blob that cannot be copied."""
        self.failures += 1
        if len(self._errors) < _KEPT_ERRORS:
            self._errors[blob_type, blob_id] = error

    def failure(self, blob_type: BlobType, blob_id: Id) -> KuramoriError:
        """Return the error of a blob that could not be copied."""
        return self._errors.get((blob_type, blob_id)) or DamagedError(
            what=Phrase(N_("{type} blob {id}"), type=blob_type.value, id=blob_id.hex()),
            detail=N_("it could not be read"))

    # --- copying -------------------------------------------------------------------------------

    def run(self, progress: Progress) -> None:
        """Copy what is queued. It is not durable before :meth:`flush`; what cannot be read has
        a :meth:`failure`.

        Raises:
            SourceUnavailableError: the source does not answer.
            StorageError, SealVerificationError: the target; nothing may be written any more.
        """
        progress.set_total(self.queued_blobs_total, self.queued_bytes_total)
        self._queue.sort()
        running: deque[Future[list[_Copied]]] = deque()
        try:
            for pack, blobs in self._pieces():
                self._check()
                running.append(self._pool.submit(self._read_and_seal, pack, blobs))
                if len(running) > self._threads:
                    self._take_in(running.popleft().result(), progress)
            while running:
                self._check()
                self._take_in(running.popleft().result(), progress)
        except SourceUnavailableError:
            end_transfers(self._source.backend, running)
            for future in running:  # what came all the same
                if not future.cancelled() and future.exception() is None:
                    self._take_in(future.result(), progress)
            raise
        finally:
            end_transfers(self._source.backend, running)
            self._queue = []
            self._queued_bytes = 0

    def _pieces(self) -> Iterator[tuple[Id, list[PackedBlob]]]:
        """Yield what is queued in parts of packs: neither what is read nor what is sealed of one is
        much more than a few megabytes, but for a single long blob."""
        piece: list[PackedBlob] = []
        size = 0
        for place, blob_id in self._queue:
            blob = self._source.index.blob_at(BlobType.DATA, blob_id, place)
            if piece and (blob.pack != piece[0].pack or size >= self._piece_bytes):
                yield piece[0].pack, piece
                piece, size = [], 0
            piece.append(blob)
            size += max(blob.length, blob.plain_length)
        if piece:
            yield piece[0].pack, piece

    def _read_and_seal(self, pack: Id, blobs: list[PackedBlob]) -> list[_Copied]:
        """Done by the threads."""
        return [self._copy(blob, sealed, plain)
                for blob, sealed, plain in self._source.read_sealed_blobs(pack, blobs)]

    def _copy(self, blob: PackedBlob, sealed: memoryview, plain: bytes | KuramoriError) -> _Copied:
        if isinstance(plain, KuramoriError):
            try:
                plain = load_elsewhere(self._source, blob.type, blob.id, plain)
            except KuramoriError as error:
                return _Copied(blob, b"", 0, error)
        elif blob.uncompressed_length and self._keep_packed:
            packed = self._source.key.open(sealed)
            return _Copied(blob, *self._sealer.seal_packed(blob.id, plain, packed), None)
        return _Copied(blob, *self._sealer.seal(blob.type, blob.id, plain), None)

    def _take_in(self, piece: list[_Copied], progress: Progress) -> None:
        for blob, sealed, uncompressed_length, error in piece:
            if error is not None:
                self.note_failure(blob.type, blob.id, error)
            else:
                self._add(blob.type, blob.id, sealed, uncompressed_length)
        progress.advance(len(piece), sum(each.blob.length for each in piece))

    def _add(self, blob_type: BlobType, blob_id: Id, sealed: bytes | bytearray | memoryview,
             uncompressed_length: int) -> None:
        self._packers[blob_type].add(blob_id, sealed, uncompressed_length)
        self.blobs_copied += 1
        self.bytes_copied += len(sealed)

    def _stored(self, described: PackDescription) -> None:
        self._writer.add(described)

    # --- the end -------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when all that was copied is durable and in index files: packs first."""
        for packer in self._packers.values():
            packer.flush()
        self._check()
        self._writer.flush()

    def keep(self) -> None:
        """Where the source went away: make durable all that was copied, so that the next run need not copy it again."""
        for packer in self._packers.values():
            packer.flush()
        self._writer.flush()

    def rescue(self) -> None:
        """After an interruption: keep what was copied, as far as that can be done at once."""
        for packer in self._packers.values():
            packer.rescue()
        self._writer.flush()

    def close(self) -> None:
        """End the threads and drop what is not durable. May be called more than once, and after
        errors."""
        self._pool.close()
        for packer in self._packers.values():
            with suppress(KuramoriError):
                packer.discard()
        if self._commits is not None:
            self._commits.close()


def load_elsewhere(repository: Repository, blob_type: BlobType, blob_id: Id, error: KuramoriError) -> bytes:
    """Return a blob of which one copy gave ``error``, from another copy.

    Raises:
        SourceUnavailableError: the store does not answer.
        KuramoriError: ``error``, where there is no other copy, or none that can be read.
    """
    if error.retryable:
        raise SourceUnavailableError(error)
    if len(repository.index.lookup(blob_type, blob_id)) > 1:
        with suppress(KuramoriError):
            return repository.load_blob(blob_type, blob_id)
    raise error
