"""Where a backup's blobs go: claims, packs, index files; with workers or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from kuramori.archiving import wire
from kuramori.archiving.databases import DatabaseSettings
from kuramori.archiving.file_processor import FileOutcome, FileProcessor
from kuramori.archiving.folder import FileTask
from kuramori.archiving.storing import BlobStore, StoreCounts
from kuramori.archiving.task_queue import TaskQueue
from kuramori.archiving.worker_pool import WorkerPool
from kuramori.chunking.content_defined import ContentDefinedChunker, derive_seed
from kuramori.errors import KuramoriError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.processors import available_processors
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.memory_release import keep_large_blocks_apart
from kuramori.repository.pack_commits import shared_commits
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer, PackStored
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer

_WORTH_WORKERS_FILES = 600
_WORTH_WORKERS_BYTES = 48 * 1024 * 1024
_QUEUE_TASKS = 48
_MAXIMUM_WORKERS = 8


class BlobWriter:
    """Stores the blobs of one backup. Used by one thread.

    Small jobs are done in this process; once enough work is waiting, workers are started. To a disk of this
    machine they write packs by themselves; for a store that only this process can reach they hand over sealed blobs,
    which are packed here and sent by threads. While the store takes less than they make, this process waits in the
    packer, and they wait to be listened to. With databases no file is read in this process (see
    :mod:`kuramori.sources.sqlite_files`): there is always a worker.
    """

    def __init__(self, repository: Repository, *, compression: Compression, pack_size: int, workers: int | None,
                 with_atime: bool, databases: DatabaseSettings | None,
                 done: Callable[[FileTask, list[FileOutcome]], None],
                 saved: Callable[[FileTask, list[bytes], list[int]], None], check: Callable[[], None],
                 check_lock: Callable[[], None]) -> None:
        """Write into ``repository``, whose index is loaded.

        Args:
            workers: how many processes at most; None for as many as there are processors; 0 or 1
                for none besides this one.
            databases: how those that are met are saved; None to treat them as any file.
            done: told of every finished task,
            saved: ... or of its nodes and sizes, where all files were saved and there is no more to say.
            check: called before blobs are stored; raises to end the backup.
            check_lock: called when a pack or the index is about to be written, also in other threads; raises if the
                lock was lost, and only then.
        """
        self._repository = repository
        self._compression = compression
        self._pack_size = pack_size
        self._worker_count = _decide_workers(workers)
        self._with_atime = with_atime
        self._databases = databases
        self._done = done
        self._saved = saved
        self._check = check
        self._pending: set[bytes] = set()
        self._pending_trees: set[bytes] = set()
        self._queue = TaskQueue()
        self._tasks: dict[int, FileTask] = {}
        self._pool: WorkerPool | None = None
        self._index_writer = IndexWriter(repository, check_lock)
        self._sealer = BlobSealer(repository.key, repository.version, compression)
        self._commits = shared_commits(repository.backend, check_lock)
        self._tree_packer = self._packer(BlobType.TREE, self._trees_stored)
        self._seed = derive_seed(repository.key.reveal())
        self._data_packer = self._packer(BlobType.DATA, self._data_stored)
        self._store = BlobStore(self._sealer, self._data_packer, self._claim_here)
        self._processor: FileProcessor | None = None
        self.tree_counts = StoreCounts()

    def _packer(self, blob_type: BlobType, stored: PackStored) -> Packer:
        return Packer(self._repository.backend, self._repository.key, blob_type, stored, self._pack_size,
                      commits=self._commits, waiting=self._check)

    @property
    def processor(self) -> FileProcessor:
        """What saves files and streams in this process."""
        if self._processor is None:
            self._processor = FileProcessor(self._store, ContentDefinedChunker(self._seed), self._with_atime)
        return self._processor

    @property
    def index_names(self) -> list[str]:
        """Names of the index files that were written so far."""
        return self._index_writer.saved

    def data_counts(self) -> StoreCounts:
        """Return what of data was stored so far by this process and by finished workers."""
        total = StoreCounts()
        for counts in [self._store.counts, *([self._pool.counts] if self._pool else [])]:
            total.blobs += counts.blobs
            total.plain_bytes += counts.plain_bytes
            total.stored_bytes += counts.stored_bytes
        return total

    # --- blobs -------------------------------------------------------------------------------

    def _claim_here(self, ids: Sequence[bytes]) -> bytes:
        self._check()
        return self.claim(ids)

    def claim(self, ids: Sequence[bytes]) -> bytes:
        """Answer which data blobs are to be stored by whoever asks (1) and which are not (0)."""
        pending = self._pending
        if self._repository.distrusted:
            known = [self._repository.has_sound(BlobType.DATA, Id(blob_id)) for blob_id in ids]
        else:
            known = self._repository.index.has_each(BlobType.DATA, ids)
        add = pending.add  # whose None says yes: a blob that is asked for twice is claimed once
        return bytes([not there and blob_id not in pending and not add(blob_id)
                      for blob_id, there in zip(ids, known, strict=True)])

    def store_tree(self, document: bytes) -> str:
        """Store a tree unless it is there already; return its hexadecimal id."""
        tree_id = hash_id(document)
        if tree_id not in self._pending_trees and not self._repository.has_sound(BlobType.TREE, tree_id):
            self._pending_trees.add(tree_id)
            sealed, uncompressed_length = self._sealer.seal(BlobType.TREE, tree_id, document)
            self._tree_packer.add(tree_id, sealed, uncompressed_length)
            self.tree_counts.blobs += 1
            self.tree_counts.plain_bytes += len(document)
            self.tree_counts.stored_bytes += len(sealed)
        return tree_id.hex()

    def _data_stored(self, described: PackDescription) -> None:
        self._stored(described)
        self._pending.difference_update(described.ids())

    def _trees_stored(self, described: PackDescription) -> None:
        self._stored(described)
        self._pending_trees.difference_update(described.ids())

    def _stored(self, described: PackDescription) -> None:
        self._index_writer.add(described)
        if self._repository.distrusted:
            self._repository.distrusted.difference_update((row[0], Id(row[1])) for row in described.rows())

    # --- files -------------------------------------------------------------------------------

    def submit(self, task: FileTask) -> None:
        """Take files that must be read."""
        self._queue.put(task)

    def step(self) -> None:
        """Do some work: called often while folders are walked. Returns soon, unless so much is
        waiting that walking on would only cost memory."""
        if self._pool is None:
            if (self._queue.waiting_files <= _WORTH_WORKERS_FILES
                    and self._queue.waiting_bytes <= _WORTH_WORKERS_BYTES):
                return
            if self._worker_count <= 1 and self._databases is None:
                self._process_here()
                return
            self._start_workers(max(1, self._worker_count))
        assert self._pool is not None
        self._dispatch()
        self._pool.poll(0)
        while len(self._queue) > _QUEUE_TASKS:
            self._check()
            self._pool.poll(0.25)
            self._dispatch()

    def drain(self) -> None:
        """Return when every task is done."""
        self.step()
        while self._queue or (self._pool is not None and self._pool.unfinished):
            self._check()
            if self._pool is None:
                if self._databases is None:
                    self._process_here()
                    continue
                self._start_workers(1)
            assert self._pool is not None
            self._dispatch()
            self._pool.poll(0.25)

    def _start_workers(self, count: int) -> None:
        settings = wire.WorkerSettings(
            self._repository.backend.worker_location, self._repository.key.reveal(), self._repository.version,
            self._compression, self._pack_size, self._seed, self._with_atime, self._databases,
        )
        self._pool = WorkerPool(settings, count, claim=self.claim, stored=self._data_stored,
                                handed=self._data_packer.add_all, done=self._task_done, saved=self._task_saved)
        keep_large_blocks_apart()  # not in workers that are copies: they use the same few large blocks all the time

    def _dispatch(self) -> None:
        assert self._pool is not None
        while self._queue and self._pool.has_room():
            number, task = self._queue.take()
            self._tasks[number] = task
            self._pool.submit(number, task.folder.path, task.names, task.size)

    def _task_done(self, number: int, outcomes: list[FileOutcome]) -> None:
        self._done(self._tasks.pop(number), outcomes)

    def _task_saved(self, number: int, nodes: list[bytes], sizes: list[int]) -> None:
        self._saved(self._tasks.pop(number), nodes, sizes)

    def _process_here(self) -> None:
        while self._queue:
            self._check()
            _, task = self._queue.take()
            self._done(task, self.processor.process(task.folder.path, task.names))

    # --- the end -----------------------------------------------------------------------------

    def finish(self) -> None:
        """Return when all blobs are durable and in index files: packs first, then the index."""
        if self._pool is not None:
            self._pool.finish()
        self._data_packer.close_open()
        self._tree_packer.close_open()  # the last ones of both are on their way together
        self._data_packer.flush()
        self._tree_packer.flush()
        self._check()
        self._index_writer.flush()

    def rescue(self) -> None:
        """After an interruption: keep what was stored, so that the next run need not store it
        again."""
        if self._pool is not None:
            self._pool.rescue()
        self._data_packer.rescue()
        self._tree_packer.rescue()
        self._index_writer.flush()

    def close(self) -> None:
        """End workers and drop what is not durable. May be called more than once."""
        if self._pool is not None:
            self._pool.kill()
        for packer in (self._data_packer, self._tree_packer):
            with suppress(KuramoriError):
                packer.discard()
        if self._commits is not None:
            self._commits.close()


def _decide_workers(wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    return min(available_processors(), _MAXIMUM_WORKERS)
