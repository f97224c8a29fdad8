"""The third part of a check: every byte of the packs (``--read-data``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

from kuramori.errors import N_, DamagedError, KuramoriError, Phrase, StoragePermissionError
from kuramori.ids import Id
from kuramori.maintenance.check_crew import CheckCrew
from kuramori.maintenance.check_index import PackRecord
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.pack_readers import PackReaders
from kuramori.maintenance.sound_packs import SEGMENT, sound_digest
from kuramori.model.blob import PackedBlob
from kuramori.processors import available_processors
from kuramori.progress import Progress
from kuramori.repository.memory_release import release_memory
from kuramori.repository.pack_header import read_pack_header
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import open_blob_briefly
from kuramori.repository.transfers import is_remote, parallel_transfers
from kuramori.repository.worker_process import WorkerProcess
from kuramori.storage.backend import FileType, Handle

_MOST_THREADS = 4
"""More do not help: they would wait for the interpreter's lock."""
_WORTH_A_WORKER = 20_000
"""Small blobs that take as long to open as a worker to start."""
_MANY_BLOBS = 50_000
_SMALL_BLOB = 64 * 1024
_INDEX_BYTES = 40
"""Of an index file for each blob: it is as long as its id at least, which cannot be compressed."""
_BLOBS_NAMED = 10
"""Damaged blobs of one pack that are named one by one."""


@dataclass(slots=True)
class PackFindings:
    """What is wrong with one pack."""

    pack: Id
    size: int
    errors: list[KuramoriError] = field(default_factory=list)
    damaged: list[PackedBlob] = field(default_factory=list)
    """Blobs that cannot be had from this pack."""
    header_wrong: bool = False
    """The header cannot be read, or says something else than the index."""

    @property
    def conclusive(self) -> bool:
        """Whether this tells of the pack and not of a network or of rights: those may be others tomorrow."""
        return not any(error.retryable or isinstance(error, StoragePermissionError) for error in self.errors)


_Judgement: TypeAlias = PackFindings | bytes | None
"""Of a pack: what is wrong with it, or, as long as the index is unknown, what :func:`sound_digest` says."""


class DataCheck:
    """Reads packs whole: the hash of each, every blob, and the header against the index. For a ``with`` block."""

    def __init__(self, repository: Repository, result: CheckResult, crew: CheckCrew) -> None:
        """Findings go into ``result``."""
        self._repository = repository
        self._records: dict[Id, PackRecord] | None = None
        self._result = result
        self._crew = crew
        self._readers: PackReaders[_Judgement] | None = None
        self.damaged: set[PackedBlob] = set()
        """Copies of blobs that cannot be had."""

    def __enter__(self) -> DataCheck:
        """Nothing more."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Read nothing more."""
        if self._readers is not None:
            self._readers.close()

    def read_ahead(self, packs: dict[Id, int], index_bytes: int, threads: int) -> None:
        """Have workers begin with packs that :meth:`run` will most likely be asked to read, if that is worth while.
        Until then this process is busy with the index and the trees.

        Args:
            packs: those that are there, and their size in bytes.
            index_bytes: how much there is of index files: it tells about how many blobs there are.
            threads: as of :meth:`run`.
        """
        threads = min(threads or _suitable_threads(), len(packs))
        blobs = index_bytes // _INDEX_BYTES
        if threads < 2 or blobs < _WORTH_A_WORKER or sum(packs.values()) > blobs * _SMALL_BLOB:
            return
        workers = self._crew.take(threads - 1)
        if not workers:
            return
        self._readers = PackReaders(self._repository, threads, self._judge)
        self._readers.add_workers(workers)
        self._readers.begin(sorted(packs.items(), key=itemgetter(1), reverse=True))

    @property
    def reads_ahead(self) -> bool:
        """Whether there are workers that read ahead."""
        return self._readers is not None

    def spare_worker(self) -> WorkerProcess | None:
        """Return a worker that has read ahead, if nothing is left to read ahead."""
        return None if self._readers is None else self._readers.spare_worker()

    def run(self, records: dict[Id, PackRecord], packs: dict[Id, int], threads: int, check_lock: Callable[[], None],
            progress: Progress, read: Callable[[Id, int, bool], None] | None = None) -> None:
        """Read packs.

        Args:
            records: what the index, which is the repository's now, says of each pack.
            packs: which, and their size in bytes.
            threads: how many at once; 0 for one per processor.
            check_lock: called between packs; raises if the lock was lost.
            read: told of every pack that could be judged: its id, its bytes, and whether it is sound.

        Raises:
            LockLostError: the lock was lost.
        """
        progress.start("read packs", len(packs), sum(packs.values()))
        doubtful: dict[Id, int] = {}
        self._records = records
        if sum(records[pack].blob_count for pack in packs) > _MANY_BLOBS:
            release_memory()  # what reading the index and the trees took for a moment
        for findings in self._verify_all(records, packs, threads):
            check_lock()
            progress.advance(1, findings.size)
            self._result.packs_read += 1
            self._result.bytes_read += findings.size
            if findings.header_wrong:
                doubtful[findings.pack] = findings.size
            self._take(findings)
            if read is not None and findings.conclusive:
                read(findings.pack, findings.size, not findings.errors)
        for findings in self._verify_by_index(doubtful):
            self._take(findings)
        progress.finish()

    def _take(self, findings: PackFindings) -> None:
        self._result.errors.extend(findings.errors)
        self.damaged.update(findings.damaged)
        if findings.errors:
            self._result.broken_packs.append(findings.pack.hex())

    def _verify_all(self, records: dict[Id, PackRecord], packs: dict[Id, int], threads: int) -> Iterator[PackFindings]:
        """Yield what is wrong with each pack, in order."""
        backend = self._repository.backend
        threads = min(threads or max(_suitable_threads(), parallel_transfers(backend)), len(packs))
        if threads <= 1 and self._readers is None:
            for pack, size in packs.items():
                yield self._findings(records, pack, size, sound_digest(self._repository, pack, size))
            return
        blobs = sum(records[pack].blob_count for pack in packs)
        small = sum(packs.values()) <= blobs * _SMALL_BLOB
        readers = self._readers
        if readers is None:
            readers = self._readers = PackReaders(self._repository, threads, self._judge)
            readers.add_workers(self._crew.take(threads - 1) if small and blobs >= _WORTH_A_WORKER else ())
        # For small blobs threads would fight over the interpreter's lock; large ones are hashed without it.
        readers.add_own(1 if small and not is_remote(backend) else threads)
        readers.drop_others(set(packs.items()))
        # Those with the most blobs first: none that takes long is left to one reader at the end.
        readers.begin(sorted(packs.items(), key=lambda pack: records[pack[0]].blob_count, reverse=True))
        for pack, size in packs.items():
            judgement = readers.take(pack, size)  # which is dropped then
            yield judgement if isinstance(judgement, PackFindings) else self._findings(records, pack, size, judgement)

    # --- one pack ----------------------------------------------------------------------------

    def _judge(self, pack: Id, size: int, digest: bytes | None) -> _Judgement:
        """Return what is wrong with a pack; as long as nothing is known of it, what its header says."""
        records = self._records
        return digest if records is None or pack not in records else self._findings(records, pack, size, digest)

    def _findings(self, records: dict[Id, PackRecord], pack: Id, size: int, digest: bytes | None) -> PackFindings:
        if digest is not None and digest == records[pack].digest:
            return PackFindings(pack, size)
        # What a second reading cannot confirm was an accident on the way.
        return self._verify_once(records[pack], pack, size)

    def _verify_once(self, record: PackRecord, pack: Id, size: int) -> PackFindings:
        findings = PackFindings(pack, size)
        blobs: Sequence[PackedBlob] = ()
        try:
            blobs = read_pack_header(self._repository, pack, size)
        except KuramoriError as error:
            findings.errors.append(error)
            findings.header_wrong = True
        else:
            self._compare_with_index(findings, record, blobs)
        self._read_whole(findings, blobs)
        return findings

    def _compare_with_index(self, findings: PackFindings, record: PackRecord, blobs: Sequence[PackedBlob]) -> None:
        index = self._repository.index
        unknown = [blob for blob in blobs if not index.has_copy(blob)]
        if not unknown and len(blobs) == record.blob_count:
            return
        what = f"{unknown[0].type.value} blob {unknown[0].id.hex()}" if unknown else "fewer blobs"
        findings.header_wrong = True
        findings.errors.append(DamagedError(
            what=Phrase(N_("pack {pack}"), pack=findings.pack.hex()),
            detail=Phrase(N_("its header and the index do not agree: the header has {what}"), what=what)))

    def _read_whole(self, findings: PackFindings, blobs: Sequence[PackedBlob]) -> None:
        """Hash the pack from its first byte to its last, and open the blobs as they come by."""
        digest = hashlib.sha256()
        handle = Handle(FileType.PACK, findings.pack.hex())
        failed: list[KuramoriError] = []
        try:
            for start, end, group in _segments(blobs, findings.size):
                data = memoryview(self._repository.backend.load(handle, start, end - start))
                digest.update(data)
                self._open_all(data, start, group, findings, failed)
        except KuramoriError as error:
            findings.errors.append(error)
        else:
            if digest.digest() != findings.pack:
                findings.errors.append(DamagedError(what=Phrase(N_("pack {pack}"), pack=findings.pack.hex()),
                                                    detail=N_("its content does not match its name")))
        _name_failed(findings, failed)

    def _open_all(self, data: memoryview, start: int, group: Sequence[PackedBlob],
                  findings: PackFindings, failed: list[KuramoriError]) -> None:
        key = self._repository.key
        for blob in group:
            position = blob.offset - start
            try:
                open_blob_briefly(key, data[position : position + blob.length], blob)
            except DamagedError as error:
                failed.append(error)
                findings.damaged.append(blob)

    # --- packs whose header is of no use -----------------------------------------------------

    def _verify_by_index(self, packs: dict[Id, int]) -> Iterator[PackFindings]:
        """Open the blobs of packs where the index says that they lie: what readers will do."""
        for pack, blobs in self._repository.index.blobs_of(packs.keys()).items():
            findings = PackFindings(pack, packs[pack])
            failed: list[KuramoriError] = []
            for blob, content in self._repository.read_blobs_briefly(pack, blobs):
                if isinstance(content, KuramoriError):
                    failed.append(content)
                    findings.damaged.append(blob)
            _name_failed(findings, failed)
            yield findings

    def add_missing(self, packs: Iterable[Id]) -> None:
        """Count the blobs of packs that are not there as damaged."""
        for blobs in self._repository.index.blobs_of(packs).values():
            self.damaged.update(blobs)


def _suitable_threads() -> int:
    return min(_MOST_THREADS, available_processors())


def _name_failed(findings: PackFindings, failed: Sequence[KuramoriError]) -> None:
    findings.errors.extend(failed[:_BLOBS_NAMED])
    if len(failed) > _BLOBS_NAMED:
        findings.errors.append(DamagedError(
            what=Phrase(N_("pack {pack}"), pack=findings.pack.hex()),
            detail=Phrase(N_("{count} more of its blobs are damaged, too"), count=len(failed) - _BLOBS_NAMED)))


def _segments(blobs: Sequence[PackedBlob], size: int) -> Iterator[tuple[int, int, Sequence[PackedBlob]]]:
    """Cut a pack of ``size`` bytes into ranges that hold whole blobs. ``blobs`` follow each other
    from the beginning, as they do in a header; what comes after them is cut anywhere."""
    start = end = first = 0
    for number, blob in enumerate(blobs):
        if end > start and end + blob.length - start > SEGMENT:
            yield start, end, blobs[first:number]
            start, first = end, number
        end += blob.length
    if end > start and end - start >= SEGMENT:
        yield start, end, blobs[first:]
        start, first = end, len(blobs)
    while start < size:  # the last blobs and the header
        stop = size if first < len(blobs) else min(size, start + SEGMENT)
        yield start, stop, blobs[first:]
        start, first = stop, len(blobs)
