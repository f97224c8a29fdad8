"""``copy``: snapshots of one repository into another (format section 5.6).

In this order, so that it may be broken off at any instant: packs, then index files, then the
snapshots whose data is all there. Blobs keep their ids: they are opened, verified and sealed with
the target's key, and never cut anew.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec

from kuramori.errors import (
    N_,
    DamagedError,
    Interrupted,
    KuramoriError,
    MissingBlobError,
    Phrase,
    RepositoryLockedError,
    SameRepositoryError,
    SnapshotNotCopiedError,
    StorageError,
    UsageError,
)
from kuramori.ids import Id, parse_id
from kuramori.maintenance.blob_copying import BlobCopier, SourceUnavailableError
from kuramori.maintenance.used_blobs import UsedBlobs
from kuramori.model.blob import BlobType
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.tree import tree_references
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.locks import Lock, hold_lock, withdraw_unless_held
from kuramori.repository.packer import DEFAULT_PACK_SIZE, MAXIMUM_PACK_SIZE, MINIMUM_PACK_SIZE
from kuramori.repository.repository import Repository
from kuramori.repository.retention import extend_retention
from kuramori.repository.snapshots import (
    EVERY_SNAPSHOT,
    SnapshotFilter,
    find_snapshot,
    load_snapshots,
    save_snapshot,
)
from kuramori.storage.backend import FileType

__all__ = ["CopyAction", "CopyOptions", "CopyOutcome", "CopyResult", "copy_snapshots"]

_LEFTOVER_SECONDS = 24 * 3600.0


def _never() -> bool:
    return False


def _ignore(outcome: CopyOutcome) -> None:
    """Nobody wants to know."""


class CopyAction(enum.Enum):
    """What became of a snapshot."""

    COPIED = "copied"
    SKIPPED = "skipped"
    """The target has it already."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What became of one snapshot of the source."""

    action: CopyAction
    source: StoredSnapshot
    snapshot_id: str | None = None
    """Of the copy in the target."""
    error: KuramoriError | None = None
    """Why it was not copied."""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What to copy and how."""

    snapshots: tuple[str, ...] = ()
    """Ids, their beginnings, or ``latest``; none for all that the filter matches."""
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    unwanted: frozenset[str] = frozenset()
    """Ids of snapshots that the filter matches and that are left out all the same; means nothing where some are
    named."""
    compression: Compression = Compression.AUTO
    """``AUTO`` leaves what is compressed in the source as it is."""
    pack_size: int = DEFAULT_PACK_SIZE
    """Bytes, 4 to 128 MiB."""
    no_lock: bool = False
    """Take no lock on the source; the target is always locked."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""
    told: Callable[[CopyOutcome], None] = _ignore
    """Told of every snapshot as soon as its fate is known."""
    cancelled: Callable[[], bool] = _never
    """Asked often; True ends the copy with :class:`kuramori.errors.Interrupted`, what was stored is
    kept for the next run."""


@dataclass(slots=True)
class CopyResult:
    """What came of it."""

    outcomes: list[CopyOutcome] = field(default_factory=list)
    errors: list[KuramoriError] = field(default_factory=list)
    """What was asked for and cannot even be looked at: snapshots that are damaged or not there."""
    blobs_copied: int = 0
    bytes_copied: int = 0
    """As stored in the target."""
    seconds: float = 0.0

    def of(self, action: CopyAction) -> list[CopyOutcome]:
        """Return the snapshots that came to this."""
        return [outcome for outcome in self.outcomes if outcome.action is action]

    @property
    def failures(self) -> int:
        """How many snapshots should be in the target and are not."""
        return len(self.errors) + len(self.of(CopyAction.FAILED))


def copy_snapshots(source: Repository, target: Repository, options: CopyOptions | None = None,
                   progress: Progress | None = None) -> CopyResult:
    """Copy snapshots and what they need. Takes shared locks on both repositories.

    A snapshot that was copied before is skipped; one of which something cannot be read is not
    copied, and the others are.

    Raises:
        UsageError, SameRepositoryError: it makes no sense.
        DamagedError: an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: what was copied before is whole, and the
            next run does the rest.
        Interrupted: ``options.cancelled`` said so.
    """
    options = options or CopyOptions()
    if not MINIMUM_PACK_SIZE <= options.pack_size <= MAXIMUM_PACK_SIZE:
        raise UsageError(detail=N_("the pack size must lie between 4 and 128 MiB"))
    started = target.clock.monotonic()
    with ExitStack() as stack:
        locks = []
        for repository in (target,) if options.no_lock else (source, target):
            locks.append(stack.enter_context(hold_lock(
                repository, retry_seconds=options.retry_lock_seconds, confirm=False, waiting=options.lock_waiting)))
        _refuse_the_same(source, target, locks[-1])
        result = _Copy(source, target, options, progress or NoProgress(), locks).run()
    result.seconds = target.clock.monotonic() - started
    return result


def _refuse_the_same(source: Repository, target: Repository, target_lock: Lock) -> None:
    """Raise if both are one, whatever their locations are called: then our lock is in both. (One that
    was duplicated with all its files has the same id, and is another.)

    Raises:
        SameRepositoryError
    """
    if source.id == target.id and any(
            info.name == target_lock.name for info in source.backend.list(FileType.LOCK)):
        raise SameRepositoryError(location=target.backend.location)


class _Collected(NoProgress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.errors: list[KuramoriError] = []

    def warning(self, error: Exception) -> None:
        """Keep it."""
        assert isinstance(error, KuramoriError)
        self.errors.append(error)


class _Copy:
    """One run."""

    def __init__(self, source: Repository, target: Repository, options: CopyOptions, progress: Progress,
                 locks: list[Lock]) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._locks = locks
        self._result = CopyResult()
        self._complete: list[StoredSnapshot] = []
        """Walked through; their data is copied or queued."""
        self._only_in_target: set[bytes] = set()
        """Trees that were met and that the source has lost."""
        self._damaged = False
        """Something could not be read: what a snapshot needs may be missing."""

    def run(self) -> CopyResult:
        """Do it."""
        # Snapshots before the index: what is found in them was stored before them.
        wanted = self._choose()
        existing = self._find_copies()
        self._source.load_index(self._progress)
        self._target.load_index(self._progress)
        for lock in self._locks:
            lock.confirm()
        self._target.backend.remove_leftovers(_LEFTOVER_SECONDS)
        self._used = UsedBlobs(self._source.index)
        self._copier = BlobCopier(self._source, self._target, compression=self._options.compression,
                                  pack_size=self._options.pack_size, check=self._check,
                                  check_lock=self._check_locks)
        try:
            self._progress.start("copy")
            for stored in wanted:
                self._take(stored, existing)
            self._copier.run(self._progress)
            self._save_complete()
        except (Interrupted, KeyboardInterrupt):
            self._copier.rescue()
            raise
        except SourceUnavailableError as failure:
            self._copier.keep()
            raise failure.error from None
        finally:
            self._copier.close()
            self._progress.finish()
        extend_retention(self._target, self._progress)
        self._result.blobs_copied = self._copier.blobs_copied
        self._result.bytes_copied = self._copier.bytes_copied
        return self._result

    def _check(self) -> None:
        if self._options.cancelled():
            raise Interrupted
        self._check_locks()

    def _check_locks(self) -> None:
        for lock in self._locks:
            lock.check()

    # --- which snapshots -----------------------------------------------------------------------

    def _choose(self) -> list[StoredSnapshot]:
        """Return the snapshots that are meant, the oldest first, each once."""
        if not self._options.snapshots:
            collected = _Collected()
            found = load_snapshots(self._source, collected)
            for error in collected.errors:
                self._not_found(error)
            return [stored for stored in found if self._options.snapshot_filter.matches(stored.snapshot)
                    and stored.id not in self._options.unwanted]
        chosen: dict[str, StoredSnapshot] = {}
        for text in self._options.snapshots:
            try:
                stored = find_snapshot(self._source, text, self._options.snapshot_filter)
            except (UsageError, DamagedError) as error:
                self._not_found(error)
            else:
                chosen[stored.id] = stored
        return sorted(chosen.values(), key=lambda stored: (stored.snapshot.time_nanoseconds, stored.id))

    def _not_found(self, error: KuramoriError) -> None:
        self._result.errors.append(error)
        self._progress.warning(error)

    def _find_copies(self) -> dict[str, list[StoredSnapshot]]:
        """Return the target's snapshots by what they may be copies of: themselves and their originals."""
        found: dict[str, list[StoredSnapshot]] = {}
        for stored in load_snapshots(self._target, self._progress):
            for name in {stored.id, stored.snapshot.original or stored.id}:
                found.setdefault(name, []).append(stored)
        return found

    # --- one after the other -------------------------------------------------------------------

    def _take(self, stored: StoredSnapshot, existing: dict[str, list[StoredSnapshot]]) -> None:
        for candidate in existing.get(stored.snapshot.original or stored.id, ()):
            if _similar(candidate.snapshot, stored.snapshot):
                self._tell(CopyOutcome(CopyAction.SKIPPED, stored, candidate.id))
                return
        self._walk(stored)
        self._complete.append(stored)

    def _walk(self, stored: StoredSnapshot) -> None:
        """Copy the trees of a snapshot that were not met before, and queue their data.

        What cannot be read is noted, and the rest taken nevertheless: other snapshots, which do not
        look at these trees again, may need it.
        """
        waiting = [stored.snapshot.tree]
        while waiting:
            self._check()
            tree_id = self._meet(BlobType.TREE, waiting.pop())
            if tree_id is None:
                continue
            try:
                document = self._load_tree(tree_id)
                data, trees = _references(document, tree_id)
            except KuramoriError as error:
                self._note(BlobType.TREE, tree_id, error)
                continue
            for text in data:
                blob_id = self._meet(BlobType.DATA, text)
                if blob_id is not None and not self._target.index.has(BlobType.DATA, blob_id):
                    self._copier.queue(blob_id)
            waiting += trees
            if not self._target.index.has(BlobType.TREE, tree_id):
                self._copier.store_tree(tree_id, document)
            if self._copier.window_is_full:
                self._copier.run(self._progress)
                self._save_complete()

    def _meet(self, blob_type: BlobType, text: str) -> Id | None:
        """Return the id of a blob that was not met before."""
        try:
            blob_id = parse_id(text)
        except ValueError:
            self._damaged = True  # the tree that says so is judged by :meth:`_find_missing`
            return None
        try:
            return blob_id if self._used.add(blob_type, blob_id) else None
        except MissingBlobError as error:
            if not self._target.index.has(blob_type, blob_id):
                self._note(blob_type, blob_id, error)
            elif blob_type is BlobType.TREE and blob_id not in self._only_in_target:
                self._only_in_target.add(blob_id)
                return blob_id
            return None

    def _note(self, blob_type: BlobType, blob_id: Id, error: KuramoriError) -> None:
        self._damaged = True
        self._copier.note_failure(blob_type, blob_id, error)

    def _load_tree(self, tree_id: Id) -> bytes:
        """Return a tree from the source, or where that cannot be, from the target.

        Raises:
            SourceUnavailableError
            DamagedError, StorageError: neither has it whole; the source's error.
        """
        try:
            return self._source.load_blob(BlobType.TREE, tree_id)
        except KuramoriError as error:
            if error.retryable:
                raise SourceUnavailableError(error) from None
            if not self._target.index.has(BlobType.TREE, tree_id):
                raise
            try:
                return self._target.load_blob(BlobType.TREE, tree_id)
            except (DamagedError, StorageError):
                raise error from None

    # --- writing them --------------------------------------------------------------------------

    def _save_complete(self) -> None:
        """Write the snapshots of which all is copied; everything that was queued must be."""
        if not self._complete:
            return
        self._copier.flush()
        complete, self._complete = self._complete, []
        for stored in complete:
            error = self._find_missing(stored) if self._damaged or self._copier.failures else None
            if error is not None:
                error = SnapshotNotCopiedError(snapshot=stored.short_id, detail=error)
                self._progress.warning(error)
                self._tell(CopyOutcome(CopyAction.FAILED, stored, error=error))
                continue
            self._check()
            copy = msgspec.structs.replace(stored.snapshot, parent=None,
                                           original=stored.snapshot.original or stored.id)
            name = save_snapshot(self._target, copy)
            withdraw_unless_held(self._target, FileType.SNAPSHOT, name, self._check_locks)
            self._tell(CopyOutcome(CopyAction.COPIED, stored, name))

    def _find_missing(self, stored: StoredSnapshot) -> KuramoriError | None:
        """Return why the target does not have all of a snapshot, or None if it has."""
        seen: set[str] = set()
        waiting = [stored.snapshot.tree]
        while waiting:
            self._check()
            text = waiting.pop()
            if text in seen:
                continue
            seen.add(text)
            error = self._missing(BlobType.TREE, text)
            if error is not None:
                return error
            tree_id = parse_id(text)
            try:
                data, trees = _references(self._load_tree(tree_id), tree_id)
            except KuramoriError as problem:
                return problem
            for blob in data:
                error = self._missing(BlobType.DATA, blob)
                if error is not None:
                    return error
            waiting += trees
        return None

    def _missing(self, blob_type: BlobType, text: str) -> KuramoriError | None:
        try:
            blob_id = parse_id(text)
        except ValueError:
            return DamagedError(what=N_("a folder"), detail=Phrase(N_("{text} is no id"), text=text[:80]))
        if self._target.index.has(blob_type, blob_id):
            return None
        return self._copier.failure(blob_type, blob_id)

    def _tell(self, outcome: CopyOutcome) -> None:
        self._result.outcomes.append(outcome)
        self._options.told(outcome)


def _references(document: bytes, tree_id: Id) -> tuple[list[str], list[str]]:
    """Return the data and the trees that a tree names.

    Raises:
        DamagedError: it is malformed.
    """
    try:
        return tree_references(document)
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedError(what=Phrase(N_("tree {id}"), id=tree_id.hex()), detail=str(error)) from None


def _similar(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether all is the same but parent, original and what a backup tells of itself."""
    return (
        one.time_nanoseconds == other.time_nanoseconds and one.tree == other.tree
        and (one.hostname, one.username, one.uid, one.gid)
        == (other.hostname, other.username, other.uid, other.gid)
        and _same_set(one.paths, other.paths) and _same_set(one.tags or [], other.tags or [])
        and (one.excludes or []) == (other.excludes or [])
    )


def _same_set(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and set(other) <= set(one)
