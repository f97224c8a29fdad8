"""Disks that come and go: what is to be done when one appears.

A place counts as there, or as away, once it was seen like that for some seconds: a disk that is being
plugged in comes and goes a few times, and so does one whose cable is loose.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from kuramori.clock import Clock
from kuramori.errors import KuramoriError
from kuramori.scheduling.work import WorkKind, due_key
from kuramori.settings.model import Settings

SETTLE_SECONDS = 5.0
"""So long a place must look the same to be believed."""
LOOK_SECONDS = 10.0
"""Between two looks, each of which opens one small file ..."""
_CLOSE_LOOK_SECONDS = 1.0
"""... and between those while something changes."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What an appearing disk starts."""

    repository: str
    kind: WorkKind
    job: str
    """Empty for the check of the repository itself."""
    at_start: bool = False
    """Also where the disk is there already when the scheduler begins."""

    @property
    def key(self) -> str:
        """Of the work."""
        return due_key(self.kind, self.job or self.repository)


class Arrivals:
    """Sees disks come. For one thread."""

    def __init__(self, wanted: Sequence[Arrival], is_attached: Callable[[str], bool], clock: Clock) -> None:
        """Nothing was looked at yet.

        Args:
            wanted: what to start, in this order where several disks come at once.
            is_attached: tells whether a repository lies at its place right now.
        """
        self._wanted = tuple(wanted)
        self._is_attached = is_attached
        self._clock = clock
        self._looked = -LOOK_SECONDS
        self._settled: dict[str, bool] = {}
        self._changing: dict[str, float] = {}
        """Those that look other than is believed, and since when."""

    @property
    def repositories(self) -> tuple[str, ...]:
        """Those that are watched."""
        return tuple(dict.fromkeys(arrival.repository for arrival in self._wanted))

    def pause(self) -> float:
        """Return after how many seconds to look again."""
        if not self._wanted:
            return float("inf")
        return _CLOSE_LOOK_SECONDS if self._changing else LOOK_SECONDS

    def look(self) -> list[str]:
        """Look, and return the keys of the works that are to be done because a disk has come."""
        now = self._clock.monotonic()
        if not self._wanted or now - self._looked < _CLOSE_LOOK_SECONDS:
            return []
        self._looked = now
        first = not self._settled
        came = {name for name in self.repositories if self._has_come(name, now)}
        started = [arrival for arrival in self._wanted
                   if arrival.repository in came and (arrival.at_start or not first)]
        return list(dict.fromkeys(arrival.key for arrival in started))

    def _has_come(self, name: str, now: float) -> bool:
        try:
            there = self._is_attached(name)
        except KuramoriError:
            return False  # nobody knows; a run will say what is wrong
        if name not in self._settled:
            self._settled[name] = there
            return there
        if there == self._settled[name]:
            self._changing.pop(name, None)
            return False
        if now - self._changing.setdefault(name, now) < SETTLE_SECONDS:
            return False
        del self._changing[name]
        self._settled[name] = there
        return there


def wanted_arrivals(settings: Settings, behind: Container[tuple[str, str]], *, starting: bool) -> list[Arrival]:
    """Return what the settings want done when disks come: where a job's first repository is one of them, its run;
    where a further one is, what it lacks is copied. Then a part of it is read back, if it has a schedule for that:
    when it was due the disk was away, perhaps.

    Args:
        behind: jobs with those of their repositories that are known to lack runs.
        starting: the program has just started, so a disk that is there may have come while it did not look. It
            starts what is behind, and what nothing else would ever start.
    """
    wanted = []
    for kind in (WorkKind.BACKUP, WorkKind.COPY):
        for job in settings.jobs.values():
            names = job.repositories[:1] if kind is WorkKind.BACKUP else job.repositories[1:]
            alone = kind is WorkKind.BACKUP and job.schedule is None
            wanted += [Arrival(name, kind, job.name, at_start=starting and (alone or (job.name, name) in behind))
                       for name in names if settings.repositories[name].run_when_attached]
    return wanted + [Arrival(repository.name, WorkKind.CHECK, "") for repository in settings.repositories.values()
                     if repository.run_when_attached and repository.check is not None]
