"""A cleanup: what the rules of the components do not keep is removed, from every repository of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from kuramori.clock import Clock
from kuramori.errors import (
    ClockLeapError,
    ImplausibleClockError,
    IncompleteForgetError,
    Interrupted,
    KuramoriError,
)
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.manager.clock_leaps import find_leap
from kuramori.manager.model import RemovedSnapshot, RepositoryCleanUp
from kuramori.manager.naming import MANIFEST_COMPONENT
from kuramori.manager.places import Places
from kuramori.manager.retention import Doomed, RunsOfJob, choose_doomed
from kuramori.manager.run_catalogue import RunCatalogue, RunSnapshots
from kuramori.model.times import parse_datetime
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.settings.model import JobSettings

_TOLERANCE = 5 * 60 * 10**9
"""Nanoseconds by which the clocks of two machines may differ."""


class CleanUp:
    """The cleanup of one repository."""

    def __init__(self, places: Places, clock: Clock, progress: Progress, hostname_of: Callable[[JobSettings], str], *,
                 hold: Callable[[str], AbstractContextManager[None]], dry_run: bool, accept_missing: bool,
                 retry_lock_seconds: float, unattended: bool = False) -> None:
        """Nothing is opened yet.

        Args:
            hostname_of: gives the name that this machine has in a job's snapshots; those of other
                machines are left alone.
            hold: keeps other jobs of this machine from a repository of a name, for a ``with`` block.
            accept_missing: snapshots that this machine knew and that are gone were removed on purpose.
            unattended: nobody looks, so nothing goes while the clock may have leapt ahead.
        """
        self._places = places
        self._clock = clock
        self._progress = progress
        self._hostname_of = hostname_of
        self._hold = hold
        self._dry_run = dry_run
        self._accept_missing = accept_missing
        self._retry_lock_seconds = retry_lock_seconds
        self._unattended = unattended

    def clean_repository(self, name: str, jobs: Sequence[JobSettings]) -> RepositoryCleanUp:
        """Remove from a repository what the rules of some jobs do not keep; what goes wrong is in the result.

        Raises:
            Interrupted: somebody asked to end; what was not removed is still there.
        """
        try:
            with nullcontext() if self._dry_run else self._hold(name), \
                    self._places.open(name, maintenance=True) as repository:
                return self._clean(name, repository, jobs)
        except Interrupted:
            raise
        except KuramoriError as error:
            return RepositoryCleanUp(name, error=error)

    def _clean(self, name: str, repository: Repository, jobs: Sequence[JobSettings]) -> RepositoryCleanUp:
        catalogue = RunCatalogue(repository, name, self._progress)
        self._refuse_implausible(name, repository, catalogue)
        doomed = [one for job in jobs for one in self._choose(catalogue, job)]
        if self._unattended and doomed:
            self._refuse_leaps(name, [catalogue.of_job(job.name, self._hostname_of(job)) for job in jobs])
        removed = [describe_doomed(name, one) for one in doomed]
        kept = sum(len(run.components) for job in jobs for run in catalogue.of_job(job.name, self._hostname_of(job)))
        kept -= sum(one.component != MANIFEST_COMPONENT for one in doomed)
        if not doomed:
            return RepositoryCleanUp(name, kept=kept)
        settings = self._places.settings_of(name)
        result = forget(repository, ForgetOptions(
            ids=tuple(one.stored.id for one in doomed), prune=True, dry_run=self._dry_run, no_lock=self._dry_run,
            accept_missing=self._accept_missing, compression=Compression(settings.compression),
            retry_lock_seconds=self._retry_lock_seconds), self._progress)
        gone = {stored.id for stored in result.removed}
        freed = result.prune.plan.counts.pruned_bytes if result.prune is not None else 0
        error = IncompleteForgetError(count=len(result.errors)) if result.errors else None
        return RepositoryCleanUp(name, tuple(one for one in removed if one.snapshot_id in gone), kept, freed, error)

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
        if not self._accept_missing:
            refuse_vanished(repository, listed)
        elif repository.ledger is not None and not self._dry_run:
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
        runs = [run for run in catalogue.of_job(job.name, self._hostname_of(job))
                if run.manifest is None or catalogue.manifest(run) is not None]
        known = RunsOfJob(runs, lambda run, component: catalogue.good_component(run, component) is not None)
        retentions = {name: component.retention for name, component in job.components.items()}
        return choose_doomed(known, retentions, self._clock.now_nanoseconds())


def describe_doomed(repository: str, one: Doomed) -> RemovedSnapshot:
    """Return a snapshot that goes, as people want to see it."""
    summary = one.stored.snapshot.summary
    return RemovedSnapshot(
        repository=repository, job=one.run.key.job, run=one.run.key.run, component=one.component,
        snapshot_id=one.stored.id, time=parse_datetime(one.stored.snapshot.time),
        size_bytes=summary.total_bytes_processed if summary is not None else 0, reason=one.reason)


def jobs_by_repository(jobs: Mapping[str, JobSettings]) -> dict[str, list[JobSettings]]:
    """Return the jobs that each repository is cleaned up for, in the order of the settings."""
    found: dict[str, list[JobSettings]] = {}
    for job in jobs.values():
        for name in job.repositories:
            found.setdefault(name, []).append(job)
    return found

