"""Names of runs and components, and the tags by which they are found again."""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import datetime

from kuramori.errors import InvalidNameError
from kuramori.model.snapshot import Snapshot

LONGEST_NAME = 100
MANIFEST_COMPONENT = "manifest"
"""The name that stands in the tag of the snapshot that ends a run; no component may have it."""
PROGRAM_TAG = "kuramori"
_NAME = re.compile(r"[^\W_](?:[\w.-]*)", re.UNICODE)
_JOB, _COMPONENT, _RUN = "job=", "component=", "run="


def check_name(name: str) -> str:
    """Return ``name`` if it can be the name of a run, a job or a component: it becomes a part of a
    tag and of paths.

    Raises:
        InvalidNameError: it is empty, too long, begins with a dot, or has another character than
            letters (of any language), digits, ``.``, ``_`` and ``-``.
    """
    if len(name) > LONGEST_NAME or _NAME.fullmatch(name) is None or ".." in name:
        raise InvalidNameError(name=name[:LONGEST_NAME + 1], longest=LONGEST_NAME)
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
    """Return what the tags of a snapshot say, or None if it is not one of ours."""
    tags = snapshot.tags or []
    if PROGRAM_TAG not in tags:
        return None
    found = {}
    for prefix in (_JOB, _COMPONENT, _RUN):
        values = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
        if len(values) != 1 or not values[0]:
            return None
        found[prefix] = values[0]
    return RunTags(found[_JOB], found[_COMPONENT], found[_RUN])
