"""One component of a run: from its settings to a snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.parent import ParentOptions
from kuramori.errors import Interrupted, KuramoriError, RepositoryLockedError, StorageError
from kuramori.manager.losses import loss_judge, missing_sources
from kuramori.manager.manifest import ManifestComponent
from kuramori.manager.model import ComponentOutcome, ComponentState
from kuramori.manager.naming import run_tags
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentKind, ComponentSettings, RepositorySettings
from kuramori.sources.excludes import ExcludeOptions


@dataclass(frozen=True, slots=True)
class SavingContext:
    """What all components of a run have in common."""

    job: str
    run: str
    hostname: str
    repository: RepositorySettings
    accept_loss: bool
    cancelled: Callable[[], bool]
    retry_lock_seconds: float
    program: str


@dataclass(frozen=True, slots=True)
class LastSaving:
    """What was saved of a component before."""

    parent_id: str = ""
    """Its newest snapshot; empty if there is none."""
    good: ManifestComponent | None = None
    """The record of the last time it was saved whole."""
    good_run: str = ""


def stops_the_run(error: KuramoriError) -> bool:
    """Tell whether the components that follow would only wait for the same error: a store that does
    not answer, or a lock of somebody else."""
    return isinstance(error, RepositoryLockedError) or (isinstance(error, StorageError) and error.retryable)


def save_component(repository: Repository, component: ComponentSettings, context: SavingContext, last: LastSaving,
                   progress: Progress) -> ComponentOutcome:
    """Save one component; what goes wrong is in the outcome.

    Raises:
        Interrupted: ``context.cancelled`` said so.
    """
    sources = tuple(map(str, component.sources))
    started = repository.clock.monotonic()
    gone = missing_sources(component)
    try:
        if gone and len(gone) == len(component.sources):
            return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                    errors=tuple(gone))
        for error in gone:
            progress.warning(error)
        result = back_up(repository, _options(component, context, last), progress)
    except Interrupted:
        raise
    except KuramoriError as error:
        return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                errors=(*gone, error), seconds=repository.clock.monotonic() - started)
    return _outcome(component, sources, result, gone)


def _outcome(component: ComponentSettings, sources: tuple[str, ...], result: BackupResult,
             gone: Sequence[KuramoriError]) -> ComponentOutcome:
    errors = (*gone, *result.errors)
    summary = result.summary
    return ComponentOutcome(
        component.name, component.kind, ComponentState.PARTIAL if errors else ComponentState.COMPLETE,
        snapshot_id=result.snapshot_id or "", sources=sources, size_bytes=summary.total_bytes_processed,
        files=summary.total_files_processed, added_bytes=summary.data_added_packed, seconds=result.seconds,
        errors=errors)


def _options(component: ComponentSettings, context: SavingContext, last: LastSaving) -> BackupOptions:
    """Return how the engine saves a component."""
    common = BackupOptions(
        parent=ParentOptions(snapshot=last.parent_id, force=not last.parent_id),
        tags=run_tags(context.job, component.name, context.run), hostname=context.hostname,
        compression=Compression(context.repository.compression), pack_size=context.repository.pack_size,
        retry_lock_seconds=context.retry_lock_seconds, program_version=context.program, cancelled=context.cancelled,
        before_snapshot=loss_judge(component, last.good, last.good_run, context.accept_loss))
    return _PLANNERS[component.kind](component, common)


def _plan_files(component: ComponentSettings, common: BackupOptions) -> BackupOptions:
    return replace(common, paths=_real_paths(component), excludes=ExcludeOptions(
        patterns=tuple(map(os.fsencode, component.exclude)), caches=component.exclude_caches,
        if_present=tuple(map(os.fsencode, component.exclude_if_present)), larger_than=component.exclude_larger_than,
        one_file_system=component.one_file_system))


def _real_paths(component: ComponentSettings) -> tuple[bytes, ...]:
    """Return the sources that are there. One that is a link stands for what it leads to: whoever
    names it in the settings wants that, and not the link."""
    return tuple(os.fsencode(os.path.realpath(path)) for path in component.sources if os.path.exists(path))


_PLANNERS: dict[ComponentKind, Callable[[ComponentSettings, BackupOptions], BackupOptions]] = {
    ComponentKind.FILES: _plan_files,
}
