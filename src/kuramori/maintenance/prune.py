"""``prune``: remove what no snapshot uses (format section 5.3).

In this order, so that it may be broken off at any instant: what must stay of packs that go is
written into new packs; when these are durable, into new index files; when those are, the old index
files are deleted, and last the old packs. Until then nothing that any index names is missing.

It refuses to start when it cannot know what is in use: a snapshot or a tree that cannot be read, a
blob that is used and not in the index, a pack that is used and not there, no snapshot at all, or
snapshots that this machine remembers and that nobody here removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from kuramori.errors import (
    N_,
    KuramoriError,
    ObjectLockedError,
    Phrase,
    PruneRefusedError,
    RepositoryLockedError,
    RetainedPacksNote,
    StorageError,
    UsageError,
)
from kuramori.ids import Id, parse_id
from kuramori.maintenance.deletion_right import require_deletion
from kuramori.maintenance.index_files import IndexFiles, remove_if_there, while_locked
from kuramori.maintenance.prune_plan import PrunePlan, PrunePolicy, UnusedLimit, plan_prune
from kuramori.maintenance.repack import Repacker
from kuramori.maintenance.used_blobs import UsedBlobs, find_used_blobs
from kuramori.model.snapshot import StoredSnapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index import Index
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.listings import list_packs
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots, load_each_snapshot
from kuramori.repository.transfers import begin, fetch_ahead
from kuramori.storage.backend import FileType

__all__ = ["PruneOptions", "PrunePolicy", "PruneResult", "UnusedLimit", "check_prune_options", "prune",
           "prune_locked"]

_LEFTOVER_SECONDS = 24 * 3600.0
_ENOUGH_FAILURES = 10
"""When so many packs could not be removed, the others will not be either."""


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How to prune."""

    policy: PrunePolicy = field(default_factory=PrunePolicy)
    compression: Compression = Compression.AUTO
    """For what is compressed anew."""
    dry_run: bool = False
    """Only make the plan."""
    ignored_snapshots: frozenset[str] = frozenset()
    """Ids of snapshots that count as forgotten; only for a dry run."""
    allow_no_snapshots: bool = False
    """Also where no snapshot is left: then everything goes."""
    accept_missing: bool = False
    """Snapshots that the repository's ledger knows and that are gone were forgotten on purpose elsewhere."""
    recover_without_space: str | None = None
    """The repository's id, to delete the index before anything is written: only where no space is
    left at all. Broken off, it leaves a repository without index, which ``repair index`` heals."""
    no_lock: bool = False
    """Take no lock; only for a dry run."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class PruneResult:
    """What came of it."""

    plan: PrunePlan
    """What was to be done, and is done unless it was a dry run."""
    dry_run: bool = False
    errors: list[KuramoriError] = field(default_factory=list)
    """Packs that could not be removed; nobody needs them, and the next prune tries again."""
    packs_removed: int = 0
    packs_retained: int = 0
    """Nobody needs them, and they may not be removed yet: they are under object lock."""
    packs_written: int = 0
    bytes_written: int = 0
    """Of blobs in the new packs."""
    index_files_written: int = 0
    seconds: float = 0.0


def prune(repository: Repository, options: PruneOptions | None = None,
          progress: Progress | None = None) -> PruneResult:
    """Remove what no snapshot uses. Takes an exclusive lock; the index is loaded anew, and is empty
    afterwards if anything was changed.

    Raises:
        UsageError: the options make no sense.
        PruneRefusedError: what is in use cannot be known, or would be lost.
        SnapshotsVanishedError: the ledger knows snapshots that are gone.
        DeletionRefusedError: the store lets nobody delete who comes with these credentials; nothing was changed.
        DamagedError: an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: nothing that is in use is lost, and the
            next prune does the rest.
    """
    options = options or PruneOptions()
    check_prune_options(repository, options)
    if options.no_lock:
        return prune_locked(repository, options, None, progress)
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds, confirm=False,
                   waiting=options.lock_waiting) as lock:
        return prune_locked(repository, options, lock, progress)


def prune_locked(repository: Repository, options: PruneOptions, lock: Lock | None,
                 progress: Progress | None = None, *, may_delete: bool = False) -> PruneResult:
    """Do what :func:`prune` does under an exclusive lock that is held already; None is allowed for
    a dry run.

    Args:
        may_delete: the store has let us delete just now, and need not be asked.

    Raises:
        As :func:`prune`.
    """
    check_prune_options(repository, options)
    if lock is None and not options.dry_run:
        raise UsageError(detail=N_("only a dry run can do without a lock"))
    started = repository.clock.monotonic()
    if not options.dry_run and not may_delete:
        require_deletion(repository)
    result = _Prune(repository, options, lock, progress or NoProgress()).run()
    result.seconds = repository.clock.monotonic() - started
    return result


def check_prune_options(repository: Repository, options: PruneOptions) -> None:
    """Raise if the options make no sense, before anything is done.

    Raises:
        UsageError
    """
    policy = options.policy
    if options.no_lock and not options.dry_run:
        raise UsageError(detail=N_("only a dry run can do without a lock"))
    if options.ignored_snapshots and not options.dry_run:
        raise UsageError(detail=N_("only a dry run can leave snapshots out of account"))
    if policy.repack_uncompressed and options.compression is Compression.OFF:
        raise UsageError(detail=N_("--repack-uncompressed compresses: it cannot go with --compression off"))
    if policy.repack_uncompressed and repository.version < 2:
        raise UsageError(detail=N_("a repository of version 1 cannot hold compressed data"))
    if policy.repack_smaller_than is not None and policy.repack_smaller_than > policy.pack_size:
        raise UsageError(detail=N_("--repack-smaller-than must not exceed the size of packs"))
    if options.recover_without_space not in (None, repository.id):
        raise UsageError(detail=Phrase(N_("give the repository's id, {id}, to --unsafe-recover-no-free-space"),
                                       id=repository.id))


class _Prune:
    """One run."""

    def __init__(self, repository: Repository, options: PruneOptions, lock: Lock | None, progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._lock = lock
        self._progress = progress
        self._index_files = IndexFiles(repository)
        self._snapshots: set[str] = set()

    def run(self) -> PruneResult:
        """Look at everything, decide, and do it."""
        # The packs first: one that somebody stores without regard to our lock, together with its
        # index, between this listing and the next, is not taken for a leftover.
        pack_sizes = self._list_packs()
        self._index_files.read(self._progress)
        self._repository.index = self._index_files.index
        self._repository.index_names = self._index_files.names
        if self._lock is not None:
            self._lock.confirm()
        self._look_again_for_missing(pack_sizes)
        used = self._find_used(bool(pack_sizes))
        plan = plan_prune(self._repository.index, used, pack_sizes, self._policy(), self._repository.version)
        result = PruneResult(plan, self._options.dry_run)
        if self._options.dry_run:
            return result
        self._refuse_what_appeared()
        if self._options.accept_missing and self._repository.ledger is not None:
            self._repository.ledger.accept(self._snapshots, "elsewhere")
        self._repository.backend.remove_leftovers(_LEFTOVER_SECONDS)
        self._execute(plan, used, result)
        return result

    def _policy(self) -> PrunePolicy:
        if self._options.recover_without_space is None:
            return self._options.policy
        return PrunePolicy(max_repack_size=0)  # new packs would need space

    # --- looking -----------------------------------------------------------------------------

    def _list_packs(self) -> dict[Id, int]:
        self._progress.start("list packs")
        sizes = {parse_id(info.name): info.size for info in self._repository.backend.list(FileType.PACK)}
        self._progress.finish()
        return sizes

    def _look_again_for_missing(self, sizes: dict[Id, int]) -> None:
        """Take in packs that the index names and that the listing left out by accident."""
        missing = {pack for pack in self._repository.index.pack_ids() if pack not in sizes}
        if missing:
            found = list_packs(self._repository.backend, missing).sizes
            sizes.update((pack, found[pack]) for pack in missing & found.keys())

    def _find_used(self, packs_exist: bool) -> UsedBlobs:
        snapshots = self._load_snapshots()
        if not snapshots and packs_exist and not self._options.allow_no_snapshots:
            raise PruneRefusedError(detail=N_("there is no snapshot, so everything would go; if that is what you "
                                              "want, add --unsafe-allow-remove-all"))
        self._progress.start("find used data", len(snapshots))
        used = find_used_blobs(self._repository, snapshots, self._progress)
        self._progress.finish()
        return used

    def _load_snapshots(self) -> list[StoredSnapshot]:
        self._snapshots = list_snapshots(self._repository)
        if not self._options.accept_missing:
            refuse_vanished(self._repository, self._snapshots)
        if self._repository.ledger is not None:
            self._repository.ledger.observe(self._snapshots)
        ignored = self._options.ignored_snapshots
        found = []
        for _name, load in load_each_snapshot(self._repository, sorted(self._snapshots - ignored)):
            try:
                found.append(load())
            except KuramoriError as error:
                raise PruneRefusedError(detail=error) from None
        return found

    def _refuse_what_appeared(self) -> None:
        """Raise if there are snapshots or index files that the first listing did not show: it was not complete, or
        somebody writes without regard to our lock."""
        snapshots = begin(self._repository.backend, partial(list_snapshots, self._repository))
        unread = {info.name for info in self._repository.backend.list(FileType.INDEX)} - self._index_files.names
        if unread:
            raise PruneRefusedError(detail=Phrase(N_("index file {name} appeared meanwhile"), name=min(unread)[:8]))
        new = snapshots() - self._snapshots
        if new:
            raise PruneRefusedError(detail=Phrase(N_("snapshot {snapshot} appeared meanwhile"),
                                                  snapshot=min(new)[:8]))

    # --- doing -------------------------------------------------------------------------------

    def _execute(self, plan: PrunePlan, used: UsedBlobs, result: PruneResult) -> None:
        self._remove_packs(plan.unreferenced, result)
        leaving = plan.leaving
        writer = IndexWriter(self._repository, self._check)
        if self._options.recover_without_space is not None:
            self._index_files.delete_all(self._check)
            self._remove_packs(plan.removed, result)
            self._index_files.write_all(writer, leaving)
        elif leaving or self._index_files.untidy:
            self._repack(plan, used, leaving, writer, result)
            self._index_files.rewrite(writer, leaving, self._check, self._progress)
            self._remove_packs([*plan.repacked, *plan.removed], result)
        else:
            return
        result.index_files_written = len(writer.saved)
        self._repository.index = Index()
        self._repository.index_names = set()

    def _repack(self, plan: PrunePlan, used: UsedBlobs, leaving: set[Id], writer: IndexWriter,
                result: PruneResult) -> None:
        if not plan.repacked:
            return
        index = self._repository.index
        stays = [pack not in leaving for pack in index.pack_ids()]
        for number, record in index.records():
            if stays[record[2]]:
                used.settle(number)
        policy = self._options.policy
        repacker = Repacker(self._repository, used, writer, pack_size=policy.pack_size,
                            compression=self._options.compression, also_incompressible=policy.repack_uncompressed,
                            check=self._check)
        try:
            counts = plan.counts
            repacker.run(plan.repacked, counts.repacked.bytes - counts.repack_removed.bytes, self._progress)
        finally:
            repacker.close()
            self._progress.finish()
        if used.unsettled:
            raise PruneRefusedError(detail=Phrase(N_("{count} blobs would have been lost"), count=used.unsettled))
        result.packs_written = repacker.packs_written
        result.bytes_written = repacker.bytes_written

    def _remove_pack(self, pack: Id) -> None:
        remove_if_there(self._repository, FileType.PACK, pack.hex())

    def _remove_packs(self, packs: Collection[Id], result: PruneResult) -> None:
        """Remove packs that no index names. What cannot be removed does no harm."""
        self._progress.start("remove packs", len(packs))
        failures, retained = 0, list[str]()
        for _pack, remove in fetch_ahead(self._repository.backend, self._remove_pack, while_locked(packs, self._check)):
            try:
                remove()
                result.packs_removed += 1
            except ObjectLockedError as error:
                retained.append(str(error.fields["until"]))
            except StorageError as error:
                result.errors.append(error)
                self._progress.warning(error)
                failures += 1
                if failures == _ENOUGH_FAILURES:
                    break
            self._progress.advance(1)
        self._repository.forget_reading(packs)
        self._progress.finish()
        if retained:
            result.packs_retained += len(retained)
            self._progress.warning(RetainedPacksNote(count=len(retained), first=min(retained)))

    def _check(self) -> None:
        if self._lock is not None:
            self._lock.check()
