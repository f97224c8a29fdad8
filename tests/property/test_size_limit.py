"""Staying under a size: the fewest go, the floor never, and what is said comes true."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.errors import SizeLimitError
from kuramori.maintenance.check import check
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.maintenance.size_limit import choose_floor, count_removals, measure
from kuramori.model.retention import Grouping, RetentionPolicy, group_snapshots
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from property.test_snapshot_weights import make_snapshots
from samples.broken_runs import judge_repository, reopen

_PATHS = ("a", "b", "deep/a", "deep/b")
_STATES = st.lists(st.dictionaries(st.sampled_from(_PATHS), st.integers(0, 9), min_size=1), min_size=2, max_size=6)


@given(st.integers(0, 100), st.lists(st.integers(0, 50)), st.integers(0, 400))
def test_the_fewest_go(fixed: int, weights: list[int], limit: int) -> None:
    fitting = [count for count in range(len(weights) + 1) if fixed + sum(weights[count:]) <= limit]
    assert count_removals(fixed, weights, limit) == (min(fitting) if fitting else None)


def _stored(number: int, host: str, tags: list[str] | None = None) -> StoredSnapshot:
    time = f"2026-01-{number + 1:02}T00:00:00Z"
    snapshot = Snapshot(time=time, tree="0" * 64, paths=["/a"], hostname=host, tags=tags)
    return StoredSnapshot(f"{number:064x}", snapshot)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), max_size=20))
def test_the_floor(history: list[tuple[str, bool, bool]]) -> None:
    """The newest good one of each group, or the newest where none is good; and what is protected."""
    found = [_stored(number, host, (["bad"] if bad else []) + (["kept"] if kept else []))
             for number, (host, bad, kept) in enumerate(history)]
    groups = [group for _, group in group_snapshots(found, Grouping())]
    floor = choose_floor(groups, lambda each: "kept" in (each.snapshot.tags or ()),
                         lambda each: "bad" not in (each.snapshot.tags or ()))
    expected = {each.id for each in found if "kept" in (each.snapshot.tags or ())}
    for host in {host for host, _, _ in history}:
        mine = [each for each in found if each.snapshot.hostname == host]
        good = [each for each in mine if "bad" not in (each.snapshot.tags or ())]
        expected.add((good or mine)[-1].id)
    assert floor == expected


@settings(max_examples=40, deadline=None)
@given(_STATES, st.integers(0, 120), st.sampled_from([UnusedLimit(), UnusedLimit(percent=50.0), UnusedLimit(size=0)]),
       st.integers(0, 3))
def test_it_fits_afterwards_and_no_more_went_than_had_to(states: list[dict[str, int]], percent: int,
                                                         unused: UnusedLimit, last: int) -> None:
    """Against what really becomes of copies of the repository."""
    with tempfile.TemporaryDirectory() as folder:
        memory, clock = make_snapshots(Path(folder), states)
    limit = measure(reopen(memory, clock)) * percent // 100
    options = ForgetOptions(max_size=limit, prune=True, prune_policy=PrunePolicy(max_unused=unused),
                            policy=RetentionPolicy(last=last) if last else RetentionPolicy())
    before = memory.snapshot()
    snapshots = load_snapshots(reopen(memory, clock))
    kept_by_rules = snapshots[-last:] if last else snapshots
    try:
        result = forget(reopen(memory, clock), options)
    except SizeLimitError:
        assert memory.snapshot() == before
        assert _needed(before, clock, {snapshots[-1].id}) > limit
        return
    judge_repository(memory.snapshot(), clock)
    left = [stored.id for stored in load_snapshots(reopen(memory, clock))]
    assert left
    assert left == [stored.id for stored in kept_by_rules[-len(left):]], "the oldest go first"
    assert result.size_limit is not None
    assert result.size_limit.reached
    assert measure(reopen(memory, clock)) <= max(limit, 0)
    if len(left) < len(kept_by_rules):
        one_more = {stored.id for stored in kept_by_rules[-len(left) - 1:]}
        assert _needed(before, clock, one_more) > limit
    assert not result.prune or not result.prune.errors
    assert check(reopen(memory, clock)).sound


def _needed(files: dict, clock: FakeClock, kept: set[str]) -> int:  # type: ignore[type-arg]
    """Return what the repository would take with just these snapshots: bytes of their blobs and headers, and
    everything else as it is now, for which the plan allows."""
    memory = MemoryBackend(files)
    repository = reopen(memory, clock)
    everything = {stored.id for stored in load_snapshots(repository)}
    counts = prune(repository, PruneOptions(dry_run=True, no_lock=True, ignored_snapshots=frozenset(everything - kept))
                   ).plan.counts
    packs = sum(len(content) for handle, content in files.items() if handle.type.value == "data")
    number = sum(1 for handle in files if handle.type.value == "data")
    others = measure(repository) - packs
    return counts.used.bytes + counts.used.blobs * 41 + number * 36 + others


def test_a_dry_run_says_what_a_real_run_does(tmp_path: Path) -> None:
    chance = random.Random(3)
    states = [{"a": number, "b": chance.randrange(3)} for number in range(6)]
    memory, clock = make_snapshots(tmp_path, states)
    size = measure(reopen(memory, clock))
    options = {"max_size": size * 2 // 3, "prune": True}
    before = memory.snapshot()
    dry = forget(reopen(memory, clock), ForgetOptions(dry_run=True, **options))  # type: ignore[arg-type]
    assert memory.snapshot() == before
    real = forget(reopen(memory, clock), ForgetOptions(**options))  # type: ignore[arg-type]
    assert dry.size_limit is not None
    assert real.size_limit is not None
    assert [each.stored.id for each in dry.size_limit.going] == [each.stored.id for each in real.size_limit.going]
    assert dry.size_limit.bytes_expected == real.size_limit.bytes_expected >= (real.size_limit.bytes_after or 0)
    assert dry.size_limit.bytes_after is None
    assert {stored.id for stored in real.removed} == {each.stored.id for each in real.size_limit.going}
