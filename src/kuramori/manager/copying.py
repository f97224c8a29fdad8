"""The further repositories of a job: each gets copies of the snapshots that the first one has."""

from __future__ import annotations

from kuramori.errors import (
    IncompleteCopyError,
    Interrupted,
    KuramoriError,
    NoRepositoryError,
    RepositoryLockedError,
    StorageError,
)
from kuramori.history.operation import Operation
from kuramori.maintenance.copy import CopyAction, CopyOptions, copy_snapshots
from kuramori.manager.model import CopyOutcome, CopyState, RunOptions
from kuramori.manager.naming import job_tags
from kuramori.manager.places import Places
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import SnapshotFilter
from kuramori.settings.model import JobSettings


def copy_to_others(source: Repository, job: JobSettings, places: Places, options: RunOptions, hostname: str,
                   progress: Progress, operation: Operation) -> tuple[CopyOutcome, ...]:
    """Bring the further repositories of a job up to date: with this run, and with all that they
    missed. One that cannot be reached does not keep the others.

    Being asked to end ends the copying, not the run: it is complete already.
    """
    outcomes = []
    for name in job.repositories[1:]:
        outcome = _copy(source, name, job, places, options, hostname, progress)
        operation.log(f"copy to {name}: {outcome.state.value}, {outcome.snapshots_copied} snapshots"
                      + (f": {outcome.error}" if outcome.error is not None else ""))
        if outcome.error is not None:
            progress.warning(outcome.error)
        outcomes.append(outcome)
    return tuple(outcomes)


def _copy(source: Repository, name: str, job: JobSettings, places: Places, options: RunOptions, hostname: str,
          progress: Progress) -> CopyOutcome:
    try:
        if options.cancelled():
            raise Interrupted
        settings = places.settings_of(name)
        with places.open(name) as target:
            result = copy_snapshots(source, target, CopyOptions(
                snapshot_filter=SnapshotFilter(hosts=(hostname,), tags=(job_tags(job.name),)),
                compression=Compression(settings.compression), pack_size=settings.pack_size,
                retry_lock_seconds=options.retry_lock_seconds, cancelled=options.cancelled), progress)
            copied = len(result.of(CopyAction.COPIED))
            if not result.failures:
                return CopyOutcome(name, CopyState.COMPLETE, copied)
            error = IncompleteCopyError(location=target.backend.location, count=result.failures)
            return CopyOutcome(name, CopyState.FAILED, copied, error)
    except (NoRepositoryError, RepositoryLockedError, StorageError, Interrupted) as error:
        return CopyOutcome(name, CopyState.STALE, error=error)
    except KuramoriError as error:
        return CopyOutcome(name, CopyState.FAILED, error=error)


