"""The third part of a check: every byte of the packs (``--read-data``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kuramori.errors import N_, DamagedError, KuramoriError, Phrase, StoragePermissionError
from kuramori.ids import Id
from kuramori.maintenance.check_crew import CheckCrew
from kuramori.maintenance.check_index import PackRecord
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.pack_checkers import PackCheckers
from kuramori.maintenance.sound_packs import SEGMENT
from kuramori.model.blob import PackedBlob
from kuramori.processors import available_processors
from kuramori.progress import Progress
from kuramori.repository.memory_release import release_memory
from kuramori.repository.pack_header import read_pack_header
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import open_blob_briefly
from kuramori.repository.transfers import TransferThreads, end_transfers, is_remote, parallel_transfers
from kuramori.storage.backend import FileType, Handle

_MOST_THREADS = 4
"""More do not help: they would wait for the interpreter's lock."""
_WORTH_A_WORKER = 20_000
"""Small blobs that take as long to open as a worker to start."""
_MANY_BLOBS = 50_000
_SMALL_BLOB = 64 * 1024
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


class DataCheck:
    """Reads packs whole: the hash of each, every blob, and the header against the index."""

    def __init__(self, repository: Repository, records: dict[Id, PackRecord], result: CheckResult,
                 crew: CheckCrew) -> None:
        """Findings go into ``result``.

        Args:
            records: what the index says of each pack.
        """
        self._repository = repository
        self._records = records
        self._result = result
        self._crew = crew
        self.damaged: set[PackedBlob] = set()
        """Copies of blobs that cannot be had."""

    def run(self, packs: dict[Id, int], threads: int, check_lock: Callable[[], None], progress: Progress,
            read: Callable[[Id, int, bool], None] | None = None) -> None:
        """Read packs.

        Args:
            packs: which, and their size in bytes.
            threads: how many at once; 0 for one per processor.
            check_lock: called between packs; raises if the lock was lost.
            read: told of every pack that could be judged: its id, its bytes, and whether it is sound.

        Raises:
            LockLostError: the lock was lost.
        """
        progress.start("read packs", len(packs), sum(packs.values()))
        doubtful: dict[Id, int] = {}
        if sum(self._records[pack].blob_count for pack in packs) > _MANY_BLOBS:
            release_memory()  # what reading the index and the trees took for a moment
        for findings in self._verify_all(packs, threads):
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

    def _verify_all(self, packs: dict[Id, int], threads: int) -> Iterator[PackFindings]:
        backend = self._repository.backend
        suitable = min(_MOST_THREADS, available_processors())
        threads = min(threads or max(suitable, parallel_transfers(backend)), len(packs))
        blobs = sum(self._records[pack].blob_count for pack in packs)
        small = sum(packs.values()) <= blobs * _SMALL_BLOB
        workers = self._crew.take(max(threads - 1, 0) if small and blobs >= _WORTH_A_WORKER else 0)
        # For small blobs threads would fight over the interpreter's lock; large ones are hashed without it.
        checkers = PackCheckers(self._repository, workers, 1 if small and not is_remote(backend) else threads)
        if threads <= 1:
            yield from (self._verify(checkers, pack, size) for pack, size in packs.items())
            return
        pool: TransferThreads[PackFindings] = TransferThreads(threads)
        futures = [pool.submit(self._verify, checkers, pack, packs[pack]) for pack in self._longest_first(packs)]
        futures.reverse()
        try:
            while futures:  # in order, and a result is dropped when it was taken
                yield futures.pop().result()
        finally:
            end_transfers(backend, futures)
            pool.close()

    def _longest_first(self, packs: Iterable[Id]) -> list[Id]:
        """Return the packs, those with the most blobs first: none that takes long is left to one reader at the end."""
        return sorted(packs, key=lambda pack: self._records[pack].blob_count, reverse=True)

    # --- one pack ----------------------------------------------------------------------------

    def _verify(self, checkers: PackCheckers, pack: Id, size: int) -> PackFindings:
        if checkers.is_sound(pack, size, self._records[pack].digest):
            return PackFindings(pack, size)
        # What a second reading cannot confirm was an accident on the way.
        return self._verify_once(pack, size)

    def _verify_once(self, pack: Id, size: int) -> PackFindings:
        findings = PackFindings(pack, size)
        blobs: Sequence[PackedBlob] = ()
        try:
            blobs = read_pack_header(self._repository, pack, size)
        except KuramoriError as error:
            findings.errors.append(error)
            findings.header_wrong = True
        else:
            self._compare_with_index(findings, blobs)
        self._read_whole(findings, blobs)
        return findings

    def _compare_with_index(self, findings: PackFindings, blobs: Sequence[PackedBlob]) -> None:
        index = self._repository.index
        unknown = [blob for blob in blobs if not index.has_copy(blob)]
        if not unknown and len(blobs) == self._records[findings.pack].blob_count:
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
