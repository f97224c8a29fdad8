"""``check``: is everything there, and is it what it should be (format section 5.4).

In this order: config and keys, index files against the packs that are there, snapshots with all
their trees, and on request every byte of the packs. What restic's check calls an error is one
here; beside that these are, each because a restore would suffer from it:

* key files that are malformed or do not match their names;
* file sizes that are not those of the blobs;
* names that cannot be restored, such as ``..``;
* an index that leaves gaps in a pack or lets blobs overlap;
* snapshots that this machine remembers and that nobody here removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial

from kuramori.errors import N_, KnownDamageHint, ListingChangedHint, StorageError, UsageError
from kuramori.ids import Id
from kuramori.ledger.pack_ledger import PackNotes
from kuramori.maintenance.check_crew import CheckCrew
from kuramori.maintenance.check_data import DataCheck
from kuramori.maintenance.check_index import IndexCheck, PackRecord
from kuramori.maintenance.check_keys import check_config, check_keys
from kuramori.maintenance.check_ledger import check_ledger
from kuramori.maintenance.check_result import CheckOptions, CheckResult
from kuramori.maintenance.check_subset import PackSubset, parse_subset
from kuramori.maintenance.check_trees import TreeCheck
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import NoProgress, Progress
from kuramori.repository.ledger_comparison import enumerate_ids
from kuramori.repository.listings import begin_listing_packs
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.repository.transfers import begin, is_remote
from kuramori.repository.worker_process import WorkerProcess
from kuramori.storage.backend import FileType

__all__ = ["CheckOptions", "CheckResult", "check"]


def check(repository: Repository, options: CheckOptions | None = None,
          progress: Progress | None = None) -> CheckResult:
    """Check a repository. Nothing is changed, and damage never ends it: it is in the result.

    The repository must have been opened without a cache, or with an empty one: a copy that was on this machine before
    proves nothing. Its index is loaded anew.

    Raises:
        UsageError: the options make no sense.
        RepositoryLockedError: somebody uses it (the check wants it for itself).
        LockLostError: the lock was lost meanwhile.
        StorageError: a listing failed.
    """
    options = options or CheckOptions()
    progress = progress or NoProgress()
    subset = _subset(options)
    result = CheckResult()
    with ExitStack() as stack:
        lock: Lock | None = None
        if not options.no_lock:
            lock = stack.enter_context(hold_lock(repository, exclusive=True, confirm=False,
                                                 retry_seconds=options.retry_lock_seconds))
        _check_locked(repository, options, subset, lock, result, progress)
        if lock is not None:
            lock.confirm()  # what was found while somebody else was at work is worth nothing
        if result.errors and lock is not None and _lists_more_now(repository):
            # Nobody may have written: the listing was not complete, and with it the index.
            result = CheckResult(hints=[ListingChangedHint()])
            _check_locked(repository, options, subset, lock, result, progress)
    result.broken_packs = sorted(set(result.broken_packs))
    return result


def _subset(options: CheckOptions) -> PackSubset | None:
    if options.read_data_subset is None:
        return PackSubset(percentage=100.0) if options.read_data else None
    if options.read_data:
        raise UsageError(detail=N_("all data and a subset of it cannot be read both: "
                                "give --read-data or --read-data-subset"))
    return parse_subset(options.read_data_subset)


def _check_locked(repository: Repository, options: CheckOptions, subset: PackSubset | None,
                  lock: Lock | None, result: CheckResult, progress: Progress) -> None:
    listing = begin(repository.backend, partial(list_snapshots, repository))
    check_config(repository, result)
    check_keys(repository, result)
    listed = listing()
    check_ledger(repository, listed, options, result)
    with CheckCrew(repository) as crew, DataCheck(repository, result, crew) as data_check:
        packs = _read_ahead(repository, data_check, options) if options.read_data else None
        index_check = IndexCheck(repository, result)
        complete = index_check.run(progress, packs)
        repository.index_names = index_check.index_names
        if not complete:
            return
        repository.index = index_check.index
        if repository.pack_ledger is not None:
            repository.pack_ledger.forget_others(index_check.packs.keys() | index_check.present.keys())
        if lock is not None:
            lock.confirm_meanwhile()
        tree_check = TreeCheck(repository, result)
        tree_check.run(progress, listed, _find_tree_worker(crew, data_check, index_check.tree_count))
        if subset is not None:
            chosen = {pack: index_check.present[pack] for pack in sorted(subset.choose(index_check.present))}
            _read_data(repository, data_check, index_check.packs, chosen, options, lock, progress)
    _tell_of_known_damage(repository, index_check.present.keys(), result)
    data_check.add_missing(index_check.packs.keys() - index_check.present.keys())
    tree_check.report_affected(find_lost(repository, data_check.damaged), progress)


def _read_ahead(repository: Repository, data_check: DataCheck,
                options: CheckOptions) -> Callable[[], dict[Id, int]] | None:
    """Have packs read while this process loads the index and looks at the trees. Return the listing of the packs, if
    that was needed for it."""
    if is_remote(repository.backend):
        return None  # several connections wait there already
    try:
        packs = begin_listing_packs(repository.backend)()
        index_bytes = sum(info.size for info in repository.backend.list(FileType.INDEX))
    except StorageError:
        return None  # whoever lists them again says so
    data_check.read_ahead(packs, index_bytes, options.read_concurrency)
    return lambda: packs


def _find_tree_worker(crew: CheckCrew, data_check: DataCheck, trees: int) -> Callable[[], WorkerProcess | None]:
    """Return what finds a worker that helps with so many trees, if one is worth it and has nothing else to do."""
    if data_check.reads_ahead:
        return data_check.spare_worker
    worker = crew.take_for_trees(trees)
    return lambda: worker


def _tell_of_known_damage(repository: Repository, packs: Collection[Id], result: CheckResult) -> None:
    """Say which packs were damaged when somebody last read them: what was not read now is not sound for that."""
    if repository.pack_ledger is None:
        return
    known = sorted(pack.hex() for pack in repository.pack_ledger.damaged() if pack in packs)
    result.known_damage = [pack for pack in known if pack not in result.broken_packs]
    if result.known_damage:
        result.hints.append(KnownDamageHint(count=len(result.known_damage), packs=enumerate_ids(result.known_damage)))


def _read_data(repository: Repository, data_check: DataCheck, records: dict[Id, PackRecord], packs: dict[Id, int],
               options: CheckOptions, lock: Lock | None, progress: Progress) -> None:
    """Read packs whole, and note which were sound."""
    notes = None if repository.pack_ledger is None else PackNotes(repository.pack_ledger)
    try:
        data_check.run(records, packs, options.read_concurrency, _do_nothing if lock is None else lock.check, progress,
                       None if notes is None else notes.add)
    finally:
        if notes is not None:
            notes.flush()


def _lists_more_now(repository: Repository) -> bool:
    """Tell whether there are index files that the check has not seen."""
    return any(info.name not in repository.index_names for info in repository.backend.list(FileType.INDEX))


def _do_nothing() -> None:
    pass


def find_lost(repository: Repository, damaged: set[PackedBlob]) -> set[tuple[BlobType, Id]]:
    """Return the blobs of which no copy is left that is not known to be damaged."""
    return {
        (blob.type, blob.id) for blob in damaged
        if all(copy in damaged for copy in repository.index.lookup(blob.type, blob.id))
    }
