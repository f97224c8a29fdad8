"""What may go of a repository that is too large: pure, from what is there and what always stays.

* Whole runs go, the oldest first, whichever job they are of; but never the newest good snapshot of a
  component (of one that was never saved whole: the newest), and never what a ``keep_tag`` names.
* A run of which something stays keeps its record as well.
* What no rule judges does not go for the size either: snapshots of other machines, of components that
  the settings do not have, and of runs whose record cannot be read.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from kuramori.errors import Phrase
from kuramori.manager.retention import Doomed, RunsOfJob, judge_records
from kuramori.manager.run_catalogue import RunCatalogue, RunSnapshots
from kuramori.settings.model import ComponentRetention, JobSettings


class LimitedJob(NamedTuple):
    """A job that saves in a repository whose size is limited."""

    runs: RunsOfJob
    retentions: Mapping[str, ComponentRetention]
    """By component."""


def limited_job(catalogue: RunCatalogue, job: JobSettings, hostname: str) -> LimitedJob:
    """Return a job of this machine as a repository has it. Records are read when somebody asks for them."""
    return LimitedJob(RunsOfJob(catalogue.of_job(job.name, hostname),
                                lambda run, component: catalogue.good_component(run, component) is not None),
                      {name: component.retention for name, component in job.components.items()})


def find_floor(job: LimitedJob, going: Container[str] = ()) -> set[str]:
    """Return the ids of the snapshots of a job's components that stay however large the repository is.

    Args:
        going: ids of what goes anyway.
    """
    floor: set[str] = set()
    for component, retention in job.retentions.items():
        there = [run for run in job.runs.runs
                 if component in run.components and run.components[component].id not in going]
        there.sort(key=lambda run: (run.components[component].snapshot.time_nanoseconds, run.components[component].id))
        # From the newest on: each look at another run reads its record.
        newest = next((run for run in reversed(there) if job.runs.good(run, component)), there[-1] if there else None)
        floor.update(run.components[component].id for run in there if run is newest or any(
            map(run.components[component].snapshot.has_tags, retention.policy.tags)))
    return floor


def choose_expendable(jobs: Sequence[LimitedJob], going: Container[str], reason: Phrase) -> list[tuple[Doomed, ...]]:
    """Return what may go for the size: a set for each run that has something to give, in the order in which they go.
    In each come first the snapshots of components, then the records, if nothing of the run is left.

    Args:
        going: ids of what the rules drop anyway.
        reason: why they go.
    """
    found: list[tuple[RunSnapshots, tuple[Doomed, ...]]] = []
    for job in jobs:
        floor = find_floor(job, going)
        for run in job.runs.runs:
            given = [Doomed(run, component, stored, reason) for component, stored in run.components.items()
                     if component in job.retentions and stored.id not in going and stored.id not in floor]
            gone = {one.stored.id for one in given}
            gone |= {stored.id for stored in run.snapshots() if stored.id in going}
            given += [one for one in judge_records(run, gone) if one.stored.id not in going]
            if given:
                found.append((run, tuple(given)))
    found.sort(key=lambda each: (each[0].time_nanoseconds, each[0].key))
    return [given for _, given in found]


def oldest_wanted(job: LimitedJob) -> RunSnapshots | None:
    """Return the oldest run that a repository of limited size has for its own sake: what is older was given up there,
    but for the floor, and must not come back from other repositories. None where it has no run.

    (What was not saved whole, was given up and is newer than all that is left cannot be told from a new run.)
    """
    floor = find_floor(job)
    for run in job.runs.runs:
        if any(component in job.retentions and stored.id not in floor for component, stored in run.components.items()):
            return run
    return job.runs.runs[-1] if job.runs.runs else None


def is_wanted(run: RunSnapshots, oldest: RunSnapshots) -> bool:
    """Tell whether a run of another repository belongs into one whose :func:`oldest_wanted` run is ``oldest``."""
    return run.key == oldest.key or run.time_nanoseconds > oldest.time_nanoseconds
