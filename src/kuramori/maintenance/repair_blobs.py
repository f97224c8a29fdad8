"""``repair blobs``: fetch what snapshots need and the repository has lost from other repositories.

What is lost is found by walking all snapshots: trees that cannot be read, and data that no index
names or whose packs are gone. Another repository that holds the same blob gives it back, verified
by its id and sealed anew. Packs that are damaged are the business of ``repair packs``, which fetches
as well.

In this order: new packs, their index, and only when nothing is lost any more the index entries of
packs that are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from kuramori.errors import DamagedError, KuramoriError, MissingBlobError, RepositoryLockedError, StorageError
from kuramori.ids import Id, parse_id
from kuramori.maintenance.blob_copying import BlobCopier, SourceUnavailableError
from kuramori.maintenance.blob_sources import BlobSources, locked_sources
from kuramori.maintenance.index_files import IndexFiles
from kuramori.maintenance.tree_store import TreeStore
from kuramori.model.blob import BlobType
from kuramori.model.tree import tree_references
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index import Index
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.listings import list_packs
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.pack_loss import find_only_in
from kuramori.repository.packer import DEFAULT_PACK_SIZE
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots, load_snapshot


@dataclass(frozen=True, slots=True)
class RepairBlobsOptions:
    """How to repair."""

    pack_size: int = DEFAULT_PACK_SIZE
    no_source_lock: bool = False
    """Take no locks on the sources."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class RepairBlobsResult:
    """What was found and done. Blobs are named by their whole ids."""

    snapshots: int = 0
    """Snapshots that were looked through."""
    fetched: int = 0
    """Blobs that were fetched."""
    lost: list[tuple[BlobType, str]] = field(default_factory=list)
    """Blobs that snapshots need and nobody has whole."""
    unreadable: list[KuramoriError] = field(default_factory=list)
    """Snapshots whose own file cannot be read; what they need is not known."""
    forgotten_packs: list[str] = field(default_factory=list)
    """Packs that were gone, and that no index names any more, because nothing of them is missing."""


def repair_blobs(repository: Repository, sources: tuple[Repository, ...], options: RepairBlobsOptions | None = None,
                 progress: Progress | None = None) -> RepairBlobsResult:
    """Fetch what snapshots need and the repository has lost. Takes an exclusive lock, and shared ones
    on the sources; the index is empty afterwards.

    Args:
        sources: other repositories, in the order of preference.

    Raises:
        SameRepositoryError: a source is the repository itself.
        DamagedError: an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: what was fetched may be stored already; the
            next run does the rest.
    """
    options = options or RepairBlobsOptions()
    progress = progress or NoProgress()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock, \
            locked_sources(sources, lock, progress, no_lock=options.no_source_lock,
                           retry_seconds=options.retry_lock_seconds, waiting=options.lock_waiting) as held:
        return _Repair(repository, held, options, lock, progress).run()


class _Repair:
    """One run."""

    def __init__(self, repository: Repository, sources: BlobSources, options: RepairBlobsOptions, lock: Lock,
                 progress: Progress) -> None:
        self._repository = repository
        self._sources = sources
        self._options = options
        self._lock = lock
        self._progress = progress
        self._index_files = IndexFiles(repository)
        self._result = RepairBlobsResult()
        self._absent: set[Id] = set()
        """Packs that the index names and that are not there."""
        self._only_absent: set[tuple[BlobType, bytes]] = set()
        """Blobs that lie in no other pack."""
        self._wanted: dict[Id, None] = {}
        """Data blobs that are needed and lost."""

    def run(self) -> RepairBlobsResult:
        """Do it."""
        self._index_files.read(self._progress)
        index = self._repository.index = self._index_files.index
        there = list_packs(self._repository.backend, set(index.pack_ids())).sizes
        self._absent = {pack for pack in index.pack_ids() if pack not in there}
        self._only_absent = find_only_in(index, lambda pack: pack in self._absent)
        store = TreeStore(self._repository, self._lock.check, pack_size=self._options.pack_size)
        try:
            self._walk(store)
            store.flush()
        finally:
            store.close()
            self._progress.finish()
        self._result.fetched += store.stored
        for source in self._sources.repositories:
            self._copy_data(source)
        self._result.lost += [(BlobType.DATA, blob_id.hex()) for blob_id in self._wanted]
        if self._absent and not self._result.lost and not self._result.unreadable:
            writer = IndexWriter(self._repository, self._lock.check)
            self._index_files.rewrite(writer, self._absent, self._lock.check, self._progress)
            self._result.forgotten_packs = sorted(pack.hex() for pack in self._absent)
            self._repository.forget_reading(self._absent)
        self._repository.index = Index()
        self._repository.index_names = set()
        return self._result

    # --- looking -----------------------------------------------------------------------------

    def _walk(self, store: TreeStore) -> None:
        """Go through every different tree; fetch those that are lost, and note lost data."""
        names = sorted(list_snapshots(self._repository))
        self._progress.start("check snapshots", len(names))
        seen: set[Id] = set()
        for name in names:
            try:
                waiting = [load_snapshot(self._repository, name).snapshot.tree]
            except DamagedError as error:
                self._result.unreadable.append(error)
                continue
            self._result.snapshots += 1
            while waiting:
                self._lock.check()
                waiting += self._visit(waiting.pop(), seen, store)
            self._progress.advance(1)

    def _visit(self, text: str, seen: set[Id], store: TreeStore) -> list[str]:
        """Take in one tree; return those below it."""
        try:
            tree_id = parse_id(text)
        except ValueError:
            return []  # no repository has it; check says so
        if tree_id in seen:
            return []
        seen.add(tree_id)
        document = self._load_tree(tree_id, store)
        if document is None:
            self._result.lost.append((BlobType.TREE, text))
            return []
        try:
            data, trees = tree_references(document)
        except (msgspec.DecodeError, ValueError):
            return []  # stored so by whoever made it: nobody has a better one
        for blob in data:
            self._need(blob)
        return trees

    def _need(self, text: str) -> None:
        try:
            blob_id = parse_id(text)
        except ValueError:
            return
        if not self._repository.index.has(BlobType.DATA, blob_id) or (BlobType.DATA, blob_id) in self._only_absent:
            self._wanted[blob_id] = None

    def _load_tree(self, tree_id: Id, store: TreeStore) -> bytes | None:
        try:
            return self._repository.load_blob(BlobType.TREE, tree_id)
        except (MissingBlobError, DamagedError, StorageError) as error:
            if error.retryable:
                raise
        document = self._sources.fetch(BlobType.TREE, tree_id)
        if document is not None:
            store.store(document)
        return document

    # --- fetching ----------------------------------------------------------------------------

    def _copy_data(self, source: Repository) -> None:
        """Copy the wanted data blobs that a source has."""
        had = [blob_id for blob_id in self._wanted if source.index.has(BlobType.DATA, blob_id)]
        if not had:
            return
        copier = BlobCopier(source, self._repository, compression=Compression.AUTO,
                            pack_size=self._options.pack_size, check=self._lock.check, check_lock=self._lock.check)
        self._progress.start("copy", len(had))
        try:
            for blob_id in had:
                copier.queue(blob_id)
                if copier.window_is_full:
                    copier.run(self._progress)
            copier.run(self._progress)
            copier.flush()
        except SourceUnavailableError as failure:
            copier.keep()
            raise failure.error from None
        finally:
            copier.close()
            self._progress.finish()
        for blob_id in had:
            if any(copy.pack not in self._absent for copy in self._repository.index.lookup(BlobType.DATA, blob_id)):
                del self._wanted[blob_id]
                self._result.fetched += 1
