"""The snapshots that are there against those that this machine remembers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from kuramori.errors import N_, FileNotInStorageError, Phrase, SnapshotsUnlistedError, SnapshotsVanishedError
from kuramori.ids import short_id
from kuramori.ledger.snapshot_ledger import LedgerComparison
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.storage.backend import FileType, Handle

_NAMED = 5
_ASKED_BY_NAME = 8
"""So many vanished snapshots, the newest, are looked for by name."""


def compare_with_ledger(repository: Repository, listed: set[str]) -> LedgerComparison:
    """Return how the snapshots differ from what the repository's ledger knows. Needs no lock.

    Where some are gone, they are listed once more: one that was written after the first listing, or
    that a store's listing left out by accident, is no alarm. Then some are asked for by name.

    Args:
        listed: the ids of all snapshots, listed just now.

    Raises:
        StorageError: the listing failed.
    """
    if repository.ledger is None:
        return LedgerComparison()
    comparison = repository.ledger.compare(listed)
    if comparison.agrees:
        return comparison
    again = repository.ledger.compare(list_snapshots(repository))
    gone_twice = set(comparison.vanished) & set(again.vanished)
    vanished = tuple(each for each in again.vanished if each in gone_twice)
    unlisted = tuple(each.id for each in vanished[-_ASKED_BY_NAME:] if _is_there(repository, each.id))
    return replace(again, vanished=vanished, unlisted=unlisted)


def _is_there(repository: Repository, name: str) -> bool:
    try:
        repository.backend.size(Handle(FileType.SNAPSHOT, name))
    except FileNotInStorageError:
        return False
    return True


def refuse_vanished(repository: Repository, listed: set[str]) -> None:
    """Raise if snapshots are gone that nobody here removed: whoever removes data now may destroy
    what could still be saved.

    Raises:
        SnapshotsVanishedError
        SnapshotsUnlistedError: they are there, and the store does not list them.
        StorageError: the listing failed.
    """
    comparison = compare_with_ledger(repository, listed)
    if comparison.unlisted:
        raise SnapshotsUnlistedError(count=len(comparison.unlisted), names=enumerate_ids(comparison.unlisted))
    if not comparison.agrees:
        raise SnapshotsVanishedError(count=len(comparison.vanished), known=comparison.known,
                                     names=enumerate_ids([each.id for each in comparison.vanished]))


def enumerate_ids(ids: Collection[str]) -> str | Phrase:
    """Return the first ids, short, and how many more there are."""
    names = ", ".join(short_id(name) for name in list(ids)[:_NAMED])
    if len(ids) <= _NAMED:
        return names
    return Phrase(N_("{names} and {count} more"), names=names, count=len(ids) - _NAMED)
