"""``forget``: remove snapshots, by rules or by name (format section 5.2).

Only snapshots go; what they alone used goes with the next prune, or at once with
:attr:`ForgetOptions.prune`, under the same lock. Nothing is removed unless every snapshot that the
rules look at can be read. Those of a group go one by one from the newest to the oldest, so a run
that was broken off is ended by the next with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain

from kuramori.errors import (
    N_,
    KuramoriError,
    LastSnapshotError,
    Phrase,
    RepositoryLockedError,
    RetainedSnapshotsNote,
    StorageError,
    UsageError,
)
from kuramori.maintenance.deletion_right import require_deletion
from kuramori.maintenance.index_files import remove_if_there, while_locked
from kuramori.maintenance.prune import PruneOptions, PruneResult, check_prune_options, prune_locked
from kuramori.maintenance.prune_plan import PrunePolicy
from kuramori.maintenance.size_limit import SizeLimitPlan, choose_floor, measure, oldest_first, plan_size_limit
from kuramori.maintenance.snapshot_choice import SnapshotChoice, choose_snapshots, read_snapshots
from kuramori.model.retention import (
    Counters,
    Grouping,
    GroupKey,
    KeptSnapshot,
    RetentionPolicy,
    Selection,
    apply_policy,
    group_snapshots,
)
from kuramori.model.snapshot import StoredSnapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.retention import retained_files
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter
from kuramori.repository.transfers import fetch_ahead
from kuramori.storage.backend import FileType


def _is_good(stored: StoredSnapshot) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ForgetOptions:
    """What to forget."""

    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    """Which snapshots of each group stay; means nothing where ``ids`` are given."""
    grouping: Grouping = field(default_factory=Grouping)
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    """Snapshots that it does not match are not touched and do not count."""
    ids: tuple[str, ...] = ()
    """Remove just these: ids, their beginnings, or ``latest`` of what the filter matches."""
    allow_remove_all: bool = False
    """With an empty policy and a filter: remove all that the filter matches."""
    dry_run: bool = False
    """Only say what would be removed."""
    prune: bool = False
    """Prune afterwards, if anything was removed."""
    prune_policy: PrunePolicy = field(default_factory=PrunePolicy)
    compression: Compression = Compression.AUTO
    """For what the prune compresses anew."""
    accept_missing: bool = False
    """Snapshots that the repository's ledger knows and that are gone were forgotten on purpose elsewhere."""
    max_size: int | None = None
    """Bytes that the repository may have: the oldest go until it fits (:mod:`kuramori.maintenance.size_limit`).
    Needs ``prune``, and works with rules or without; with ``ids`` only where ``expendable`` says what may go."""
    expendable: tuple[tuple[str, ...], ...] | None = None
    """What may go for ``max_size``, beside ``ids``: whole ids, in sets of which each goes whole or not at all, in the
    order in which they go. Rules mean nothing then. None: the oldest snapshots that the rules keep."""
    is_good: Callable[[StoredSnapshot], bool] = _is_good
    """Tells a whole snapshot from a poor one: the newest good one of each group is not given up for the size."""
    before_size_limit: Callable[[SizeLimitPlan], None] | None = None
    """Told what will go because of the size, before anything goes."""
    before_prune: Callable[[ForgetResult], None] | None = None
    """Told what was removed, before the prune begins."""
    no_lock: bool = False
    """Take no lock; only for a dry run."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(frozen=True, slots=True)
class ForgetGroup:
    """What the rules say of one group."""

    key: GroupKey
    selection: Selection


@dataclass(slots=True)
class ForgetResult:
    """What came of it."""

    dry_run: bool = False
    groups: list[ForgetGroup] = field(default_factory=list)
    """What the rules say; empty where ids were given."""
    removed: list[StoredSnapshot] = field(default_factory=list)
    """What was removed, or would be in a dry run."""
    not_found: list[KuramoriError] = field(default_factory=list)
    """One for each id that names no snapshot, or several."""
    errors: list[KuramoriError] = field(default_factory=list)
    """Snapshots that could not be removed. They are still there, and there was no prune."""
    retained: list[StoredSnapshot] = field(default_factory=list)
    """Should go, and may not yet: they are under object lock. A prune goes on all the same."""
    prune: PruneResult | None = None
    size_limit: SizeLimitPlan | None = None
    """What had to go because of :attr:`ForgetOptions.max_size`."""


def forget(repository: Repository, options: ForgetOptions, progress: Progress | None = None) -> ForgetResult:
    """Remove snapshots. Takes an exclusive lock.

    Raises:
        UsageError: the options make no sense, or there is no rule.
        LastSnapshotError: the rules would remove every snapshot of a group; nothing was removed.
        SizeLimitError: what must stay is more than the size allows; nothing was removed.
        UnreadableSnapshotsError: not every snapshot can be read; nothing was removed.
        RepositoryLockedError, LockLostError, StorageError: what was not removed is still there.
        DeletionRefusedError: the store lets nobody delete who comes with these credentials; nothing was removed.
        SnapshotsVanishedError: the ledger knows snapshots that are gone, and this is about rules or a
            prune; nothing was removed.
        PruneRefusedError: the snapshots are removed, and the prune did not start or went no further.
    """
    _refuse_nonsense(repository, options)
    progress = progress or NoProgress()
    if options.no_lock:
        return _forget(repository, options, None, progress)
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds, confirm=False,
                   waiting=options.lock_waiting) as lock:
        return _forget(repository, options, lock, progress)


def _refuse_nonsense(repository: Repository, options: ForgetOptions) -> None:
    """Raise if the options make no sense, also those of the prune, before anything is removed.

    Raises:
        UsageError
    """
    if options.no_lock and not options.dry_run:
        raise UsageError(detail=N_("only a dry run can do without a lock"))
    if options.max_size is not None and options.ids and options.expendable is None:
        raise UsageError(detail=N_("--max-size chooses what goes itself: name no snapshots"))
    if options.max_size is not None and not options.prune:
        raise UsageError(detail=N_("--max-size needs --prune: without it nothing becomes smaller"))
    if options.prune:
        check_prune_options(repository, PruneOptions(policy=options.prune_policy, compression=options.compression))
    if options.ids or not options.policy.empty or options.max_size is not None:
        return
    if not options.allow_remove_all:
        raise UsageError(detail=N_("no rule says what to keep (--keep-last and so on) and no snapshot is named, so "
                                   "nothing was removed"))
    if options.snapshot_filter.empty:
        raise UsageError(detail=N_("--unsafe-allow-remove-all needs --host, --tag or --path to say which snapshots"))


def _forget(repository: Repository, options: ForgetOptions, lock: Lock | None, progress: Progress) -> ForgetResult:
    result = ForgetResult(options.dry_run)
    choice = choose_snapshots(repository, options.ids, options.snapshot_filter)
    if not options.accept_missing and (options.prune or not options.ids):
        # Rules count what is there: with a part of it gone they remove what should stay.
        refuse_vanished(repository, choice.listed)
    elif options.accept_missing and not options.dry_run and repository.ledger is not None:
        repository.ledger.accept(choice.listed, "elsewhere")
    result.not_found = choice.not_found
    if options.ids or options.expendable is not None:
        going = choice.snapshots if options.ids else []
    else:
        going = _judge_groups(repository, options, choice, result)
    if options.max_size is not None:
        if lock is not None:
            lock.confirm()
        going = [*going, *_give_up(repository, options, choice, going, result, progress)]
    if options.dry_run:
        result.removed = going
    elif going:
        assert lock is not None
        require_deletion(repository)
        lock.confirm()
        going = _leave_retained(repository, going, result, progress)
        if repository.ledger is not None:
            repository.ledger.removed([stored.id for stored in going], "kuramori forget")
        _remove(repository, going, lock, result, progress)
    if options.prune and (result.removed or _is_too_large(result)) and not result.errors:
        nothing_left = bool(going) and len(going) == len(choice.snapshots) and not choice.others_exist
        _prune(repository, options, lock, result, nothing_left, progress)
    return result


def _judge_groups(repository: Repository, options: ForgetOptions, choice: SnapshotChoice,
                  result: ForgetResult) -> list[StoredSnapshot]:
    """Apply the rules to every group; return what goes.

    Raises:
        LastSnapshotError: a group would lose all.
    """
    now = repository.clock.now_nanoseconds()
    for key, group in group_snapshots(choice.snapshots, options.grouping):
        if options.policy.empty and options.max_size is not None:
            result.groups.append(ForgetGroup(key, Selection([KeptSnapshot(each, (), Counters()) for each in group])))
            continue
        selection = apply_policy(group, options.policy, now)
        if not selection.kept and not options.policy.empty:
            raise LastSnapshotError(location=repository.backend.location, group=_describe(key))
        result.groups.append(ForgetGroup(key, selection))
    return [stored for group in result.groups for stored in group.selection.removed]


def _give_up(repository: Repository, options: ForgetOptions, choice: SnapshotChoice, going: list[StoredSnapshot],
             result: ForgetResult, progress: Progress) -> list[StoredSnapshot]:
    """Return what goes beside what the rules drop, so that the rest fits into the size.

    Raises:
        SizeLimitError: what must stay does not fit.
    """
    assert options.max_size is not None
    if options.expendable is not None:
        # Somebody else may have forgotten some of them since they were chosen.
        known = {stored.id: stored for stored in read_snapshots(
            repository, sorted(choice.listed.intersection(chain.from_iterable(options.expendable))))}
        candidates = [tuple(known[name] for name in names if name in known) for names in options.expendable]
    else:
        candidates = _above_floor(options, result)
    repository.load_index(progress)
    plan = plan_size_limit(repository, options.max_size, listed=choice.listed,
                           dropped={stored.id for stored in going}, candidates=candidates, progress=progress)
    result.size_limit = plan
    gone = {weight.stored.id for weight in plan.going}
    result.groups = [ForgetGroup(group.key, _without(group.selection, gone)) for group in result.groups]
    if options.before_size_limit is not None:
        options.before_size_limit(plan)
    return [weight.stored for weight in plan.going]


def _above_floor(options: ForgetOptions, result: ForgetResult) -> list[tuple[StoredSnapshot, ...]]:
    """Return what the rules keep and may go for the size, in the order in which it goes."""
    kept = [[each.stored for each in group.selection.kept] for group in result.groups]
    floor = choose_floor(kept, lambda stored: any(map(stored.snapshot.has_tags, options.policy.tags)), options.is_good)
    return oldest_first(stored for group in kept for stored in group if stored.id not in floor)


def _without(selection: Selection, gone: set[str]) -> Selection:
    """Return a selection in which some of the kept ones go."""
    return Selection([each for each in selection.kept if each.stored.id not in gone],
                     selection.removed + [each.stored for each in selection.kept if each.stored.id in gone])


def _is_too_large(result: ForgetResult) -> bool:
    return result.size_limit is not None and result.size_limit.bytes_before > result.size_limit.limit


def _describe(key: GroupKey) -> Phrase:
    parts = [key.host] if key.host else []
    parts += [part for part in (" ".join(key.paths or ()), ",".join(key.tags or ())) if part]
    return Phrase(N_("the group {name}"), name=", ".join(parts)) if parts else Phrase(N_("the repository"))


def _leave_retained(repository: Repository, going: list[StoredSnapshot], result: ForgetResult,
                    progress: Progress) -> list[StoredSnapshot]:
    """Return those of ``going`` that may be deleted; tell of the others."""
    retained = retained_files(repository, FileType.SNAPSHOT, [stored.id for stored in going])
    if not retained:
        return going
    result.retained = [stored for stored in going if stored.id in retained]
    first = min(retained.values()).astimezone(repository.clock.now().tzinfo)
    progress.warning(RetainedSnapshotsNote(count=len(retained), first=first.isoformat(" ", "minutes")[:16]))
    return [stored for stored in going if stored.id not in retained]


def _remove(repository: Repository, going: list[StoredSnapshot], lock: Lock, result: ForgetResult,
            progress: Progress) -> None:
    """Remove snapshots. One that cannot be removed does not keep the others."""
    progress.start("remove snapshots", len(going))

    def remove(stored: StoredSnapshot) -> None:
        remove_if_there(repository, FileType.SNAPSHOT, stored.id)

    for stored, removed in fetch_ahead(repository.backend, remove, while_locked(going, lock.check)):
        try:
            removed()
            result.removed.append(stored)
            progress.item("deleted", stored.id)
        except StorageError as error:
            result.errors.append(error)
            progress.warning(error)
        progress.advance(1)
    progress.finish()


def _prune(repository: Repository, options: ForgetOptions, lock: Lock | None, result: ForgetResult,
           nothing_left: bool, progress: Progress) -> None:
    """Prune under the lock that is held."""
    if options.before_prune is not None:
        options.before_prune(result)
    ignored = frozenset(stored.id for stored in result.removed) if options.dry_run else frozenset[str]()
    policy = options.prune_policy
    if result.size_limit is not None:
        policy = replace(policy, max_unused=result.size_limit.unused_limit(policy.max_unused))
    result.prune = prune_locked(repository, PruneOptions(
        policy=policy, compression=options.compression, dry_run=options.dry_run,
        ignored_snapshots=ignored, allow_no_snapshots=nothing_left, accept_missing=options.accept_missing),
        lock, progress, may_delete=bool(result.removed) and not options.dry_run)
    if result.size_limit is not None and not options.dry_run:
        result.size_limit.bytes_after = measure(repository)
