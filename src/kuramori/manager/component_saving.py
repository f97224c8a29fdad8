"""One component of a run: from its settings to a snapshot."""

from __future__ import annotations

from kuramori.archiving.backup import back_up
from kuramori.errors import (
    Interrupted,
    KuramoriError,
    NothingToBackUpError,
    RepositoryLockedError,
    StorageError,
)
from kuramori.manager.component_plans import LastSaving, SavingContext, describe_sources, plan_component
from kuramori.manager.losses import missing_sources
from kuramori.manager.model import ComponentOutcome, ComponentState
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentSettings


def stops_the_run(error: KuramoriError) -> bool:
    """Tell whether the components that follow would only wait for the same error: a store that does
    not answer, or a lock of somebody else."""
    return isinstance(error, RepositoryLockedError) or (isinstance(error, StorageError) and error.retryable)


def save_component(repository: Repository, component: ComponentSettings, context: SavingContext, last: LastSaving,
                   progress: Progress) -> ComponentOutcome:
    """Save one component; what goes wrong is told to the progress, and is in the outcome.

    Raises:
        Interrupted: ``context.cancelled`` said so.
    """
    sources = describe_sources(component)
    started = repository.clock.monotonic()
    gone = missing_sources(component)
    for error in gone:
        progress.warning(error)
    if gone and len(gone) == len(component.sources):
        return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                errors=tuple(gone))
    try:
        with plan_component(component, context, last) as plan:
            for warning in plan.warnings:
                progress.warning(warning)
            result = back_up(repository, plan.options, progress)
            records = (*result.databases, *plan.finish())
    except Interrupted:
        raise
    except KuramoriError as error:
        causes = _causes(error)
        if causes == (error,):
            progress.warning(error)
        return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                errors=(*gone, *causes), seconds=repository.clock.monotonic() - started)
    errors = (*gone, *result.errors)
    summary = result.summary
    return ComponentOutcome(
        component.name, component.kind, ComponentState.PARTIAL if errors else ComponentState.COMPLETE,
        snapshot_id=result.snapshot_id or "", sources=sources, size_bytes=summary.total_bytes_processed,
        files=summary.total_files_processed, added_bytes=summary.data_added_packed, seconds=result.seconds,
        errors=errors, databases=records)


def _causes(error: KuramoriError) -> tuple[KuramoriError, ...]:
    """Return what a person should hear: where nothing could be saved, not that, but why. The engine has told it."""
    causes = error.fields.get("detail") if isinstance(error, NothingToBackUpError) else None
    if isinstance(causes, tuple) and causes and all(isinstance(cause, KuramoriError) for cause in causes):
        return causes
    return (error,)
