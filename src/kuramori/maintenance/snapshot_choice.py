"""The snapshots that a change is about: named ones, or all that a filter matches.

Whoever is going to remove or replace snapshots must know them all. Where one cannot be read, it
could be the newest, or the one that a filter means: nothing is changed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kuramori.errors import (
    N_,
    AmbiguousIdError,
    DamagedError,
    KuramoriError,
    NoSuchSnapshotError,
    Phrase,
    StorageError,
    UnreadableSnapshotsError,
    UsageError,
)
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import SnapshotFilter, list_snapshots, load_each_snapshot

LATEST = "latest"


@dataclass(slots=True)
class SnapshotChoice:
    """What was found."""

    snapshots: list[StoredSnapshot] = field(default_factory=list)
    """Named ones in the order of the names, others from the oldest to the newest."""
    not_found: list[KuramoriError] = field(default_factory=list)
    """One for each name that means no snapshot, or several."""
    listed: set[str] = field(default_factory=set)
    """The ids of all snapshots that are there."""
    others_exist: bool = False
    """Whether the repository has more snapshots than these."""


def choose_snapshots(repository: Repository, names: Sequence[str], snapshot_filter: SnapshotFilter) -> SnapshotChoice:
    """Return the snapshots that are named, or without names all that the filter matches.

    Args:
        names: whole ids, beginnings of ids, or ``latest``, which is the newest that the filter matches.

    Raises:
        UnreadableSnapshotsError: a snapshot that must be known cannot be read; all such are named.
    """
    listed = sorted(list_snapshots(repository))
    choice = SnapshotChoice(listed=set(listed))
    if names:
        chosen = _chosen_names(repository, listed, names, snapshot_filter, choice)
        choice.snapshots = read_snapshots(repository, chosen)
    else:
        choice.snapshots = _matching(repository, listed, snapshot_filter)
    choice.others_exist = len(choice.snapshots) < len(listed)
    if repository.ledger is not None:
        repository.ledger.observe(listed)
    return choice


def _chosen_names(repository: Repository, listed: Sequence[str], names: Sequence[str],
                  snapshot_filter: SnapshotFilter, choice: SnapshotChoice) -> list[str]:
    chosen: dict[str, None] = {}
    for text in dict.fromkeys(names):
        try:
            if text == LATEST:
                chosen[_latest(repository, listed, snapshot_filter)] = None
            else:
                chosen[_whole_id(listed, text)] = None
        except UsageError as error:
            choice.not_found.append(error)
    return list(chosen)


def _latest(repository: Repository, listed: Sequence[str], snapshot_filter: SnapshotFilter) -> str:
    matching = _matching(repository, listed, snapshot_filter)
    if not matching:
        raise NoSuchSnapshotError(name=LATEST)
    return matching[-1].id


def _whole_id(listed: Sequence[str], text: str) -> str:
    if ":" in text:
        raise UsageError(detail=Phrase(N_("{name} names a folder; here a whole snapshot is meant"), name=text))
    found = [name for name in listed if name.startswith(text)] if text else []
    if not found:
        raise NoSuchSnapshotError(name=text or "''")
    if len(found) > 1:
        raise AmbiguousIdError(name=text, count=len(found))
    return found[0]


def _matching(repository: Repository, listed: Sequence[str], snapshot_filter: SnapshotFilter) -> list[StoredSnapshot]:
    found = [stored for stored in read_snapshots(repository, listed) if snapshot_filter.matches(stored.snapshot)]
    return sorted(found, key=lambda stored: (stored.snapshot.time_nanoseconds, stored.id))


def read_snapshots(repository: Repository, names: Iterable[str]) -> list[StoredSnapshot]:
    """Return snapshots by their whole ids.

    Raises:
        UnreadableSnapshotsError: some cannot be read; all of them are named.
    """
    found: list[StoredSnapshot] = []
    unreadable: list[KuramoriError] = []
    for _name, load in load_each_snapshot(repository, names):
        try:
            found.append(load())
        except (DamagedError, StorageError) as error:
            unreadable.append(error)
    if unreadable:
        raise UnreadableSnapshotsError(location=repository.backend.location, detail=tuple(unreadable))
    return found
