"""Which snapshots a cleanup removes, against a judge that was written another way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.manager.retention import RunsOfJob, choose_doomed
from kuramori.manager.run_catalogue import RunKey, RunSnapshots
from kuramori.model.retention import RetentionPolicy, apply_policy
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.times import format_nanoseconds
from kuramori.settings.model import ComponentRetention

_HOUR = 3600 * 10**9
_START = 1_795_392_000_000_000_000


def _stored(name: str, hour: int) -> StoredSnapshot:
    time = format_nanoseconds(_START + hour * _HOUR)
    return StoredSnapshot(name.ljust(64, "0"), Snapshot(time=time, tree="0" * 64, paths=["/x"]))


def _run(number: int, hour: int, components: str = "a", record: bool = True) -> RunSnapshots:
    return RunSnapshots(RunKey("pi", "job", f"run{number}"),
                        {name: _stored(f"{name}{number:x}", hour) for name in components},
                        _stored(f"f{number:x}", hour) if record else None)


def _gone(runs: list[RunSnapshots], retention: ComponentRetention, now_hours: float, good: set[int]) -> set[str]:
    job = RunsOfJob(runs, lambda run, component: int(run.key.run.removeprefix("run")) in good)
    doomed = choose_doomed(job, {"a": retention}, _START + int(now_hours * _HOUR))
    return {f"{one.component} {one.run.key.run}" for one in doomed}


def test_days_count_from_now_and_the_newest_good_one_stays_however_old() -> None:
    runs = [_run(number, 24 * number) for number in range(5)]
    thirty = ComponentRetention(days=30)
    assert _gone(runs, thirty, 24 * 31, set(range(5))) == {"a run0", "manifest run0", "a run1", "manifest run1"}
    assert _gone(runs, thirty, 24 * 500, set(range(5))) == {
        f"{what} run{number}" for what in ("a", "manifest") for number in range(4)}
    assert _gone(runs, thirty, -24 * 500, set(range(5))) == set(), "a clock of 1970 removes nothing"


def test_what_was_not_saved_whole_does_not_count_and_outlives_nothing_newer() -> None:
    runs = [_run(number, 24 * number) for number in range(5)]
    assert _gone(runs, ComponentRetention(days=30), 24 * 500, set()) == set(), "there is no good one at all"
    assert _gone(runs, ComponentRetention(days=30), 24 * 500, {2}) == {
        f"{what} run{number}" for what in ("a", "manifest") for number in (0, 1)}
    last = ComponentRetention(policy=RetentionPolicy(last=1))
    assert _gone(runs, last, 24 * 5, {1, 3}) == {f"{what} run{number}" for what in ("a", "manifest")
                                                 for number in (0, 1, 2)}


def test_a_record_stays_while_anything_of_its_run_does() -> None:
    runs = [_run(0, 0, "ab"), _run(1, 24 * 50, "ab")]
    assert _gone(runs, ComponentRetention(days=30), 24 * 51, {0, 1}) == {"a run0"}
    runs[0].components.pop("b")
    assert _gone(runs, ComponentRetention(days=30), 24 * 51, {0, 1}) == {"a run0", "manifest run0"}
    assert _gone([_run(0, 0, "")], ComponentRetention(days=1), 24 * 51, set()) == {"manifest run0"}


def test_without_rules_everything_stays() -> None:
    assert _gone([_run(0, 0), _run(1, 1)], ComponentRetention(), 10**6, {0, 1}) == set()


@settings(max_examples=150, deadline=None)
@given(hours=st.lists(st.integers(0, 24 * 60), min_size=1, max_size=12, unique=True),
       good=st.sets(st.integers(0, 11)), days=st.none() | st.integers(1, 40), last=st.integers(0, 4),
       daily=st.integers(0, 4), now=st.integers(0, 24 * 90))
def test_it_never_removes_the_newest_good_one_and_agrees_with_a_plain_judge(
        hours: list[int], good: set[int], days: int | None, last: int, daily: int, now: int) -> None:
    runs = [_run(number, hour) for number, hour in enumerate(sorted(hours))]
    retention = ComponentRetention(days, RetentionPolicy(last=last, daily=daily))
    gone = {name for name in _gone(runs, retention, now, good) if name.startswith("a ")}
    whole = [number for number in range(len(runs)) if number in good]
    expected: set[str] = set()
    if whole and not retention.keeps_everything:
        kept = {whole[-1]}
        ruled = apply_policy([runs[number].components["a"] for number in whole], retention.policy,
                             _START + now * _HOUR).kept if last or daily else []
        kept |= {number for number in whole if runs[number].components["a"] in [one.stored for one in ruled]}
        if days is not None:
            kept |= {number for number in whole if sorted(hours)[number] > now - days * 24}
        for number in range(len(runs)):
            old = days is None or sorted(hours)[number] <= now - days * 24
            if (number in whole and number not in kept) or (number not in whole and number < whole[-1] and old):
                expected.add(f"a run{number}")
    assert gone == expected
