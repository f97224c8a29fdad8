"""The manager: jobs made of components, as one object for whoever stands above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path
from typing import Self

from kuramori import __version__
from kuramori.clock import Clock
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import (
    Interrupted,
    KuramoriError,
    UnknownJobError,
    UnknownRepositoryNameError,
    WaitingForRepositoryNote,
    suggest,
)
from kuramori.history.history import History
from kuramori.history.records import ComponentEntry, OperationKind, OperationState
from kuramori.maintenance.rolling_check import RollingCheckOptions
from kuramori.manager.checking import PlaceChecking, RepositoryCheck
from kuramori.manager.cleaning import CleanUp, jobs_by_repository
from kuramori.manager.copying import PlaceCopying, open_first
from kuramori.manager.finishing import Finished
from kuramori.manager.holders import Holders
from kuramori.manager.model import (
    CleanUpOptions,
    CleanUpResult,
    ComponentState,
    CopyOutcome,
    CopyState,
    RestoreRunOptions,
    RestoreRunResult,
    RunOptions,
    RunResult,
    RunState,
    SizeCleanUp,
    Status,
    StoredRun,
    Timetable,
)
from kuramori.manager.places import Accesses, MadeRepository, Places, Retrying, Secrets, settings_access
from kuramori.manager.run_catalogue import RunCatalogue, RunKey
from kuramori.manager.run_restoring import RunRestore
from kuramori.manager.running import Run, choose_components
from kuramori.manager.state_files import hold_job, hold_repositories
from kuramori.manager.status import StatusReport
from kuramori.manager.swap_journal import RestoreJournal, RestoreJournals
from kuramori.manager.undoing import drop, find_journal, undo
from kuramori.progress import NoProgress, Progress
from kuramori.repository.process_identity import current_identity
from kuramori.settings.model import ComponentSettings, JobSettings, Settings


def _never() -> bool:
    return False


_REMEMBERED_RUNS = 1000
_PATIENCE_SECONDS = 600.0
"""For another job of this machine that uses a repository."""
_STATES = {RunState.COMPLETE: OperationState.COMPLETE, RunState.PARTIAL: OperationState.PARTIAL,
           RunState.FAILED: OperationState.FAILED}
_COMPONENT_STATES = {ComponentState.COMPLETE: OperationState.COMPLETE, ComponentState.PARTIAL: OperationState.PARTIAL,
                     ComponentState.FAILED: OperationState.FAILED}


class Manager:
    """What the settings say, done. Each method opens the repositories that it needs; one object may
    be used again and again, by one thread at a time."""

    def __init__(self, settings: Settings, *, clock: Clock, history: History, secrets: Secrets,
                 access: Accesses = settings_access, retrying: Retrying | None = None,
                 progress: Progress | None = None, environment: Mapping[str, str] | None = None,
                 kdf: KdfParameters | None = None) -> None:
        """Nothing is opened or written yet.

        Args:
            settings: what to protect and where.
            clock: what time it is.
            history: gets a note of every run, restore and cleanup.
            secrets: gives the password of a repository.
            access: tells how a repository's store is reached.
            retrying: told before a store is tried again.
            progress: is told what happens.
            environment: what hooks inherit, but for secrets; None for hardly anything.
            kdf: how expensive it is to derive the key of a new repository; None for what is safe.
        """
        self.settings = settings
        self._clock = clock
        self.history = history
        self._progress = progress or NoProgress()
        self._environment = environment or {}
        self._kdf = kdf
        self._places = Places(settings, clock, secrets, self._progress.warning, access, retrying)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the history; it is opened again when needed. May be called twice."""
        self.history.close()

    def mark_unfinished(self) -> int:
        """Mark what a crash broke off as unfinished in the history; return how many operations."""
        return self.history.mark_unfinished()

    # --- making ------------------------------------------------------------------------------

    def initialise(self, names: Sequence[str] = (), *, renew: bool = False) -> list[MadeRepository]:
        """Make the repositories that are not there yet. May be called again.

        Args:
            names: only these; none for all of the settings.
            renew: also where another repository was before, which is gone or was replaced.

        Raises:
            UnknownRepositoryNameError, RepositoryAwayError, DifferentRepositoryError, WrongPasswordError,
            RepositoryExistsError, StorageError: those before it are made.
        """
        return [self._places.make(name, renew=renew, kdf=self._kdf) for name in names or self.settings.repositories]

    def is_attached(self, repository: str) -> bool:
        """Tell whether a repository on a disk of this machine is there right now; see :meth:`Places.is_attached`."""
        return self._places.is_attached(repository)

    # --- runs --------------------------------------------------------------------------------

    def back_up(self, job: str, options: RunOptions | None = None) -> RunResult:
        """Run a job once. What goes wrong with a source, a hook or the repository is in the result.

        Raises:
            UnknownJobError, UnknownComponentError, UsageError, InvalidNameError, RunExistsError: the request.
            JobBusyError, RepositoryBusyError: another process works on the job, or with one of its repositories.
            Interrupted: ``options.cancelled`` said so; what was saved is kept, and the run is not complete.
        """
        options = options or RunOptions()
        settings = self._job(job)
        with hold_job(self._locks, job, self._clock, options.retry_lock_seconds), \
                self._hold(settings.repositories, options.retry_lock_seconds, options.cancelled):
            return self._back_up(settings, options)

    def _hold(self, repositories: Sequence[str], wait_seconds: float,
              cancelled: Callable[[], bool]) -> AbstractContextManager[None]:
        """Keep other jobs of this machine from repositories. One that runs already is waited for some time."""
        def check() -> None:
            if cancelled():
                raise Interrupted

        return hold_repositories(self._locks, repositories, self._clock, max(wait_seconds, _PATIENCE_SECONDS), check,
                                 lambda name: self._progress.warning(WaitingForRepositoryNote(name=name)))

    def _back_up(self, job: JobSettings, options: RunOptions) -> RunResult:
        taken = frozenset(record.run for record in self.history.operations(
            job.name, OperationKind.BACKUP, limit=_REMEMBERED_RUNS))
        operation = self.history.begin(OperationKind.BACKUP, job.name, options.run_name, job.repositories[0])
        with Finished(operation):
            result = Run(job, options, self._places, self._clock, self._progress, operation,
                         hostname=self._hostname(job), environment=self._environment,
                         program=f"kuramori {__version__}", taken=taken, stale=self._stale_places(job)).execute()
            self._note_copies(result)
            operation.finish(
                _STATES[result.state], size_bytes=result.size_bytes, added_bytes=result.added_bytes,
                files=sum(outcome.files for outcome in result.components.values()), errors=_all_errors(result),
                components=_entries(result, job, options))
            return result

    def catch_up(self, job: str, options: RunOptions | None = None) -> tuple[CopyOutcome, ...]:
        """Bring the repositories of a job up to date, from the first one that is there; nothing is saved anew. What
        goes wrong with a repository is in the result; one that is away is not waited for.

        Raises:
            UnknownJobError: there is none of that name.
            JobBusyError, RepositoryBusyError: another process works on the job, or with one of its repositories.
            KuramoriError: no repository is there; the first one's error.
            Interrupted: ``options.cancelled`` said so; what was copied is kept.
        """
        options = options or RunOptions()
        settings = self._job(job)
        with hold_job(self._locks, job, self._clock, options.retry_lock_seconds), \
                self._hold(settings.repositories, options.retry_lock_seconds, options.cancelled), \
                Finished(self.history.begin(OperationKind.COPY, job)) as operation, ExitStack() as stack:
            place = open_first(self._places, settings, stack, self._progress.warning)
            operation.name_repository(place.name)
            copying = PlaceCopying(settings, self._places, options, self._hostname(settings), self._progress,
                                   operation.log)
            since = self._stale_places(settings).get(place.name)
            outcomes = [copying.fetch_missed(place.repository, place.name, since)] if since is not None else []
            outcomes += copying.copy_to_others(place.repository, place.name, place.away)
            for outcome in outcomes:
                if outcome.state is CopyState.COMPLETE:
                    self.history.note_caught_up(job, outcome.repository)
            failures = [outcome.error for outcome in outcomes if outcome.error is not None]
            if any(isinstance(failure, Interrupted) for failure in failures):
                raise Interrupted
            failed = any(outcome.state is CopyState.FAILED for outcome in outcomes)
            operation.finish(OperationState.PARTIAL if failed else OperationState.COMPLETE, errors=failures)
            return tuple(outcomes)

    def _stale_places(self, job: JobSettings) -> dict[str, datetime]:
        """Return the job's repositories that lack runs, and when the first of these began."""
        return {record.repository: record.stale_since for record in self.history.copy_records(job.name)
                if record.stale_since is not None}

    def _note_copies(self, result: RunResult) -> None:
        """Note which repositories have all runs, and which lack this one."""
        for copy in result.copies:
            if copy.state is CopyState.COMPLETE:
                self.history.note_caught_up(result.job, copy.repository)
            elif copy.repository != result.repository:
                self.history.note_missed_run(result.job, copy.repository, result.started)

    def list_runs(self, job: str = "", repository: str = "") -> list[StoredRun]:
        """Return the runs that lie in the repositories, the oldest first. A repository that cannot be
        read is told to the progress and left out, unless it is the only one that was asked for.

        Raises:
            UnknownJobError, UnknownRepositoryNameError: there is no such thing.
            KuramoriError: no repository could be read; the first one's error.
        """
        names = self._repositories_of(job, repository)
        found: list[StoredRun] = []
        failures: list[KuramoriError] = []
        for name in names:
            try:
                with self._places.open(name) as opened:
                    catalogue = RunCatalogue(opened, name, self._progress)
                    found += [catalogue.describe(run) for run in catalogue.runs if job in ("", run.key.job)]
            except Interrupted:
                raise
            except KuramoriError as error:
                failures.append(error)
                if len(failures) == len(names):
                    raise failures[0] from None
                self._progress.warning(error)
        return sorted(found, key=lambda run: (run.time, run.job, run.name, names.index(run.repository)))

    # --- restores ----------------------------------------------------------------------------

    def restore(self, options: RestoreRunOptions) -> RestoreRunResult:
        """Bring a run back, to a folder or in place. In place, what is there is kept beside it, and
        :meth:`undo_restore` brings that back. What goes wrong with a component is in the result.

        Raises:
            UnknownRunError, AmbiguousRunError, UnknownJobError, UnknownComponentError,
            UnknownRepositoryNameError: the request.
            JobBusyError: another process works on the job.
            StateError: what is to be replaced cannot be noted down, so nothing was.
            KuramoriError: no repository can be read; the first one's error.
        """
        names = self._places.nearest_first(self._repositories_of(options.job, options.repository))
        with Holders(self._places, names, options.run, options.job, self._hostname_of, self._progress,
                     spare_names=self._places.nearest_first(self.settings.repositories)) as holders:
            key = holders.first().run.key
            with ExitStack() as stack:
                if options.target is None and not options.dry_run:
                    stack.enter_context(hold_job(self._locks, key.job, self._clock))
                return self._restore(options, holders, key)

    def _restore(self, options: RestoreRunOptions, holders: Holders, key: RunKey) -> RestoreRunResult:
        operation = self.history.begin(OperationKind.RESTORE, key.job, key.run, holders.first().name)
        with Finished(operation):
            result = RunRestore(options, holders, self._journals, self.history, self._components_of(key.job),
                                self._clock.now(), self._progress, operation).execute()
            operation.finish(_restore_state(result), size_bytes=sum(
                component.size_bytes for component in result.components.values()), files=sum(
                component.files for component in result.components.values()), errors=[
                error for component in result.components.values() for error in component.errors])
            return result

    def undo_restore(self, restore_id: str = "") -> RestoreRunResult:
        """Bring back what a restore in place replaced; what it had put there is kept beside it. Also
        where the restore, or its undoing, was broken off anywhere.

        Args:
            restore_id: which; empty for the last one.

        Raises:
            UnknownRestoreError: there is none.
            JobBusyError, StateError: nothing was changed.
        """
        journal = find_journal(self._journals, restore_id)
        with hold_job(self._locks, journal.job, self._clock):
            operation = self.history.begin(OperationKind.RESTORE, journal.job, journal.run, journal.repository)
            with Finished(operation):
                operation.log(f"undo of restore {journal.restore_id}")
                result = undo(journal, self._journals, self._components_of(journal.job), self._clock.now(),
                              self._progress)
                if result.success:
                    self.history.forget_restore(journal.restore_id)
                operation.finish(_restore_state(result), errors=[
                    error for component in result.components.values() for error in component.errors])
                return result

    def list_restores(self) -> list[RestoreJournal]:
        """Return the restores in place that can be undone, the oldest first."""
        return self._journals.all()

    def drop_kept(self, restore_id: str) -> int:
        """Remove for good what a restore in place kept; return how many things.

        Raises:
            UnknownRestoreError, JobBusyError, UndoError, StateError
        """
        journal = find_journal(self._journals, restore_id)
        with hold_job(self._locks, journal.job, self._clock):
            count = drop(journal, self._journals, self._components_of(journal.job))
        self.history.forget_restore(journal.restore_id)
        return count

    # --- cleanups ----------------------------------------------------------------------------

    def clean_up(self, job: str = "", dry_run: bool = False, *, accept_missing: bool = False,
                 cancelled: Callable[[], bool] = _never, retry_lock_seconds: float = 0.0,
                 unattended: bool = False, max_sizes: Mapping[str, int] | None = None,
                 before_size_limit: Callable[[SizeCleanUp], None] | None = None) -> CleanUpResult:
        """Remove what the components' rules do not keep, from all repositories of a job or of all jobs; and then
        the oldest runs of all jobs, where a repository would still be larger than its ``max_size``. Each is
        pruned once. What goes wrong with a repository is in the result.

        Nothing goes from a repository while the clock is before its newest snapshot, or when snapshots
        have vanished that this machine knows.

        Args:
            dry_run: only say what would go, why, and how much room it makes.
            accept_missing: what vanished was removed on purpose.
            cancelled: asked before each repository.
            retry_lock_seconds: how long to wait for others that use a repository.
            unattended: nobody looks. After a long time without any run nothing goes for some days more:
                the clock may have leapt ahead.
            max_sizes: bytes that repositories may have this once, by their names.
            before_size_limit: told what goes because of the size, before it goes.

        Raises:
            UnknownJobError, UnknownRepositoryNameError: there is none of that name.
            JobBusyError: another process works on a job.
            Interrupted: ``cancelled`` said so; what was not removed is still there.
        """
        jobs = {job: self._job(job)} if job else dict(self.settings.jobs)
        for name in max_sizes or ():
            if name not in jobs_by_repository(jobs):
                raise UnknownRepositoryNameError(name=name, suggestion=suggest(name, jobs_by_repository(jobs)))
        cleanup = CleanUp(self._places, self._clock, self._progress, self._hostname,
                          hold=lambda name: self._hold([name], retry_lock_seconds, cancelled),
                          options=CleanUpOptions(dry_run, accept_missing, retry_lock_seconds, unattended,
                                                 max_sizes or {}, before_size_limit))
        with ExitStack() as stack:
            if dry_run:
                return self._clean_up(cleanup, jobs, dry_run, cancelled)
            for name in sorted(jobs):
                stack.enter_context(hold_job(self._locks, name, self._clock, retry_lock_seconds))
            operation = stack.enter_context(Finished(self.history.begin(OperationKind.CLEANUP, job)))
            result = self._clean_up(cleanup, jobs, dry_run, cancelled)
            for one in result.removed:
                operation.log(f"{one.repository}: removed {one.component} of {one.run}: {one.reason}")
            for note in result.notes:
                operation.log(str(note))
            failures = [one.error for one in result.repositories.values() if one.error is not None]
            state = OperationState.COMPLETE
            if failures:
                state = OperationState.FAILED if result.failed else OperationState.PARTIAL
            operation.finish(state, size_bytes=result.freed_bytes, errors=failures)
            return result

    def _clean_up(self, cleanup: CleanUp, jobs: Mapping[str, JobSettings], dry_run: bool,
                  cancelled: Callable[[], bool]) -> CleanUpResult:
        found = {}
        everybody = jobs_by_repository(self.settings.jobs)
        for name, concerned in jobs_by_repository(jobs).items():
            if cancelled():
                raise Interrupted
            found[name] = cleanup.clean_repository(name, concerned, everybody[name])
        return CleanUpResult(dry_run, found)

    # --- checks ------------------------------------------------------------------------------

    def check(self, repository: str, *, days: int | None = None, cancelled: Callable[[], bool] = _never,
              retry_lock_seconds: float = 0.0) -> RepositoryCheck:
        """Read back the part of a repository whose turn it is, with the password and credentials of backups and past
        every cache. What is wrong with it is in the result. May be called again, also on the same day.

        Args:
            repository: its name in the settings; its ``check_budget`` counts.
            days: within so many days all of it shall be read; None for its ``check_days``.
            cancelled: asked before each pack.
            retry_lock_seconds: how long to wait for others that use the repository.

        Raises:
            UnknownRepositoryNameError: there is none of that name.
            RepositoryBusyError, RepositoryLockedError: others work with it.
            Interrupted: ``cancelled`` said so; what was read stays noted.
            KuramoriError: it could not be opened or listed.
        """
        settings = self._places.settings_of(repository)
        checking = PlaceChecking(self._places, self.history, self._progress,
                                 hold=lambda name: self._hold([name], retry_lock_seconds, cancelled))
        return checking.check(repository, self.settings.beside(repository), RollingCheckOptions(
            days=days or settings.check_days, budget=settings.check_budget, retry_lock_seconds=retry_lock_seconds,
            cancelled=cancelled))

    # --- status ------------------------------------------------------------------------------

    def status(self, timetable: Callable[[JobSettings], Timetable] | None = None) -> Status:
        """Say whether all is well. Nothing is written but what a ledger learns by looking.

        Args:
            timetable: tells when a job runs; None if nobody knows: then nothing is overdue.

        Raises:
            Interrupted: somebody asked to end.
        """
        return StatusReport(self.settings, self._places, self.history, self._journals.all(), self._clock.now(),
                            self._hostname, timetable or (lambda _: Timetable()), self._progress).make()

    # --- names -------------------------------------------------------------------------------

    @property
    def _locks(self) -> Path:
        return self.settings.state_directory / "locks"

    @property
    def _journals(self) -> RestoreJournals:
        return RestoreJournals(self.settings.state_directory / "restores")

    def _hostname_of(self, job: str) -> str:
        known = self.settings.jobs.get(job)
        return self._hostname(known) if known is not None else current_identity().hostname

    def _components_of(self, job: str) -> Mapping[str, ComponentSettings]:
        known = self.settings.jobs.get(job)
        return known.components if known is not None else {}

    def _job(self, name: str) -> JobSettings:
        found = self.settings.jobs.get(name)
        if found is None:
            raise UnknownJobError(name=name, suggestion=suggest(name, self.settings.jobs))
        return found

    def _hostname(self, job: JobSettings) -> str:
        return job.hostname or current_identity().hostname

    def _repositories_of(self, job: str, repository: str) -> list[str]:
        """Return the repositories that are meant: the named one, those of a job, or all."""
        if repository:
            if repository not in self.settings.repositories:
                raise UnknownRepositoryNameError(
                    name=repository, suggestion=suggest(repository, self.settings.repositories))
            return [repository]
        return list(self._job(job).repositories if job else self.settings.repositories)


def _restore_state(result: RestoreRunResult) -> OperationState:
    if result.success:
        return OperationState.COMPLETE
    some = any(component.success for component in result.components.values())
    return OperationState.PARTIAL if some else OperationState.FAILED


def _all_errors(result: RunResult) -> list[KuramoriError]:
    copies = [copy.error for copy in result.copies if copy.error is not None]
    return [*result.errors, *(error for outcome in result.components.values() for error in outcome.errors), *copies]


def _entries(result: RunResult, job: JobSettings, options: RunOptions) -> list[ComponentEntry]:
    """Return what the history notes for each component, in the first repository and in the copies. A component that
    the run did not come to has failed there as well."""
    entries = [ComponentEntry(component.name, result.repository, OperationState.FAILED)
               for component in choose_components(job, options.components) if component.name not in result.components]
    for outcome in result.components.values():
        state = _COMPONENT_STATES[outcome.state]
        entries.append(ComponentEntry(outcome.name, result.repository, state, outcome.size_bytes, outcome.added_bytes,
                                      outcome.files, outcome.seconds, outcome.snapshot_id))
        entries += [ComponentEntry(outcome.name, copy.repository,
                                   state if copy.state is CopyState.COMPLETE else OperationState.FAILED,
                                   outcome.size_bytes, files=outcome.files)
                    for copy in result.copies if outcome.snapshot_id and copy.repository != result.repository]
    return entries


