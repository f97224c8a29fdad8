"""``repair index``: write the index anew from what the packs themselves say (format section 5.5).

Every pack lists its blobs in its own header, so no index is ever lost for good. Index files that
are sound stay as they are; a pack's header is read where no index file describes the pack, or where
the description does not fit the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from kuramori.errors import DamagedError, KuramoriError, RepositoryLockedError
from kuramori.ids import Id
from kuramori.maintenance.index_files import IndexFiles
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import NoProgress, Progress
from kuramori.repository.index import Index
from kuramori.repository.index_writer import Description, IndexWriter
from kuramori.repository.listings import list_packs
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.pack_header import COMPRESSED_ENTRY, EMPTY_PACK, PLAIN_ENTRY, read_pack_header
from kuramori.repository.pack_loss import find_only_in
from kuramori.repository.repository import Repository

_HEADERS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class RepairIndexOptions:
    """How to repair."""

    read_all_packs: bool = False
    """Read every pack's header, and believe no index file where the header can be read."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class RepairIndexResult:
    """What was found and done. Packs and index files are named by their whole ids."""

    packs: int = 0
    """Packs that are there."""
    packs_read: int = 0
    """Packs whose header was read."""
    added: list[str] = field(default_factory=list)
    """Packs that no index file described."""
    corrected: list[str] = field(default_factory=list)
    """Packs that were described wrongly."""
    missing: list[str] = field(default_factory=list)
    """Packs that were described and are not there; nothing names them any more."""
    blobs_lost: int = 0
    """Blobs of which no pack that is there has a copy, as far as is known."""
    damaged_packs: list[KuramoriError] = field(default_factory=list)
    """Packs whose header cannot be read. What an index file says of them is kept, as far as it lies
    within the file: ``repair packs`` can save it."""
    damaged_indexes: list[str] = field(default_factory=list)
    """Index files that could not be read and were removed."""
    changed: bool = False
    """Whether index files were written and removed."""


def repair_index(repository: Repository, options: RepairIndexOptions | None = None,
                 progress: Progress | None = None) -> RepairIndexResult:
    """Write the index anew where it is wrong. Takes an exclusive lock. The repository's index is
    empty afterwards.

    Old index files are deleted when the new ones are durable. No pack is changed or removed.

    Raises:
        RepositoryLockedError, LockLostError, StorageError: nothing is lost, and the next run does
            the rest.
    """
    options = options or RepairIndexOptions()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock:
        return repair_index_locked(repository, options, lock, progress)


def repair_index_locked(repository: Repository, options: RepairIndexOptions, lock: Lock,
                        progress: Progress | None = None) -> RepairIndexResult:
    """Do what :func:`repair_index` does under an exclusive lock that is held already.

    Raises:
        As :func:`repair_index`.
    """
    return _Repair(repository, options, lock, progress or NoProgress()).run()


@dataclass(slots=True)
class _Described:
    """What the index files say of a pack, in sums."""

    bytes: int = EMPTY_PACK
    blob_bytes: int = 0
    end: int = 0

    def fits(self, size: int) -> bool:
        """Tell whether it can be true for a file of ``size`` bytes."""
        return self.bytes == size and self.blob_bytes == self.end


class _Repair:
    """One run."""

    def __init__(self, repository: Repository, options: RepairIndexOptions, lock: Lock, progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._lock = lock
        self._progress = progress
        self._index_files = IndexFiles(repository)
        self._writer = IndexWriter(repository, lock.check)
        self._result = RepairIndexResult()
        self._described_anew: set[Id] = set()
        """Packs of which the old description does not hold."""
        self._lost: set[tuple[BlobType, bytes]] = set()

    def run(self) -> RepairIndexResult:
        """Do it."""
        result = self._result
        self._index_files.read(self._progress, self._progress.warning)
        sizes = list_packs(self._repository.backend, set(self._index_files.index.pack_ids())).sizes
        result.packs = len(sizes)
        result.damaged_indexes = list(self._index_files.unreadable)
        missing = [pack for pack in self._index_files.index.pack_ids() if pack not in sizes]
        result.missing = sorted(pack.hex() for pack in missing)
        self._find_lost(sizes)
        self._read_headers(sizes)
        result.blobs_lost = len(self._lost)
        leaving = {*missing, *self._described_anew}
        if leaving or self._index_files.untidy:
            self._index_files.rewrite(self._writer, leaving, self._lock.check, self._progress)
            result.changed = True
        self._repository.index = Index()
        self._repository.index_names = set()
        return result

    def _describe(self) -> dict[Id, _Described]:
        index = self._index_files.index
        described = {pack: _Described() for pack in index.pack_ids()}
        by_number = list(described.values())
        for _type, _id, _key, number, offset, length, uncompressed in index.copies():
            pack = by_number[number]
            pack.bytes += length + (COMPRESSED_ENTRY.size if uncompressed else PLAIN_ENTRY.size)
            pack.blob_bytes += length
            pack.end = max(pack.end, offset + length)
        return described

    def _read_headers(self, sizes: dict[Id, int]) -> None:
        """Read the headers of all packs that no index file describes as they are."""
        described = self._describe()
        packs = {pack: sizes[pack] for pack in sorted(sizes)
                 if self._options.read_all_packs or pack not in described or not described[pack].fits(sizes[pack])}
        self._result.packs_read = len(packs)
        self._progress.start("read packs", len(packs))
        for pack, found in self._headers(packs):
            self._lock.check()
            if isinstance(found, DamagedError):
                self._result.damaged_packs.append(found)
                self._progress.warning(found)
                self._keep_what_fits(pack, packs[pack])
            else:
                self._take(pack, found, described.get(pack), packs[pack])
            self._progress.advance(1)
        self._progress.finish()

    def _headers(self, packs: dict[Id, int]) -> Iterator[tuple[Id, list[PackedBlob] | DamagedError]]:
        waiting = iter(packs.items())
        with ThreadPoolExecutor(max(1, self._repository.backend.connections)) as executor:
            while some := list(islice(waiting, _HEADERS_AT_ONCE)):
                yield from zip((pack for pack, _ in some), executor.map(self._header, some), strict=True)

    def _header(self, pack: tuple[Id, int]) -> list[PackedBlob] | DamagedError:
        try:
            return read_pack_header(self._repository, *pack)
        except DamagedError as error:
            return error

    def _take(self, pack: Id, blobs: list[PackedBlob], known: _Described | None, size: int) -> None:
        """Describe a pack as its header does."""
        self._lost.difference_update((blob.type, blob.id) for blob in blobs)
        if known is None:
            self._result.added.append(pack.hex())
        elif not known.fits(size):
            self._result.corrected.append(pack.hex())
        elif all(self._index_files.index.has_copy(blob) for blob in blobs):
            return
        else:
            self._result.corrected.append(pack.hex())
        self._writer.describe(pack, _descriptions(blobs))
        self._described_anew.add(pack)

    def _keep_what_fits(self, pack: Id, size: int) -> None:
        """Keep what the index files say of a pack whose header is lost, as far as it can be true."""
        blobs = self._blobs_of(pack)
        fitting = [blob for blob in blobs if blob[2] + blob[3] <= size]
        if len(fitting) == len(blobs):
            return
        self._described_anew.add(pack)
        if fitting:
            self._writer.describe(pack, fitting)

    def _blobs_of(self, pack: Id) -> list[Description]:
        index = self._index_files.index
        return sorted(((blob_type, blob_id, offset, length, uncompressed)
                       for blob_type, blob_id, _key, number, offset, length, uncompressed in index.copies()
                       if index.pack_at(number) == pack), key=lambda blob: blob[2])

    def _find_lost(self, sizes: dict[Id, int]) -> None:
        """Note which blobs the index files know only from packs that are gone."""
        if self._result.missing:
            self._lost = find_only_in(self._index_files.index, lambda pack: pack not in sizes)


def _descriptions(blobs: list[PackedBlob]) -> list[Description]:
    return [(blob.type, blob.id, blob.offset, blob.length, blob.uncompressed_length) for blob in blobs]
