"""Writes the content of files, from packs that are read once each."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from itertools import islice

from kuramori.errors import N_, KuramoriError, MissingBlobError, Phrase, RestoreError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.names import display_text
from kuramori.progress import Progress, wants_items
from kuramori.repository.repository import Repository
from kuramori.repository.transfers import TransferThreads, end_transfers, is_remote, parallel_transfers
from kuramori.restoring.jobs import FileJob, RestoreResult
from kuramori.restoring.metadata import MetadataApplier
from kuramori.restoring.target import TargetFolder, clear_at, status_at
from kuramori.restoring.whole_file import SMALL_BLOB, create_file, write_all, write_whole_file
from kuramori.restoring.worker_pool import Jobs, SmallFilePool, worker_count

_REOPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_COMPARED_AT_ONCE = 1 << 24
_WORTH_WORKERS = 2000
_BLOBS_TOGETHER = 64

_Needs = dict[Id, dict[PackedBlob, list[tuple[FileJob, int]]]]


class FileWriter:
    """Restores windows of files. :meth:`restore` is used by one thread; it starts others."""

    def __init__(self, repository: Repository, target: TargetFolder, result: RestoreResult, progress: Progress, *,
                 sparse: bool, threads: int | None) -> None:
        """Write from ``repository``, whose index is loaded, into ``target``; count in ``result``."""
        self._repository = repository
        self._target = target
        self._result = result
        self._progress = progress
        self._names_items = wants_items(progress)
        self._sparse = sparse
        self._threads = threads or max(3, parallel_transfers(repository.backend))
        self._remote = is_remote(repository.backend)
        self._applier = MetadataApplier()
        self._guard = threading.Lock()
        self._small_lane = threading.Lock()
        self._pool: SmallFilePool | None = None
        self._pool_needs: dict[Id, Jobs] = {}
        self._pool_files = 0
        self._again: _Needs = {}
        self.failed: set[tuple[bytes, bytes]] = set()
        """Folder in the target and name of each file that could not be written."""
        self._workers = 0 if threads == 1 or sparse else worker_count(repository)

    def restore(self, jobs: list[FileJob]) -> None:
        """Write the files; errors of single files go into the result."""
        needs: _Needs = {}
        for job in jobs:
            try:
                self._plan(job, needs)
            except KuramoriError as error:
                self._fail(job, error)
            except (OSError, OverflowError, ValueError) as error:
                self._fail(job, _restore_error(job, error))
        self._hand_out()
        self._run(needs)

    def finish(self) -> None:
        """Return when all files were dealt with."""
        if self._pool is None:
            return
        self._pool.finish()
        again, self._again = self._again, {}
        self._run(again)

    def close(self) -> None:
        """End the workers. May be called more than once."""
        if self._pool is not None:
            self._pool.close()

    def _hand_out(self) -> None:
        """Give the small files of a window to the workers, if there are enough of them."""
        needs, self._pool_needs = self._pool_needs, {}
        if self._pool is None and self._pool_files < _WORTH_WORKERS:
            self._pool_files = 0
            self._run({pack: {blob: [(job, 0) for job in jobs] for blob, jobs in blobs.items()}
                       for pack, blobs in needs.items()})
            return
        if self._pool is None:
            self._pool = SmallFilePool(self._repository, self._target, self._workers, made=self._count_all,
                                       failed=self._failed_elsewhere, damaged=self._damaged_elsewhere)
        self._pool.submit(needs)

    def _failed_elsewhere(self, job: FileJob, reason: str) -> None:
        self._fail(job, RestoreError(path=display_text(job.path), detail=reason))

    def _damaged_elsewhere(self, blob: PackedBlob, job: FileJob) -> None:
        # A worker knows one copy of the blob; here every copy is tried, and the error is named.
        self._again.setdefault(blob.pack, {}).setdefault(blob, []).append((job, 0))

    def _run(self, needs: _Needs) -> None:
        pool: TransferThreads[None] = TransferThreads(self._threads)
        running: set[Future[None]] = set()
        try:
            while needs or running:
                if needs and len(running) <= self._threads:
                    pack = next(iter(needs))
                    running.add(pool.submit(self._restore_pack, pack, needs.pop(pack)))
                    continue
                done, running = wait(running, return_when=FIRST_COMPLETED)
                _raise_first(done)
        finally:
            end_transfers(self._repository.backend, running)  # nobody writes into the target after this
            pool.close()

    # --- planning ----------------------------------------------------------------------------

    def _plan(self, job: FileJob, needs: _Needs) -> None:
        places, length = self._places(job)
        if length != job.node.size:
            error = RestoreError(path=display_text(job.path),
                                 detail=Phrase(N_("the snapshot says {size} bytes, but its blobs have {length}"),
                                               size=job.node.size, length=length))
            self._report(error)
        job.size = length
        if not job.fresh_folder and self._keep_equal(job, places):
            return
        if not places:
            self._create_whole(job, b"")
            return
        job.pieces = job.remaining = len(places)
        if self._workers and len(places) == 1 and job.fresh_folder and job.size < SMALL_BLOB:
            blob = places[0][0]
            self._pool_needs.setdefault(blob.pack, {}).setdefault(blob, []).append(job)
            self._pool_files += 1
            return
        if job.replaces:
            places = self._copy_equal(job, places)
            if not places:
                self._finish(job)
                return
        for blob, offset in places:
            needs.setdefault(blob.pack, {}).setdefault(blob, []).append((job, offset))

    def _places(self, job: FileJob) -> tuple[list[tuple[PackedBlob, int]], int]:
        """Return where the blobs of a file lie and where in the file they belong, and how many bytes they have."""
        places: list[tuple[PackedBlob, int]] = []
        offset = 0
        for text in job.node.content_ids:
            copies = self._repository.locate(BlobType.DATA, Id(bytes.fromhex(text)))
            if not copies:
                raise MissingBlobError(kind="data", blob=text)
            places.append((copies[0], offset))
            offset += copies[0].plain_length
        return places, offset

    def would_keep(self, job: FileJob) -> bool:
        """Tell whether a file of just this content stands at the name, and change nothing: for a dry
        run. Sets ``job.replaces``."""
        try:
            existing = self._open_equal(job, self._places(job)[0])
        except (KuramoriError, OSError, ValueError):
            return False
        if existing is None:
            return False
        os.close(existing)
        return True

    def _keep_equal(self, job: FileJob, places: list[tuple[PackedBlob, int]]) -> bool:
        """Deal with what stands at the name. Return True if it is a file of just this content, which
        then only gets its metadata."""
        existing = self._open_equal(job, places)
        if existing is None:
            return False
        try:
            self._applier.apply_to_open(existing, job.node, new=False)
        finally:
            os.close(existing)
        with self._guard:
            self._result.items_skipped += 1
            self._result.bytes_skipped += job.size
            self._progress.item("unchanged", display_text(job.path), job.size)
        return True

    def _open_equal(self, job: FileJob, places: list[tuple[PackedBlob, int]]) -> int | None:
        """Return a descriptor of what stands at the name if it is a file of just this content."""
        with self._target.folder(job.folder) as fd:
            status = status_at(job.name, fd)
            if status is None:
                return None
            job.replaces = True
            if status.st_size != sum(blob.plain_length for blob, _ in places) or status.st_nlink != 1:
                return None  # a second name may lie outside: such a file is replaced, never changed
            try:
                existing = os.open(job.name, _READ, dir_fd=fd)
            except OSError:
                return None
        equal = False
        try:
            opened = os.fstat(existing)
            if (opened.st_ino, opened.st_dev, opened.st_nlink) == (status.st_ino, status.st_dev, 1):
                equal = all(_holds(existing, blob, offset) for blob, offset in places)
        finally:
            if not equal:
                os.close(existing)
        return existing if equal else None

    def _copy_equal(self, job: FileJob, places: list[tuple[PackedBlob, int]]) -> list[tuple[PackedBlob, int]]:
        """Take what the file that is replaced has already; return what is still needed."""
        job.written_name = b".kuramori-" + secrets.token_hex(8).encode()
        with self._target.folder(job.folder) as fd:
            try:
                existing = os.open(job.name, _READ, dir_fd=fd)
            except OSError:
                return places
        needed = []
        try:
            for blob, offset in places:
                data = os.pread(existing, blob.plain_length, offset) if blob.plain_length <= _COMPARED_AT_ONCE else b""
                if hash_id(data) == blob.id:
                    self._write(job, offset, data)
                    job.remaining -= 1
                else:
                    needed.append((blob, offset))
        except OSError:
            return [place for place in places if place[1] >= (needed[-1][1] if needed else 0)]
        finally:
            os.close(existing)
        return needed

    # --- writing -----------------------------------------------------------------------------

    def _restore_pack(self, pack: Id, blobs: dict[PackedBlob, list[tuple[FileJob, int]]]) -> None:
        if sum(blob.length for blob in blobs) < SMALL_BLOB * len(blobs):
            # Small files are mostly system calls and Python: two threads would only fight over the
            # interpreter and the folders' locks (measured: three times slower than one).
            if self._remote:
                self._restore_small_blobs(pack, blobs)
                return
            with self._small_lane:
                self._restore_blobs(self._repository.read_blobs_briefly(pack, list(blobs)), blobs)
        else:
            self._restore_blobs(self._repository.read_blobs_briefly(pack, list(blobs)), blobs)

    def _restore_small_blobs(self, pack: Id, blobs: dict[PackedBlob, list[tuple[FileJob, int]]]) -> None:
        """Only what was fetched takes the lane: others fetch meanwhile."""
        read = self._repository.read_blobs(pack, list(blobs))
        while together := list(islice(read, _BLOBS_TOGETHER)):
            with self._small_lane:
                self._restore_blobs(together, blobs)

    def _restore_blobs(self, read: Iterable[tuple[PackedBlob, bytes | memoryview | KuramoriError]],
                       blobs: dict[PackedBlob, list[tuple[FileJob, int]]]) -> None:
        for blob, data in read:
            if isinstance(data, KuramoriError):
                data = self._from_elsewhere(blob, data)
            for job, offset in blobs[blob]:
                self._take(job, offset, data)

    def _from_elsewhere(self, blob: PackedBlob, error: KuramoriError) -> bytes | KuramoriError:
        if len(self._repository.index.lookup(blob.type, blob.id)) < 2:
            return error
        try:
            return self._repository.load_blob(blob.type, blob.id)
        except KuramoriError:
            return error

    def _take(self, job: FileJob, offset: int, data: bytes | memoryview | KuramoriError) -> None:
        try:
            if isinstance(data, KuramoriError):
                self._fail(job, RestoreError(path=display_text(job.path), detail=data))
            elif job.pieces == 1 and not job.replaces and not self._sparse:
                self._create_whole(job, data)
                return
            elif job.error is None:
                self._write(job, offset, data)
        except (OSError, OverflowError, ValueError) as error:
            self._fail(job, _restore_error(job, error))
        with job.guard:
            job.remaining -= 1
            last = job.remaining == 0
        if last:
            self._finish(job)

    def _create_whole(self, job: FileJob, data: bytes | memoryview) -> None:
        """Write a file that has one piece, with its metadata, in one go."""
        try:
            with self._target.folder(job.folder) as directory:
                write_whole_file(job.name, directory, data, job.node, self._applier)
        except (OSError, OverflowError, ValueError) as error:
            self._fail(job, _restore_error(job, error))
            return
        self._count(job)

    def _create(self, job: FileJob, directory: int) -> int:
        fd = create_file(job.written_name, directory)
        job.created = True
        return fd

    def _write(self, job: FileJob, offset: int, data: bytes | memoryview) -> None:
        with self._target.folder(job.folder) as directory:
            with job.guard:
                fd = self._open_ours(job, directory) if job.created else self._begin(job, directory)
            try:
                skipped = len(data) - len(bytes(data).lstrip(b"\0")) if self._sparse else 0
                if skipped < len(data):
                    write_all(fd, memoryview(data)[skipped:], offset + skipped)
            finally:
                os.close(fd)

    def _begin(self, job: FileJob, directory: int) -> int:
        fd = self._create(job, directory)
        status = os.fstat(fd)
        job.identity = (status.st_dev, status.st_ino)
        if self._sparse:
            os.ftruncate(fd, job.size)
        return fd

    def _open_ours(self, job: FileJob, directory: int) -> int:
        fd = os.open(job.written_name, _REOPEN, dir_fd=directory)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != job.identity or status.st_nlink != 1:
            os.close(fd)
            raise RestoreInterference("something else took its place while it was written")
        return fd

    def _finish(self, job: FileJob) -> None:
        if job.error is not None:
            self._drop(job)
            return
        try:
            with self._target.folder(job.folder) as directory:
                fd = self._open_ours(job, directory)
                try:
                    self._applier.apply_to_open(fd, job.node, new=True)
                finally:
                    os.close(fd)
                if job.written_name != job.name:
                    status = status_at(job.name, directory)
                    if status is not None and stat.S_ISDIR(status.st_mode):
                        os.rmdir(job.name, dir_fd=directory)
                    os.rename(job.written_name, job.name, src_dir_fd=directory, dst_dir_fd=directory)
        except (OSError, OverflowError, ValueError) as error:
            self._fail(job, _restore_error(job, error))
            self._drop(job)
            return
        self._count(job)

    def _drop(self, job: FileJob) -> None:
        """Remove what was written of a file that failed."""
        if not job.created:
            return
        with suppress(OSError), self._target.folder(job.folder) as directory:
            clear_at(job.written_name, directory)

    # --- counting ----------------------------------------------------------------------------

    def _count(self, job: FileJob) -> None:
        self._count_all([job])

    def _count_all(self, jobs: Sequence[FileJob]) -> None:
        size = sum(job.size for job in jobs)
        with self._guard:
            self._result.items_restored += len(jobs)
            self._result.bytes_restored += size
            self._progress.advance(len(jobs), size)
            if self._names_items:
                for job in jobs:
                    self._progress.item("updated" if job.replaces else "restored", display_text(job.path), job.size)

    def _fail(self, job: FileJob, error: KuramoriError) -> None:
        if job.error is None:
            job.error = error
            self.failed.add((job.folder, job.name))
            if not isinstance(error, RestoreError):
                error = RestoreError(path=display_text(job.path), detail=error)
            self._report(error)

    def _report(self, error: KuramoriError) -> None:
        with self._guard:
            self._result.errors.append(error)
            self._progress.warning(error)


def _raise_first(done: set[Future[None]]) -> None:
    for future in done:
        future.result()


class RestoreInterference(OSError):
    """Somebody changes the target while we write into it."""


def _restore_error(job: FileJob, error: Exception) -> RestoreError:
    detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return RestoreError(path=display_text(job.path), detail=detail)


def _holds(fd: int, blob: PackedBlob, offset: int) -> bool:
    if blob.plain_length > _COMPARED_AT_ONCE:
        return False
    data = os.pread(fd, blob.plain_length, offset)
    return len(data) == blob.plain_length and hash_id(data) == blob.id
