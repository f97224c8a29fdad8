"""The several repositories of a job: each gets copies of the snapshots that the others have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from kuramori.errors import (
    IncompleteCopyError,
    Interrupted,
    KuramoriError,
    NoRepositoryError,
    NotInitialisedError,
    RepositoryLockedError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    UsageError,
)
from kuramori.history.rows import to_nanoseconds
from kuramori.maintenance.copy import CopyAction, CopyOptions, copy_snapshots
from kuramori.manager.model import CopyOutcome, CopyState, RunOptions
from kuramori.manager.naming import job_tags
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue, group_by_run
from kuramori.manager.size_retention import is_wanted, limited_job, oldest_wanted
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import SnapshotFilter, load_snapshots
from kuramori.settings.model import JobSettings

_FOR_GOOD = (NotInitialisedError, StoragePermissionError, StorageFullError)
"""What does not pass by itself, unlike a place that is away."""


def judge_failure(name: str, error: KuramoriError) -> CopyOutcome:
    """Return what became of a repository that could not be brought up to date."""
    away = isinstance(error, (NoRepositoryError, RepositoryLockedError, StorageError, Interrupted))
    state = CopyState.STALE if away and not isinstance(error, _FOR_GOOD) else CopyState.FAILED
    return CopyOutcome(name, state, error=error)


@dataclass(frozen=True, slots=True)
class OpenPlace:
    """The first repository of a job that can be opened."""

    name: str
    repository: Repository
    away: Mapping[str, KuramoriError]
    """Why those before it cannot be."""


def open_first(places: Places, job: JobSettings, stack: ExitStack,
               told: Callable[[KuramoriError], None]) -> OpenPlace:
    """Open the first of a job's repositories that can be opened, until ``stack`` ends.

    Args:
        told: of the further ones that cannot be opened either, where none can.

    Raises:
        KuramoriError: none can be opened; the first one's error.
        NotInitialisedError: one before was never made: that is to be done first.
        Interrupted
    """
    away: dict[str, KuramoriError] = {}
    for name in job.repositories:
        try:
            return OpenPlace(name, stack.enter_context(places.open(name)), away)
        except (Interrupted, UsageError, NotInitialisedError):
            raise
        except KuramoriError as error:
            away[name] = error
    first, *others = away.values()
    for failure in others:
        told(failure)
    raise first


class PlaceCopying:
    """Copies between the repositories of a job. One that cannot be reached does not keep the others.

    Being asked to end ends the copying, not the run: it is complete already.
    """

    def __init__(self, job: JobSettings, places: Places, options: RunOptions, hostname: str, progress: Progress,
                 log: Callable[[str], None]) -> None:
        """Nothing is opened yet.

        Args:
            hostname: what the snapshots say of this machine.
            log: takes a line for each repository.
        """
        self._job = job
        self._hostname = hostname
        self._places = places
        self._options = options
        self._filter = SnapshotFilter(hosts=(hostname,), tags=(job_tags(job.name),))
        self._progress = progress
        self._log = log

    def copy_to_others(self, source: Repository, name: str,
                       away: Mapping[str, KuramoriError]) -> tuple[CopyOutcome, ...]:
        """Bring the job's other repositories up to date: with this run, and with all that they missed.

        Args:
            source: the open repository of that ``name``.
            away: those that could not be opened a moment ago are not tried again.
        """
        outcomes = []
        for other in self._job.repositories:
            if other != name:
                outcome = judge_failure(other, away[other]) if other in away else self._copy_to(source, other)
                outcomes.append(self._tell(outcome, to_be_told=other not in away))
        return tuple(outcomes)

    def fetch_missed(self, target: Repository, name: str, since: datetime) -> CopyOutcome:
        """Bring a repository up to date that was away while others took its runs: with those runs, from the others.
        What it had before and has no more was removed by its own rules.

        Args:
            target: the open repository of that ``name``.
            since: when the first of these runs began.
        """
        copied, reached, failure = 0, False, None
        for other in self._places.nearest_first(self._job.repositories):
            if other == name:
                continue
            try:
                self._check()
                with self._places.open(other) as source:
                    missed = [stored.id for stored in load_snapshots(source, self._progress)
                              if self._filter.matches(stored.snapshot)
                              and stored.snapshot.time_nanoseconds >= to_nanoseconds(since)]
                    if missed:
                        reached = True
                        copied += self._copy(source, target, name, tuple(missed))
            except KuramoriError as error:
                failure = failure or error
        if reached or failure is None:
            return self._tell(CopyOutcome(name, CopyState.COMPLETE, copied), to_be_told=False)
        return self._tell(judge_failure(name, failure), to_be_told=True)

    def _copy_to(self, source: Repository, name: str) -> CopyOutcome:
        try:
            self._check()
            with self._places.open(name) as target:
                copied = self._copy(source, target, name, unwanted=self._given_up(source, target, name))
                return CopyOutcome(name, CopyState.COMPLETE, copied)
        except KuramoriError as error:
            return judge_failure(name, error)

    def _given_up(self, source: Repository, target: Repository, name: str) -> frozenset[str]:
        """Return what a repository of limited size has given up, and must not get again: ids of the source."""
        if self._places.settings_of(name).max_size is None:
            return frozenset()
        oldest = oldest_wanted(limited_job(RunCatalogue(target, name), self._job, self._hostname))
        if oldest is None:
            return frozenset()
        # What is damaged is told by the copy itself.
        runs = group_by_run(stored for stored in load_snapshots(source) if self._filter.matches(stored.snapshot))
        return frozenset(stored.id for run in runs if not is_wanted(run, oldest) for stored in run.snapshots())

    def _copy(self, source: Repository, target: Repository, name: str, snapshots: tuple[str, ...] = (),
              unwanted: frozenset[str] = frozenset()) -> int:
        """Copy snapshots (none for all of the job, but for the unwanted ones); return how many were new.

        Raises:
            IncompleteCopyError: some could not be copied.
            KuramoriError: see :func:`copy_snapshots`.
        """
        settings = self._places.settings_of(name)
        result = copy_snapshots(source, target, CopyOptions(
            snapshots=snapshots, snapshot_filter=self._filter, unwanted=unwanted,
            compression=Compression(settings.compression), pack_size=settings.pack_size,
            retry_lock_seconds=self._options.retry_lock_seconds, cancelled=self._options.cancelled), self._progress)
        if result.failures:
            raise IncompleteCopyError(location=target.backend.location, count=result.failures)
        return len(result.of(CopyAction.COPIED))

    def _check(self) -> None:
        if self._options.cancelled():
            raise Interrupted

    def _tell(self, outcome: CopyOutcome, *, to_be_told: bool) -> CopyOutcome:
        self._log(f"copy to {outcome.repository}: {outcome.state.value}, {outcome.snapshots_copied} snapshots"
                  + (f": {outcome.error}" if outcome.error is not None else ""))
        if outcome.error is not None and to_be_told:
            self._progress.warning(outcome.error)
        return outcome
