"""A run: hooks, components one by one, the record that makes it complete, and the copies."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.archiving.parent import ParentOptions
from kuramori.archiving.stream import StreamSource
from kuramori.clock import Clock
from kuramori.errors import (
    N_,
    HookFailedError,
    InsteadOfFirstNote,
    Interrupted,
    KuramoriError,
    RunExistsError,
    SkippedComponentError,
    UnknownComponentError,
    UsageError,
    suggest,
)
from kuramori.history.operation import Operation
from kuramori.manager.component_plans import LastSaving, SavingContext
from kuramori.manager.component_saving import save_component, stops_the_run
from kuramori.manager.copying import OpenPlace, PlaceCopying, open_first
from kuramori.manager.hooks import AFTER, BEFORE, hook_environment, run_hooks
from kuramori.manager.manifest import MANIFEST_NAME, describe_run, encode_manifest, state_of
from kuramori.manager.model import (
    ComponentOutcome,
    ComponentState,
    CopyOutcome,
    RunOptions,
    RunResult,
    RunState,
)
from kuramori.manager.naming import MANIFEST_COMPONENT, check_run_name, new_run_name, run_tags
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentSettings, JobSettings

_LOGGED_ERRORS = 20


def choose_components(job: JobSettings, names: tuple[str, ...]) -> list[ComponentSettings]:
    """Return the components of a job that are meant: the named ones, or every enabled one.

    Raises:
        UnknownComponentError: the job has none of that name.
        UsageError: none is enabled.
    """
    for name in names:
        if name not in job.components:
            raise UnknownComponentError(name=name, where=job.name, suggestion=suggest(name, job.components))
    chosen = [component for component in job.components.values()
              if (component.name in names if names else component.enabled)]
    if not chosen:
        raise UsageError(detail=N_("no component of the job is enabled, so there is nothing to save"))
    return chosen


@dataclass(slots=True)
class _Findings:
    """What a run has found out so far."""

    outcomes: dict[str, ComponentOutcome]
    errors: list[KuramoriError]
    manifest_id: str = ""


class Run:
    """One execution of a job."""

    def __init__(self, job: JobSettings, options: RunOptions, places: Places, clock: Clock, progress: Progress,
                 operation: Operation, *, hostname: str, environment: Mapping[str, str], program: str,
                 taken: frozenset[str], stale: Mapping[str, datetime]) -> None:
        """Nothing is done yet.

        Args:
            operation: takes the log, and the run's name when it is known.
            hostname: what the snapshots say of this machine.
            environment: what hooks inherit.
            taken: names of runs that are known to have been used.
            stale: the repositories that are known to lack runs, and when the first of these began.

        Raises:
            UnknownComponentError, UsageError, InvalidNameError: the request makes no sense.
        """
        self._job = job
        self._options = options
        self._places = places
        self._clock = clock
        self._progress = progress
        self._operation = operation
        self._hostname = hostname
        self._environment = environment
        self._program = program
        self._taken = taken
        self._stale = stale
        self._place = job.repositories[0]
        """Where it is saved: the first repository that can be opened."""
        self._components = choose_components(job, options.components)
        self._started = options.time or clock.now()
        self._name = check_run_name(options.run_name) if options.run_name else new_run_name(self._started, taken)
        self._found = _Findings({}, [])
        self._prepared = False
        """Whether a hook before the run may have changed something that one after it changes back."""

    def execute(self) -> RunResult:
        """Do it. Whatever goes wrong is in the result.

        Raises:
            RunExistsError: the name that was asked for is taken; nothing was done but the ``before`` hooks.
            Interrupted: ``options.cancelled`` said so. What was saved is kept, without a record.
        """
        self._operation.name_run(self._name)
        copies: tuple[CopyOutcome, ...] = ()
        try:
            if self._prepare():
                copies = self._save_and_copy()
        finally:
            if self._prepared or not self._job.before:
                self._run_hooks("after")
        result = RunResult(
            run=self._name, job=self._job.name, repository=self._place, state=self._state(),
            started=self._started, ended=self._clock.now(), components=self._found.outcomes,
            manifest_id=self._found.manifest_id, copies=copies, errors=tuple(self._found.errors))
        if result.state is not RunState.COMPLETE:
            self._run_hooks("on_failure", result.state)
            result = replace(result, errors=tuple(self._found.errors))
        return result

    def _state(self) -> RunState:
        state = state_of(self._found.outcomes)
        if state is RunState.FAILED or not self._found.manifest_id:
            saved = any(outcome.snapshot_id for outcome in self._found.outcomes.values())
            return RunState.PARTIAL if saved else RunState.FAILED
        return state

    # --- hooks -------------------------------------------------------------------------------

    def _prepare(self) -> bool:
        """Run the hooks before the run; return whether all of them went well.

        Raises:
            Interrupted: somebody asked to end meanwhile.
        """
        for hook in self._job.before:
            try:
                run_hooks((hook,), BEFORE, self._hook_environment(), self._options.cancelled)
            except HookFailedError as error:
                self._note(error)
                return False
            except (Interrupted, KeyboardInterrupt):
                self._prepared = True  # it was killed, and nobody knows how far it came
                raise
            self._prepared = True
        return True

    def _run_hooks(self, moment: str, state: RunState | None = None) -> None:
        """Run the hooks of a moment after the run; note what failed. Whoever stopped the application before the run
        must get to start it again: so nobody can cancel these."""
        hooks = {"after": self._job.after, "on_failure": self._job.on_failure}[moment]
        about = {"state": state.value} if state is not None else {}
        try:
            run_hooks(hooks, AFTER, self._hook_environment(**about))
        except HookFailedError as error:
            self._note(error)

    def _hook_environment(self, **about: str) -> dict[str, str]:
        return hook_environment(self._environment, job=self._job.name, run=self._name, **about)

    def _note(self, error: KuramoriError) -> None:
        self._found.errors.append(error)
        self._operation.log(str(error))

    # --- saving ------------------------------------------------------------------------------

    def _save_and_copy(self) -> tuple[CopyOutcome, ...]:
        """Save everything and copy it; note why that did not work."""
        try:
            with ExitStack() as stack:
                place = open_first(self._places, self._job, stack, self._tell)
                self._place = place.name
                self._operation.name_repository(place.name)
                # A run that is saved in another place than the first is better than none.
                for name, failure in place.away.items():
                    self._tell(InsteadOfFirstNote.about(name, failure, place.name))
                self._save_all(place.repository)
                return self._copy(place) if self._found.manifest_id else ()
        except (Interrupted, UsageError):
            raise
        except KuramoriError as error:
            self._note(error)
            return ()

    def _tell(self, error: KuramoriError) -> None:
        self._operation.log(str(error))
        self._progress.warning(error)

    def _copy(self, place: OpenPlace) -> tuple[CopyOutcome, ...]:
        copying = PlaceCopying(self._job, self._places, self._options, self._hostname, self._progress,
                               self._operation.log)
        missed: tuple[CopyOutcome, ...] = ()
        if place.name in self._stale:
            missed = (copying.fetch_missed(place.repository, place.name, self._stale[place.name]),)
        return missed + copying.copy_to_others(place.repository, place.name, place.away)

    def _save_all(self, repository: Repository) -> None:
        catalogue = RunCatalogue(repository, self._place, self._progress)
        self._settle_name(catalogue)
        settings = self._places.settings_of(self._place)
        context = SavingContext(
            job=self._job.name, run=self._name, hostname=self._hostname, repository=settings,
            accept_loss=self._options.accept_loss, cancelled=self._options.cancelled,
            retry_lock_seconds=self._options.retry_lock_seconds, program=self._program, time=self._options.time)
        stopped: KuramoriError | None = None
        for component in self._components:
            if stopped is not None:
                skipped = SkippedComponentError(detail=stopped)
                self._progress.warning(skipped)
                outcome = ComponentOutcome(component.name, component.kind, ComponentState.FAILED, errors=(skipped,))
            else:
                last = self._last_saving(catalogue, component.name)
                outcome = save_component(repository, component, context, last, self._progress)
                stopped = next((error for error in outcome.errors if stops_the_run(error)), None)
            self._found.outcomes[component.name] = outcome
            self._log(outcome)
        if any(outcome.snapshot_id for outcome in self._found.outcomes.values()):
            self._found.manifest_id = self._write_manifest(repository, context)

    def _settle_name(self, catalogue: RunCatalogue) -> None:
        """Make sure that the run's name is not taken in the repository.

        Raises:
            RunExistsError: it was asked for, and is.
        """
        taken = {run.key.run for run in catalogue.of_job(self._job.name, self._hostname)}
        if self._name not in taken:
            return
        if self._options.run_name:
            raise RunExistsError(name=self._name, job=self._job.name)
        self._name = new_run_name(self._started, taken | self._taken)
        self._operation.name_run(self._name)

    def _last_saving(self, catalogue: RunCatalogue, component: str) -> LastSaving:
        """Return what is known of a component: by it the engine reads less, and a loss is noticed."""
        newest = next((run for run in reversed(catalogue.of_job(self._job.name, self._hostname))
                       if component in run.components), None)
        good = catalogue.last_good(self._job.name, component, self._hostname)
        manifest = catalogue.manifest(newest) if newest is not None else None
        record = manifest.components.get(component) if manifest is not None else None
        return LastSaving(newest.components[component].id if newest is not None else "",
                          good[1] if good else None, good[0].key.run if good else "",
                          tuple(record.databases) if record is not None else ())

    def _log(self, outcome: ComponentOutcome) -> None:
        """Note how a component ended. What went wrong was told while it was saved."""
        self._operation.log(f"{outcome.name}: {outcome.state.value}, {outcome.files} files, {outcome.size_bytes} bytes")
        for error in outcome.errors[:_LOGGED_ERRORS]:
            self._operation.log(f"{outcome.name}: {error}")

    def _write_manifest(self, repository: Repository, context: SavingContext) -> str:
        """Write the record of the run, its last snapshot; return its id, or note why there is none."""
        manifest = describe_run(self._name, self._job, self._hostname, self._started, self._clock.now(),
                                self._found.outcomes, self._program)
        with tempfile.TemporaryFile() as file:
            file.write(encode_manifest(manifest))
            file.seek(0)
            try:
                result = back_up(repository, BackupOptions(
                    stream=StreamSource(filename=MANIFEST_NAME.encode(), descriptor=file.fileno()),
                    parent=ParentOptions(force=True), hostname=self._hostname,
                    tags=run_tags(self._job.name, MANIFEST_COMPONENT, self._name), time=self._options.time,
                    compression=Compression(context.repository.compression), pack_size=context.repository.pack_size,
                    retry_lock_seconds=context.retry_lock_seconds, program_version=self._program, workers=1))
            except KuramoriError as error:
                self._note(error)
                return ""
        return result.snapshot_id or ""
