"""``tag``: give snapshots other tags.

A snapshot's file never changes, so one with other tags is a new file; it remembers the first one's
id as ``original``. The new file is durable before the old one is removed. A run that was broken off
between the two leaves both: the next one finds the new one and only removes the old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from kuramori.errors import N_, DamagedError, KuramoriError, RepositoryLockedError, StorageError, UsageError
from kuramori.maintenance.index_files import remove_if_there
from kuramori.maintenance.snapshot_choice import choose_snapshots
from kuramori.model.snapshot import Snapshot, StoredSnapshot, encode_snapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter, load_each_snapshot, save_snapshot
from kuramori.storage.backend import FileType


@dataclass(frozen=True, slots=True)
class TagOptions:
    """Which tags to change, and of what."""

    add: tuple[str, ...] = ()
    """Tags that a snapshot gets if it lacks them."""
    remove: tuple[str, ...] = ()
    """Tags that it loses."""
    replace: tuple[str, ...] | None = None
    """The tags that it has afterwards, instead of the two above; none of them if empty."""
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    ids: tuple[str, ...] = ()
    """Only these: ids, their beginnings, or ``latest`` of what the filter matches. Without any, all
    that the filter matches."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""
    told: Callable[[TagChange], None] | None = None
    """Told of each change when it is done."""


@dataclass(frozen=True, slots=True)
class TagChange:
    """A snapshot that has other tags now, and so another id."""

    old_id: str
    new_id: str


@dataclass(slots=True)
class TagResult:
    """What came of it."""

    changes: list[TagChange] = field(default_factory=list)
    not_found: list[KuramoriError] = field(default_factory=list)
    """One for each id that names no snapshot, or several."""
    errors: list[KuramoriError] = field(default_factory=list)
    """Why snapshots could not be changed. Each is still there, with its old tags or with both."""


def tag_snapshots(repository: Repository, options: TagOptions, progress: Progress | None = None) -> TagResult:
    """Change the tags of snapshots. Takes an exclusive lock.

    Raises:
        UsageError: the options make no sense.
        UnreadableSnapshotsError: not every snapshot can be read; nothing was changed.
        RepositoryLockedError, LockLostError: no snapshot is lost.
    """
    if options.replace is not None and (options.add or options.remove):
        raise UsageError(detail=N_("--set cannot go with --add or --remove"))
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds, confirm=False,
                   waiting=options.lock_waiting) as lock:
        choice = choose_snapshots(repository, options.ids, options.snapshot_filter)
        result = TagResult(not_found=choice.not_found)
        planned = [(stored, changed) for stored in choice.snapshots
                   if (changed := _changed(stored, options)) is not None]
        if planned:
            lock.confirm()
            _Tagging(repository, lock, result, options.told, progress or NoProgress()).run(planned)
        return result


def _changed(stored: StoredSnapshot, options: TagOptions) -> Snapshot | None:
    """Return the snapshot with its new tags, or None if nothing changes."""
    before = list(stored.snapshot.tags or ())
    if options.replace is None:
        tags = _without(before + [tag for tag in dict.fromkeys(options.add) if tag not in before], options.remove)
        if tags == before:
            return None
    else:
        tags = list(options.replace)
        if not tags and not before:
            return None
    return msgspec.structs.replace(stored.snapshot, tags=tags or None, original=stored.snapshot.original or stored.id)


def _without(tags: list[str], gone: Iterable[str]) -> list[str]:
    """Return tags without some; the last one takes the place of one that goes, as with restic."""
    for tag in gone:
        if tag in tags:
            tags[tags.index(tag)] = tags[-1]
            tags.pop()
    return tags


class _Tagging:
    """One run, under a lock."""

    def __init__(self, repository: Repository, lock: Lock, result: TagResult,
                 told: Callable[[TagChange], None] | None, progress: Progress) -> None:
        self._repository = repository
        self._lock = lock
        self._result = result
        self._told = told
        self._progress = progress
        self._written: dict[bytes, str] = {}
        """Snapshots that exist, by their documents."""

    def run(self, planned: list[tuple[StoredSnapshot, Snapshot]]) -> None:
        """Replace snapshots one by one. One that cannot be replaced does not keep the others."""
        self._find_written({changed.original or "" for _, changed in planned})
        self._progress.start("change tags", len(planned))
        for stored, changed in planned:
            self._lock.check()
            try:
                self._replace(stored, changed)
            except StorageError as error:
                self._result.errors.append(error)
                self._progress.warning(error)
            self._progress.advance(1)
        self._progress.finish()

    def _find_written(self, originals: set[str]) -> None:
        """Look for what a run that was broken off has written already."""
        names = [info.name for info in self._repository.backend.list(FileType.SNAPSHOT)]
        for name, load in load_each_snapshot(self._repository, names):
            try:
                snapshot = load().snapshot
            except (DamagedError, StorageError):
                continue  # it is none of the chosen ones, and no better copy of any
            if snapshot.original in originals:
                self._written[encode_snapshot(snapshot)] = name

    def _replace(self, stored: StoredSnapshot, changed: Snapshot) -> None:
        document = encode_snapshot(changed)
        new = self._written.get(document)
        if new is None or new == stored.id:
            new = save_snapshot(self._repository, changed)
            self._written[document] = new
        # Never take for written what is just being removed, whatever else is planned.
        if self._written.get(own := encode_snapshot(stored.snapshot)) == stored.id:
            del self._written[own]
        remove_if_there(self._repository, FileType.SNAPSHOT, stored.id)
        self._result.changes.append(TagChange(stored.id, new))
        if self._told is not None:
            self._told(self._result.changes[-1])
