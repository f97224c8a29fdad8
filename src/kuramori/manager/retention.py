"""Which snapshots of a job's runs a cleanup removes: pure, from what is there, the rules and the time.

* Rules go by component, and look only at what was saved whole.
* The newest good snapshot of a component stays, however old it is.
* What was not saved whole goes when something newer was, and the days are over.
* A run whose record cannot be read is left alone: nobody knows what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kuramori.errors import N_, Phrase
from kuramori.manager.naming import MANIFEST_COMPONENT
from kuramori.manager.run_catalogue import RunSnapshots
from kuramori.model.retention import apply_policy
from kuramori.model.snapshot import StoredSnapshot
from kuramori.settings.model import ComponentRetention

_DAY = 86_400 * 10**9
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A snapshot that goes, and why."""

    run: RunSnapshots
    component: str
    stored: StoredSnapshot
    reason: Phrase


@dataclass(frozen=True, slots=True)
class RunsOfJob:
    """The runs of one job on one machine."""

    runs: Sequence[RunSnapshots]
    """Those whose record can be read, or that have none; the oldest first."""
    good: Callable[[RunSnapshots, str], bool]
    """Whether a component was saved whole in a run, and is there."""


def choose_doomed(job: RunsOfJob, retentions: Mapping[str, ComponentRetention], now: int) -> list[Doomed]:
    """Return what goes: first snapshots of components, then the records of runs of which nothing is left.

    Args:
        retentions: by component. Components that are not in it lose nothing.
        now: nanoseconds since 1970-01-01 UTC.
    """
    doomed: list[Doomed] = []
    for component, retention in retentions.items():
        if not retention.keeps_everything:
            doomed += _judge_component(job, component, retention, now)
    going = {one.stored.id for one in doomed}
    for run in job.runs:
        doomed += judge_records(run, going)
    return doomed


def _judge_component(job: RunsOfJob, component: str, retention: ComponentRetention, now: int) -> Iterator[Doomed]:
    there = [run for run in job.runs if component in run.components]
    good = [run for run in there if job.good(run, component)]
    if not good:
        return
    newest = max(good, key=lambda run: run.components[component].snapshot.time_nanoseconds)
    newest_time = newest.components[component].snapshot.time_nanoseconds
    staying = _staying([run.components[component] for run in good], retention, now) | {newest.components[component].id}
    good_ids = {run.components[component].id for run in good}
    limit = now - retention.days * _DAY if retention.days is not None else None
    for run in there:
        stored = run.components[component]
        time = stored.snapshot.time_nanoseconds
        if stored.id in good_ids:
            if stored.id not in staying:
                yield Doomed(run, component, stored, _why(retention))
        elif time < newest_time and (limit is None or time <= limit):
            yield Doomed(run, component, stored, Phrase(N_("it was not saved whole, and a newer one was")))


def _staying(snapshots: Sequence[StoredSnapshot], retention: ComponentRetention, now: int) -> set[str]:
    """Return the ids of those that the rules keep."""
    staying = set()
    if retention.days is not None:
        limit = now - retention.days * _DAY
        staying |= {stored.id for stored in snapshots if stored.snapshot.time_nanoseconds > limit}
    if not retention.policy.empty:
        staying |= {kept.stored.id for kept in apply_policy(snapshots, retention.policy, now).kept}
    return staying


def _why(retention: ComponentRetention) -> Phrase:
    if retention.days is None:
        return Phrase(N_("no rule keeps it"))
    if retention.policy.empty:
        return Phrase(N_("it is older than {days} days"), days=retention.days)
    return Phrase(N_("it is older than {days} days, and no rule keeps it"), days=retention.days)


def judge_records(run: RunSnapshots, going: set[str]) -> Iterator[Doomed]:
    """Yield the record of a run, and what was superseded in it, if none of its components stays.

    Args:
        going: ids of the snapshots that go.
    """
    if any(stored.id not in going for stored in run.components.values()):
        return
    for stored in [*run.superseded, *([run.manifest] if run.manifest is not None else [])]:
        yield Doomed(run, MANIFEST_COMPONENT, stored, Phrase(N_("nothing of its run is left")))
