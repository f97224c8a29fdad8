"""One component of a run: from its settings to a snapshot."""

from __future__ import annotations

from kuramori.archiving.backup import back_up
from kuramori.errors import Interrupted, KuramoriError, RepositoryLockedError, StorageError
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
    """Save one component; what goes wrong is in the outcome.

    Raises:
        Interrupted: ``context.cancelled`` said so.
    """
    sources = describe_sources(component)
    started = repository.clock.monotonic()
    gone = missing_sources(component)
    try:
        if gone and len(gone) == len(component.sources):
            return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                    errors=tuple(gone))
        for error in gone:
            progress.warning(error)
        with plan_component(component, context, last) as plan:
            for warning in plan.warnings:
                progress.warning(warning)
            result = back_up(repository, plan.options, progress)
            records = (*result.databases, *plan.finish())
    except Interrupted:
        raise
    except KuramoriError as error:
        return ComponentOutcome(component.name, component.kind, ComponentState.FAILED, sources=sources,
                                errors=(*gone, error), seconds=repository.clock.monotonic() - started)
    errors = (*gone, *result.errors)
    summary = result.summary
    return ComponentOutcome(
        component.name, component.kind, ComponentState.PARTIAL if errors else ComponentState.COMPLETE,
        snapshot_id=result.snapshot_id or "", sources=sources, size_bytes=summary.total_bytes_processed,
        files=summary.total_files_processed, added_bytes=summary.data_added_packed, seconds=result.seconds,
        errors=errors, databases=records)
