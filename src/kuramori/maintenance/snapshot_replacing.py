"""Putting new snapshots in the place of old ones: what ``rewrite`` and ``repair snapshots`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from kuramori.errors import N_, DamagedError, FileNotInStorageError, KuramoriError, Phrase, UsageError
from kuramori.maintenance.index_files import remove_if_there
from kuramori.model.snapshot import Snapshot, StoredSnapshot, encode_snapshot
from kuramori.repository.locks import withdraw_unless_held
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import (
    EVERY_SNAPSHOT,
    SnapshotFilter,
    find_snapshot,
    load_each_snapshot,
    load_snapshots,
    resolve_snapshot_name,
    save_snapshot,
)
from kuramori.storage.backend import FileType


@dataclass(frozen=True, slots=True)
class SnapshotSelection:
    """Which snapshots are meant: those that are named, else those that the filter matches."""

    names: tuple[str, ...] = ()
    """Ids, their beginnings, or ``latest`` of those that the filter matches."""
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT


class TreeChange(NamedTuple):
    """Something in a snapshot that is another way in the new one."""

    path: str
    what: Phrase


@dataclass(slots=True)
class ChangedSnapshot:
    """A snapshot that is replaced, or would be in a dry run."""

    old: StoredSnapshot
    new: Snapshot | None
    """None if nothing of the old one is left."""
    changes: list[TreeChange] = field(default_factory=list)
    new_id: str | None = None
    """The id of the new one; None in a dry run."""
    saved: bool = False
    """False if just this new one was there already."""
    removed: bool = False
    """Whether the old one was removed."""

    @property
    def healed(self) -> bool:
        """Whether the old one is sound again as it is: just what was missing was stored again."""
        return self.new is self.old.snapshot


@dataclass(slots=True)
class UnreadableSnapshot:
    """A snapshot's file that is damaged itself."""

    id: str
    error: KuramoriError
    removed: bool = False


SnapshotDamaged = Callable[[str, KuramoriError], None]
"""Told of every snapshot that is meant and cannot be read: its whole id, and why."""


def select_snapshots(repository: Repository, selection: SnapshotSelection,
                     damaged: SnapshotDamaged) -> list[StoredSnapshot]:
    """Return the snapshots that are meant, the oldest first.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError: a name names none, or several.
        UsageError: names and a filter were given that do not go together.
    """
    filtered = selection.snapshot_filter != EVERY_SNAPSHOT
    if selection.names and filtered and "latest" not in selection.names:
        raise UsageError(detail=N_("give ids of snapshots or say which are meant by host, tag and path, not both"))
    if not selection.names:
        found = _load_each(repository, [info.name for info in repository.backend.list(FileType.SNAPSHOT)], damaged)
        return _sorted([stored for stored in found if selection.snapshot_filter.matches(stored.snapshot)])
    names = {resolve_snapshot_name(repository, name): None for name in selection.names if name != "latest"}
    if "latest" in selection.names:
        names[find_snapshot(repository, "latest", selection.snapshot_filter).id] = None
    return _sorted(_load_each(repository, list(names), damaged))


def _load_each(repository: Repository, names: Sequence[str], damaged: SnapshotDamaged) -> list[StoredSnapshot]:
    found = []
    for name, load in load_each_snapshot(repository, names):
        try:
            found.append(load())
        except DamagedError as error:
            damaged(name, error)
        except FileNotInStorageError:
            continue  # somebody forgot it meanwhile
    return found


def _sorted(found: list[StoredSnapshot]) -> list[StoredSnapshot]:
    return sorted(found, key=lambda stored: (stored.snapshot.time_nanoseconds, stored.id))


def make_successor(stored: StoredSnapshot, tree: str, tag: str) -> Snapshot:
    """Return a snapshot with another tree that names the old one as its original.

    Args:
        tag: is added; empty for none.
    """
    tags = list(stored.snapshot.tags or ())
    if tag and tag not in tags:
        tags.append(tag)
    return msgspec.structs.replace(stored.snapshot, tree=tree, original=stored.id, tags=tags or None)


def replace_snapshots(repository: Repository, changed: Sequence[ChangedSnapshot], *, forget: bool,
                      check: Callable[[], None]) -> None:
    """Save the new snapshots, and with ``forget`` remove the old ones, each when its successor is
    durable. The new trees must be durable before.

    A successor that is there already, left by a run that was broken off or by an earlier one, is
    not saved again.

    Args:
        check: called before every change; raises to end it.

    Raises:
        StorageError, LockLostError: nothing is lost.
    """
    if not changed:
        return
    there = {encode_snapshot(stored.snapshot): stored.id for stored in load_snapshots(repository)}
    for each in changed:
        if each.healed:
            continue
        if each.new is not None:
            each.new_id = there.get(encode_snapshot(each.new))
            if each.new_id is None:
                check()
                each.new_id = save_snapshot(repository, each.new)
                withdraw_unless_held(repository, FileType.SNAPSHOT, each.new_id, check)
                each.saved = True
        if forget:
            check()
            remove_if_there(repository, FileType.SNAPSHOT, each.old.id)
            each.removed = True
