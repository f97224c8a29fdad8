"""Names of runs and components, and the tags by which they are found again."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from kuramori.errors import N_, InvalidNameError
from kuramori.model.snapshot import Snapshot
from kuramori.settings.names import check_name as name_problem

LATEST = "latest"
"""Stands for the newest complete run where a run is named."""
_LONGEST_SHOWN = 200
MANIFEST_COMPONENT = "manifest"
"""The name that stands in the tag of the snapshot that ends a run; no component may have it."""
PROGRAM_TAG = "kuramori"
_JOB, _COMPONENT, _RUN = "job=", "component=", "run="


def check_run_name(name: str) -> str:
    """Return ``name`` if it can be the name of a run: the same rules as for names in the settings.

    Raises:
        InvalidNameError: it cannot.
    """
    problem = name_problem(name)
    if problem is not None or name == LATEST:
        raise InvalidNameError(name=name[:_LONGEST_SHOWN], detail=problem or N_("it stands for the newest run"))
    return name


def new_run_name(started: datetime, taken: Container[str]) -> str:
    """Return ``full_backup_YYYYmmdd_HHMMSS``, with a number behind it where that is taken."""
    base = started.strftime("full_backup_%Y%m%d_%H%M%S")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def run_tags(job: str, component: str, run: str) -> tuple[str, ...]:
    """Return the tags of the snapshot of one component of a run."""
    return (PROGRAM_TAG, f"{_JOB}{job}", f"{_COMPONENT}{component}", f"{_RUN}{run}")


def job_tags(job: str) -> tuple[str, ...]:
    """Return the tags that all snapshots of a job have."""
    return (PROGRAM_TAG, f"{_JOB}{job}")


class RunTags:
    """What the tags of a snapshot say. Attributes: ``job``, ``component`` and ``run``."""

    __slots__ = ("component", "job", "run")

    def __init__(self, job: str, component: str, run: str) -> None:
        """Just keep them."""
        self.job = job
        self.component = component
        self.run = run


def read_tags(snapshot: Snapshot) -> RunTags | None:
    """Return what the tags of a snapshot say, or None if it is not one of ours. The names in them are
    safe to be parts of paths, whoever wrote them."""
    tags = snapshot.tags or []
    if PROGRAM_TAG not in tags:
        return None
    found = {}
    for prefix in (_JOB, _COMPONENT, _RUN):
        values = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
        if len(values) != 1 or name_problem(values[0]) is not None:
            return None
        found[prefix] = values[0]
    return RunTags(found[_JOB], found[_COMPONENT], found[_RUN])
