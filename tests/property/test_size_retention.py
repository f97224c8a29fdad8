"""What may go of a repository that is too large, against a judge that looks at each snapshot by itself."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.errors import Phrase
from kuramori.manager.naming import MANIFEST_COMPONENT
from kuramori.manager.retention import RunsOfJob
from kuramori.manager.run_catalogue import RunKey, RunSnapshots
from kuramori.manager.size_retention import LimitedJob, choose_expendable, find_floor, is_wanted, oldest_wanted
from kuramori.model.retention import RetentionPolicy
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.times import format_nanoseconds
from kuramori.settings.model import ComponentRetention

_START = 1_795_392_000_000_000_000
_HOUR = 3600 * 10**9
_REASON = Phrase("too large")
_CLAIMED = ("a", "b")
"""The components that the settings have; ``c`` is one that they had once."""


@dataclass(frozen=True)
class _Saved:
    """One component of one run."""

    whole: bool
    kept_by_tag: bool
    dropped_by_rule: bool


_RUN = st.tuples(st.dictionaries(st.sampled_from("abc"), st.builds(_Saved, st.booleans(), st.booleans(), st.booleans()),
                                 max_size=3), st.booleans(), st.booleans())
"""Components; whether it has a record; whether it has something that was superseded."""
_HISTORIES = st.lists(_RUN, max_size=7)


class _Machine:
    """A job, and everything that is known of its snapshots."""

    def __init__(self, name: str, history: list, first_hour: int) -> None:  # type: ignore[type-arg]
        self.runs: list[RunSnapshots] = []
        self.saved: dict[str, _Saved] = {}
        self.going: set[str] = set()
        for number, (components, record, superseded) in enumerate(history):
            if not (components or record):
                continue
            run = RunSnapshots(RunKey("pi", name, f"run{number}"))
            hour = first_hour + 2 * number
            for component, saved in components.items():
                stored = _stored(f"{name}{component}{number}", hour, "kept" if saved.kept_by_tag else "")
                run.components[component] = stored
                self.saved[stored.id] = saved
                if saved.dropped_by_rule and component in _CLAIMED:
                    self.going.add(stored.id)
            if record:
                run.manifest = _stored(f"{name}record{number}", hour)
            if superseded:
                run.superseded.append(_stored(f"{name}superseded{number}", hour))
            self.runs.append(run)
        policy = RetentionPolicy(tags=(("kept",),))
        self.job = LimitedJob(
            RunsOfJob(self.runs, lambda run, component: self.saved[run.components[component].id].whole),
            {component: ComponentRetention(policy=policy) for component in _CLAIMED})

    def must_stay(self, component: str, stored: StoredSnapshot) -> bool:
        """Tell it of a snapshot that no rule drops, from all the others."""
        if component not in _CLAIMED or self.saved[stored.id].kept_by_tag:
            return True
        rivals = [run.components[component] for run in self.runs
                  if component in run.components and run.components[component].id not in self.going]
        if any(self.saved[rival.id].whole for rival in rivals):
            if not self.saved[stored.id].whole:
                return False
            rivals = [rival for rival in rivals if self.saved[rival.id].whole]
        return all(rival.snapshot.time_nanoseconds <= stored.snapshot.time_nanoseconds for rival in rivals)

    def expected(self, run: RunSnapshots) -> list[str]:
        """Return what of a run may go, components before records."""
        gone, left = [], False
        for component, stored in run.components.items():
            if stored.id in self.going:
                continue
            if self.must_stay(component, stored):
                left = True
            else:
                gone.append(stored.id)
        if left:
            return gone
        return gone + [stored.id for stored in [*run.superseded, run.manifest] if stored is not None]


def _stored(name: str, hour: int, tag: str = "") -> StoredSnapshot:
    return StoredSnapshot(name, Snapshot(time=format_nanoseconds(_START + hour * _HOUR), tree="0" * 64, paths=["/x"],
                                         tags=[tag] if tag else None))


@settings(max_examples=200, deadline=None)
@given(_HISTORIES, _HISTORIES)
def test_whole_runs_of_all_jobs_go_the_oldest_first_and_never_the_floor(first: list, second: list) -> None:  # type: ignore[type-arg]
    machines = [_Machine("one", first, 0), _Machine("two", second, 1)]
    going = machines[0].going | machines[1].going
    found = choose_expendable([machine.job for machine in machines], going, _REASON)
    by_age = sorted(((run.time_nanoseconds, machine, run) for machine in machines for run in machine.runs),
                    key=lambda each: each[0])
    expected = [each for _, machine, run in by_age if (each := machine.expected(run))]
    assert [[one.stored.id for one in each] for each in found] == expected
    for each in found:
        assert len({one.run.key for one in each}) == 1
        kinds = [one.component == MANIFEST_COMPONENT for one in each]
        assert kinds == sorted(kinds), "a run that is broken off in between still has its record"
    gone = going | {one.stored.id for each in found for one in each}
    for machine in machines:
        assert gone.isdisjoint(find_floor(machine.job, machine.going))
        for component in _CLAIMED:
            before = [run.components[component].id for run in machine.runs if component in run.components]
            left = [name for name in before if name not in gone]
            assert left or not set(before) - going, "with everything else gone each component has one snapshot"


@settings(max_examples=200, deadline=None)
@given(_HISTORIES, st.integers(0, 7))
def test_what_was_given_up_is_not_wanted_again_and_what_is_new_is(history: list, dropped: int) -> None:  # type: ignore[type-arg]
    """A place of the same runs gives up the oldest; then it is asked about each run of the whole place."""
    whole = _Machine("one", history, 0)
    limited = _Machine("one", history, 0)
    limited.saved = whole.saved
    sets = choose_expendable([limited.job], set(), _REASON)[:dropped]
    gone = {one.stored.id for each in sets for one in each}
    for run in list(limited.runs):
        run.components = {name: stored for name, stored in run.components.items() if stored.id not in gone}
        run.superseded = [stored for stored in run.superseded if stored.id not in gone]
        run.manifest = None if run.manifest is not None and run.manifest.id in gone else run.manifest
        if not run.snapshots():
            limited.runs.remove(run)
    oldest = oldest_wanted(limited.job)
    if oldest is None:
        assert not limited.runs
        return
    touched = {each[0].run.key for each in sets}
    newest = limited.runs[-1]
    wanted = [run for run in whole.runs if is_wanted(run, oldest)]
    assert newest.key in [run.key for run in wanted]
    for run in wanted:
        # What was given up and is newer than all that is left cannot be told from what was saved since.
        assert run.key not in touched or run.time_nanoseconds >= newest.time_nanoseconds, "nothing comes back"
    for run in whole.runs:
        later = RunSnapshots(RunKey("pi", "one", "next"), {"a": _stored("next", 100)})
        assert is_wanted(later, oldest)
        if run.key not in touched and any(name in _CLAIMED and not limited.saved[stored.id].kept_by_tag
                                          and stored.id not in find_floor(limited.job)
                                          for name, stored in run.components.items()):
            assert run in wanted, "what it has for its own sake"
