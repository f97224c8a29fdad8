"""Staying under a size: which snapshots must go so that a repository takes no more than so many bytes.

First goes what the rules drop anyway, then the oldest of all groups, one by one, until what is left
fits; or whole sets of snapshots, such as runs, in an order that somebody gives. Never goes the floor:
the newest good snapshot of each group, and what a tag protects. Where even the floor does not fit,
nothing goes: a history is not given up in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from kuramori.errors import SizeLimitError
from kuramori.maintenance.prune_plan import UnusedLimit
from kuramori.maintenance.snapshot_choice import read_snapshots
from kuramori.maintenance.snapshot_weights import SnapshotWeight, weigh_in_turn
from kuramori.model.snapshot import StoredSnapshot
from kuramori.progress import Progress
from kuramori.repository.pack_header import EMPTY_PACK
from kuramori.repository.repository import Repository
from kuramori.storage.backend import CONFIG_HANDLE, FileType


@dataclass(slots=True)
class SizeLimitPlan:
    """What must go, and what that brings. Sizes are bytes."""

    limit: int
    bytes_before: int
    """Of all files of the repository, now."""
    bytes_expected: int = 0
    """Afterwards, at most, if the prune removes all that nobody uses."""
    going: list[SnapshotWeight] = field(default_factory=list)
    """Snapshots that go because of the size, in the order in which they go, each with what that frees."""
    bytes_after: int | None = None
    """Of all files of the repository, after the prune; None in a dry run."""

    @property
    def reached(self) -> bool:
        """Whether the repository is under the limit, or would be."""
        return (self.bytes_expected if self.bytes_after is None else self.bytes_after) <= self.limit

    def unused_limit(self, wished: UnusedLimit) -> UnusedLimit:
        """Return how much unused data a prune may leave: what was wished, as far as the limit allows."""
        room = max(0, self.limit - self.bytes_expected)
        allowed = wished.bytes_of(self.bytes_expected)
        return UnusedLimit(size=room if allowed is None else min(room, allowed))


def oldest_first(snapshots: Iterable[StoredSnapshot]) -> list[tuple[StoredSnapshot, ...]]:
    """Return snapshots as sets of one, in the order in which they go."""
    return [(stored,) for stored in sorted(snapshots, key=lambda one: (one.snapshot.time_nanoseconds, one.id))]


def count_removals(fixed: int, weights: Sequence[int], limit: int) -> int | None:
    """Return how many of the first weights must go so that the rest and what is fixed are no more than
    ``limit``; None if it is too much without any of them."""
    size = fixed + sum(weights)
    for count, weight in enumerate(weights):
        if size <= limit:
            return count
        size -= weight
    return len(weights) if size <= limit else None


def choose_floor(groups: Sequence[Sequence[StoredSnapshot]], protected: Callable[[StoredSnapshot], bool],
                 is_good: Callable[[StoredSnapshot], bool]) -> set[str]:
    """Return the ids of the snapshots that never go.

    Args:
        groups: the snapshots that the rules keep, in groups.
        protected: tells what must never go.
        is_good: tells a whole snapshot from a poor one. Of a group without a good one the newest counts.
    """
    floor = {stored.id for group in groups for stored in group if protected(stored)}
    for group in groups:
        newest_first = sorted(group, key=lambda stored: (-stored.snapshot.time_nanoseconds, stored.id))
        good = [stored for stored in newest_first if is_good(stored)] or newest_first
        floor.update(stored.id for stored in good[:1])
    return floor


def measure(repository: Repository) -> int:
    """Return the bytes of all files of a repository but locks.

    Raises:
        StorageError: a listing failed.
    """
    types = (FileType.PACK, FileType.INDEX, FileType.SNAPSHOT, FileType.KEY)
    return repository.backend.size(CONFIG_HANDLE) + sum(
        info.size for file_type in types for info in repository.backend.list(file_type))


def plan_size_limit(repository: Repository, limit: int, *, listed: set[str], dropped: set[str],
                    candidates: Sequence[Sequence[StoredSnapshot]], progress: Progress) -> SizeLimitPlan:
    """Return what must go. The repository's index must be loaded.

    Args:
        listed: the ids of all snapshots.
        dropped: those that go anyway.
        candidates: those that may go, in the order in which they go, in sets of which each goes whole or not at all.

    Raises:
        SizeLimitError: what must stay is more than the limit.
        UnreadableSnapshotsError, MissingBlobError, DamagedError, StorageError: it cannot be known.
    """
    plan = SizeLimitPlan(limit, measure(repository))
    in_order = [stored for candidate in candidates for stored in candidate]
    may_go = {stored.id for stored in in_order}
    staying = read_snapshots(repository, sorted(listed - dropped - may_go))
    weights = weigh_in_turn(repository, [*staying, *reversed(in_order)], progress)
    fixed = _overhead(repository) + sum(weight.bytes_in_packs for weight in weights[: len(staying)])
    removable = iter(weights[len(staying):][::-1])
    sets = [list(islice(removable, len(candidate))) for candidate in candidates]
    sizes = [sum(weight.bytes_in_packs for weight in each) for each in sets]
    count = count_removals(fixed, sizes, limit)
    if count is None:
        raise SizeLimitError(location=repository.backend.location, limit=limit, floor=fixed, count=len(staying))
    plan.going = [weight for each in sets[:count] for weight in each]
    plan.bytes_expected = fixed + sum(sizes[count:])
    return plan


def _overhead(repository: Repository) -> int:
    """Return the bytes of everything but blobs, as it is now: it will not be more."""
    packs = sum(1 for _ in repository.backend.list(FileType.PACK))
    types = (FileType.INDEX, FileType.SNAPSHOT, FileType.KEY)
    return packs * EMPTY_PACK + repository.backend.size(CONFIG_HANDLE) + sum(
        info.size for file_type in types for info in repository.backend.list(file_type))
