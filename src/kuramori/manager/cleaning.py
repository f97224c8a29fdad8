"""A cleanup: what the rules of the components do not keep is removed, from every repository of a job; and what makes
a repository larger than it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime

from kuramori.clock import Clock
from kuramori.errors import (
    ClockLeapError,
    ImplausibleClockError,
    Interrupted,
    KuramoriError,
)
from kuramori.maintenance.size_limit import measure
from kuramori.manager.clock_leaps import find_leap
from kuramori.manager.model import CleanUpOptions, RepositoryCleanUp
from kuramori.manager.places import Places
from kuramori.manager.removing import Removal
from kuramori.manager.retention import Doomed, choose_doomed
from kuramori.manager.run_catalogue import RunCatalogue, RunSnapshots
from kuramori.manager.size_retention import LimitedJob, limited_job
from kuramori.model.times import parse_datetime
from kuramori.progress import Progress
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.settings.model import JobSettings

_TOLERANCE = 5 * 60 * 10**9
"""Nanoseconds by which the clocks of two machines may differ."""


class CleanUp:
    """The cleanup of one repository."""

    def __init__(self, places: Places, clock: Clock, progress: Progress, hostname_of: Callable[[JobSettings], str], *,
                 hold: Callable[[str], AbstractContextManager[None]], options: CleanUpOptions) -> None:
        """Nothing is opened yet.

        Args:
            hostname_of: gives the name that this machine has in a job's snapshots; those of other
                machines are left alone.
            hold: keeps other jobs of this machine from a repository of a name, for a ``with`` block.
        """
        self._places = places
        self._clock = clock
        self._progress = progress
        self._hostname_of = hostname_of
        self._hold = hold
        self._options = options

    def clean_repository(self, name: str, jobs: Sequence[JobSettings],
                         all_jobs: Sequence[JobSettings]) -> RepositoryCleanUp:
        """Remove from a repository what the rules of some jobs do not keep, and what makes it larger than it may be;
        what goes wrong is in the result.

        Args:
            all_jobs: all that save there: the size is theirs together.

        Raises:
            Interrupted: somebody asked to end; what was not removed is still there.
        """
        try:
            with nullcontext() if self._options.dry_run else self._hold(name), \
                    self._places.open(name, maintenance=True) as repository:
                return self._clean(name, repository, jobs, all_jobs)
        except Interrupted:
            raise
        except KuramoriError as error:
            return RepositoryCleanUp(name, error=error)

    def _clean(self, name: str, repository: Repository, jobs: Sequence[JobSettings],
               all_jobs: Sequence[JobSettings]) -> RepositoryCleanUp:
        catalogue = RunCatalogue(repository, name, self._progress)
        self._refuse_implausible(name, repository, catalogue)
        doomed = [one for job in jobs for one in self._choose(catalogue, job)]
        limit = self._options.max_sizes.get(name, self._places.settings_of(name).max_size)
        too_large = limit is not None and measure(repository) > limit
        if self._options.unattended and doomed:
            self._refuse_leaps(name, [catalogue.of_job(job.name, self._hostname_of(job)) for job in jobs])
        elif self._options.unattended and too_large:
            # Of runs that were made while the clock was wrong nobody knows how old they are.
            self._refuse_leaps(name, [[run for job in all_jobs
                                       for run in catalogue.of_job(job.name, self._hostname_of(job))]])
        removal = Removal(repository, self._places.settings_of(name), self._options, self._progress)
        if limit is not None and too_large:
            done = removal.remove_for_size(doomed, [self._limited(catalogue, job) for job in all_jobs], limit)
        else:
            done = removal.remove(doomed)
        gone = {one.snapshot_id for one in done.removed}
        return replace(done, kept=sum(
            stored.id not in gone for job in jobs for run in catalogue.of_job(job.name, self._hostname_of(job))
            for stored in run.components.values()))

    def _refuse_implausible(self, name: str, repository: Repository, catalogue: RunCatalogue) -> None:
        """Raise if nobody can say what is old: the clock, or the repository, is not what it should be.

        Raises:
            ImplausibleClockError, SnapshotsVanishedError
        """
        newest = max(catalogue.snapshots, key=lambda stored: stored.snapshot.time_nanoseconds, default=None)
        if newest is not None and newest.snapshot.time_nanoseconds > self._clock.now_nanoseconds() + _TOLERANCE:
            raise ImplausibleClockError(
                name=name, now=self._clock.now().isoformat(" ", "seconds"),
                newest=parse_datetime(newest.snapshot.time).astimezone(self._clock.now().tzinfo).isoformat(
                    " ", "seconds"), id=newest.short_id)
        listed = list_snapshots(repository)
        if not self._options.accept_missing:
            refuse_vanished(repository, listed)
        elif repository.ledger is not None and not self._options.dry_run:
            repository.ledger.accept(listed, "elsewhere")

    def _refuse_leaps(self, name: str, runs_of_jobs: Iterable[Sequence[RunSnapshots]]) -> None:
        """Raise if there was no run for so long that the clock may be wrong.

        Raises:
            ClockLeapError
        """
        for runs in runs_of_jobs:
            leap = find_leap([run.time_nanoseconds for run in runs], self._clock.now_nanoseconds())
            if leap is not None:
                raise ClockLeapError(name=name, before=self._text(leap.before), after=self._text(leap.after),
                                     trusted_from=self._text(leap.trusted_from))

    def _text(self, nanoseconds: int) -> str:
        moment = datetime.fromtimestamp(nanoseconds / 1e9, self._clock.now().tzinfo)
        return moment.isoformat(" ", "minutes")

    def _choose(self, catalogue: RunCatalogue, job: JobSettings) -> list[Doomed]:
        known = self._limited(catalogue, job)
        return choose_doomed(known.runs, known.retentions, self._clock.now_nanoseconds())

    def _limited(self, catalogue: RunCatalogue, job: JobSettings) -> LimitedJob:
        """Return a job's runs, but for those whose records cannot be read, and its rules."""
        found = limited_job(catalogue, job, self._hostname_of(job))
        runs = [run for run in found.runs.runs if run.manifest is None or catalogue.manifest(run) is not None]
        return LimitedJob(replace(found.runs, runs=runs), found.retentions)


def jobs_by_repository(jobs: Mapping[str, JobSettings]) -> dict[str, list[JobSettings]]:
    """Return the jobs that each repository is cleaned up for, in the order of the settings."""
    found: dict[str, list[JobSettings]] = {}
    for job in jobs.values():
        for name in job.repositories:
            found.setdefault(name, []).append(job)
    return found

