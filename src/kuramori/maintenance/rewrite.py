"""``rewrite``: new snapshots without some files, or with another host or time (format section 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from kuramori.errors import N_, KuramoriError, RepositoryLockedError, UsageError
from kuramori.ids import parse_id
from kuramori.maintenance.snapshot_replacing import (
    ChangedSnapshot,
    SnapshotSelection,
    make_successor,
    replace_snapshots,
    select_snapshots,
)
from kuramori.maintenance.tree_rewriting import Rewritten, TreePolicy, TreeRewriter
from kuramori.maintenance.tree_store import TreeStore
from kuramori.model.json import replace_undecodable
from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.snapshot import SnapshotSummary, StoredSnapshot
from kuramori.model.times import format_datetime
from kuramori.progress import NoProgress, Progress
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.sources.excludes import ExcludeOptions, Excluder
from kuramori.sources.patterns import PatternList

REWRITE_TAG = "rewrite"
_NO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class IncludeOptions:
    """What alone to keep. Patterns are bytes, in restic's language (:mod:`kuramori.sources.patterns`)."""

    patterns: tuple[bytes, ...] = ()
    case_insensitive_patterns: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RewriteOptions:
    """What to rewrite and how."""

    selection: SnapshotSelection = field(default_factory=SnapshotSelection)
    exclude_patterns: tuple[bytes, ...] = ()
    """What to leave out, in restic's language (:mod:`kuramori.sources.patterns`)."""
    case_insensitive_exclude_patterns: tuple[bytes, ...] = ()
    includes: IncludeOptions = field(default_factory=IncludeOptions)
    """Instead of excludes."""
    new_host: str = ""
    new_time: datetime | None = None
    """Aware."""
    summary: bool = False
    """Give a summary to snapshots that have none."""
    forget: bool = False
    """Remove the old snapshots when the new ones are there."""
    dry_run: bool = False
    """Write nothing and take no lock."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""

    @property
    def excluding(self) -> bool:
        """Whether something is left out by pattern."""
        return bool(self.exclude_patterns or self.case_insensitive_exclude_patterns)

    @property
    def including(self) -> bool:
        """Whether only what patterns match is kept."""
        return bool(self.includes.patterns or self.includes.case_insensitive_patterns)


@dataclass(slots=True)
class RewriteResult:
    """What was done."""

    dry_run: bool = False
    snapshots: int = 0
    """Snapshots that were looked at."""
    changed: list[ChangedSnapshot] = field(default_factory=list)


def rewrite(repository: Repository, options: RewriteOptions, progress: Progress | None = None) -> RewriteResult:
    """Make new snapshots from old ones. Takes a shared lock, or an exclusive one to forget the old
    ones; the index is loaded anew.

    All trees are rewritten and durable before the first new snapshot is saved, and each new snapshot
    before its old one is removed. Where one tree is refused, nothing is changed.

    Raises:
        UsageError: nothing is to be done, or both excludes and includes were given; the selection.
        LossyTreeError: a tree holds what cannot be written anew.
        DamagedError: a snapshot, a tree or an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: nothing is lost.
    """
    progress = progress or NoProgress()
    if options.excluding and options.including:
        raise UsageError(detail=N_("give patterns to exclude or patterns to include, not both"))
    if not (options.excluding or options.including or options.new_host or options.new_time or options.summary):
        raise UsageError(detail=N_("there is nothing to do: no patterns and no new host or time were given"))
    if options.dry_run:
        return _Rewrite(repository.without_writes(), options, None, progress).run()
    with hold_lock(repository, exclusive=options.forget, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock:
        return _Rewrite(repository, options, lock, progress).run()


class _Rewrite:
    """One run."""

    def __init__(self, repository: Repository, options: RewriteOptions, lock: Lock | None,
                 progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._lock = lock
        self._progress = progress
        self._result = RewriteResult(options.dry_run)

    def run(self) -> RewriteResult:
        """Do it."""
        options, result = self._options, self._result
        policy = self._policy()
        snapshots = select_snapshots(self._repository, options.selection, _refuse)
        result.snapshots = len(snapshots)
        self._repository.load_index(self._progress)
        store = TreeStore(self._repository, self._check)
        try:
            rewriter = TreeRewriter(self._repository, store, policy) if policy is not None else None
            self._progress.start("rewrite trees", len(snapshots))
            for stored in snapshots:
                self._rewrite(stored, rewriter)
                self._progress.advance(1)
            store.flush()
        finally:
            store.close()
            self._progress.finish()
        if not options.dry_run:
            replace_snapshots(self._repository, result.changed, forget=options.forget, check=self._check)
        return result

    def _policy(self) -> TreePolicy | None:
        """Return what decides about files; None if the trees need not be read at all."""
        options = self._options
        if options.including:
            return _IncludePolicy(options.includes, self._progress)
        if options.excluding:
            return _ExcludePolicy(Excluder(ExcludeOptions(
                patterns=options.exclude_patterns,
                case_insensitive_patterns=options.case_insensitive_exclude_patterns)), self._progress)
        return _CountPolicy() if options.summary else None

    def _rewrite(self, stored: StoredSnapshot, rewriter: TreeRewriter | None) -> None:
        options, old = self._options, stored.snapshot
        tree, summary = old.tree, old.summary
        if rewriter is not None:
            found = rewriter.rewrite(parse_id(old.tree), stored.short_id)
            if found.tree is None:
                return  # nothing in it is included: it stays as it is, as restic leaves it
            tree, summary = found.tree.hex(), _new_summary(summary, found)
        if tree == old.tree and summary == old.summary and not options.new_host and options.new_time is None:
            return
        new = make_successor(stored, tree, "" if options.forget else REWRITE_TAG)
        new.summary = summary
        if options.new_time is not None:
            new.time = format_datetime(options.new_time)
        if options.new_host:
            new.hostname = replace_undecodable(options.new_host)
        self._result.changed.append(ChangedSnapshot(stored, new))

    def _check(self) -> None:
        if self._lock is not None:
            self._lock.check()


def _refuse(name: str, error: KuramoriError) -> None:
    """Do nothing at all where one of the snapshots cannot be read."""
    raise error


def _new_summary(summary: SnapshotSummary | None, found: Rewritten) -> SnapshotSummary:
    if summary is None:
        summary = SnapshotSummary(backup_start=_NO_TIME, backup_end=_NO_TIME)
    return msgspec.structs.replace(summary, total_files_processed=found.files, total_bytes_processed=found.bytes)


class _CountPolicy(TreePolicy):
    """Changes nothing."""

    exact = True


class _ExcludePolicy(TreePolicy):
    """Leaves out what patterns match."""

    by_path = True
    exact = True

    def __init__(self, excluder: Excluder, progress: Progress) -> None:
        self._excluder = excluder
        self._progress = progress

    def entry(self, node: Node, path: bytes) -> Node | None:
        """Leave out what is excluded."""
        if not self._excluder.excludes_path(path):
            return node
        self._progress.item("excluded", display_text(path))
        return None


class _IncludePolicy(TreePolicy):
    """Keeps only what patterns match, and the folders above it."""

    by_path = True
    exact = True

    def __init__(self, options: IncludeOptions, progress: Progress) -> None:
        self._lists = [PatternList(options.patterns)] if options.patterns else []
        if options.case_insensitive_patterns:
            self._lists.append(PatternList(options.case_insensitive_patterns, case_insensitive=True))
        self._progress = progress

    def entry(self, node: Node, path: bytes) -> Node | None:
        """Keep what is included, and folders in which something may be."""
        if self._matches(path):
            if node.type != "dir":
                self._progress.item("included", display_text(path))
            return node
        if node.type == "dir" and any(patterns.may_match_child(path) for patterns in self._lists):
            return node
        return None

    def keeps_empty(self, path: bytes) -> bool:
        """Keep an empty folder that is included itself."""
        return self._matches(path or b"/")

    def _matches(self, path: bytes) -> bool:
        return any(patterns.matches(path) for patterns in self._lists)
