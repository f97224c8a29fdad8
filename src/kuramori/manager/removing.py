"""How a cleanup removes what was chosen from one repository, and keeps the repository within its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from kuramori.errors import (
    N_,
    IncompleteForgetError,
    KuramoriError,
    MaxSizeMissedError,
    MaxSizeUnreachableError,
    Phrase,
    SizeLimitError,
)
from kuramori.maintenance.forget import ForgetOptions, ForgetResult, forget
from kuramori.maintenance.prune_plan import PrunePolicy
from kuramori.maintenance.size_limit import SizeLimitPlan
from kuramori.manager.model import CleanUpOptions, GivenUpRun, RemovedSnapshot, RepositoryCleanUp, SizeCleanUp
from kuramori.manager.naming import MANIFEST_COMPONENT
from kuramori.manager.retention import Doomed
from kuramori.manager.run_catalogue import RunKey
from kuramori.manager.size_retention import LimitedJob, choose_expendable
from kuramori.model.times import parse_datetime
from kuramori.progress import Progress
from kuramori.repository.compression import Compression
from kuramori.repository.repository import Repository
from kuramori.settings.model import RepositorySettings
from kuramori.settings.quantities import size_text


class Removal:
    """Removes from one repository, under one lock."""

    def __init__(self, repository: Repository, settings: RepositorySettings, options: CleanUpOptions,
                 progress: Progress) -> None:
        """Nothing is removed yet."""
        self._repository = repository
        self._name = settings.name
        self._options = options
        self._progress = progress
        self._forget_options = ForgetOptions(
            prune=True, dry_run=options.dry_run, no_lock=options.dry_run, accept_missing=options.accept_missing,
            compression=Compression(settings.compression), prune_policy=PrunePolicy(pack_size=settings.pack_size),
            retry_lock_seconds=options.retry_lock_seconds)

    def remove(self, doomed: Sequence[Doomed]) -> RepositoryCleanUp:
        """Remove what the rules do not keep, and prune.

        Args:
            doomed: in the order in which they go.

        Raises:
            KuramoriError: as :func:`kuramori.maintenance.forget.forget`.
        """
        if not doomed:
            return RepositoryCleanUp(self._name)
        result = forget(self._repository, replace(self._forget_options, ids=_ids(doomed)), self._progress)
        return self._describe(result, doomed)

    def remove_for_size(self, doomed: Sequence[Doomed], limited: Sequence[LimitedJob], limit: int) -> RepositoryCleanUp:
        """Do the same, and let the oldest runs go until what is left has no more than ``limit`` bytes. Where that
        cannot be, only what the rules do not keep goes, and the result says so.

        Args:
            limited: all jobs of this machine that save there.

        Raises:
            KuramoriError: as :func:`kuramori.maintenance.forget.forget`.
        """
        sets = choose_expendable(limited, set(_ids(doomed)), Phrase(
            N_("the oldest go, for the repository may have {limit}"), limit=size_text(limit)))
        chosen = [*doomed, *chain.from_iterable(sets)]
        options = replace(self._forget_options, ids=_ids(doomed), max_size=limit, expendable=tuple(map(_ids, sets)),
                          before_size_limit=self._teller(chosen))
        try:
            return self._describe(forget(self._repository, options, self._progress), chosen)
        except SizeLimitError as error:
            failure = MaxSizeUnreachableError(
                location=self._repository.backend.location, name=self._name, count=error.fields["count"],
                floor=size_text(int(str(error.fields["floor"]))), limit=size_text(limit))
        done = self.remove(doomed)
        return done if done.error is not None else replace(done, error=failure)

    def _teller(self, chosen: Sequence[Doomed]) -> Callable[[SizeLimitPlan], None] | None:
        told = self._options.before_size_limit
        if told is None:
            return None
        return lambda plan: told(_describe_size(self._name, plan, chosen))

    def _describe(self, result: ForgetResult, chosen: Sequence[Doomed]) -> RepositoryCleanUp:
        gone = {stored.id for stored in result.removed}
        removed = [one for one in chosen if one.stored.id in gone]
        error: KuramoriError | None = None
        size = None
        plan = result.size_limit
        if plan is not None:
            size = _describe_size(self._name, plan, removed)
            if size.bytes_after is not None and size.bytes_after > size.limit:
                error = MaxSizeMissedError(name=self._name, found=size_text(size.bytes_after),
                                           location=self._repository.backend.location,
                                           over=size_text(size.bytes_after - size.limit))
        if result.errors:
            error = IncompleteForgetError(count=len(result.errors))
        freed = result.prune.plan.counts.pruned_bytes if result.prune is not None else 0
        return RepositoryCleanUp(self._name, tuple(describe_doomed(self._name, one) for one in removed),
                                 freed_bytes=freed, size=size, error=error)


def _ids(doomed: Sequence[Doomed]) -> tuple[str, ...]:
    return tuple(one.stored.id for one in doomed)


def describe_doomed(repository: str, one: Doomed) -> RemovedSnapshot:
    """Return a snapshot that goes, as people want to see it."""
    summary = one.stored.snapshot.summary
    return RemovedSnapshot(
        repository=repository, job=one.run.key.job, run=one.run.key.run, component=one.component,
        snapshot_id=one.stored.id, time=parse_datetime(one.stored.snapshot.time),
        size_bytes=summary.total_bytes_processed if summary is not None else 0, reason=one.reason)


def _describe_size(name: str, plan: SizeLimitPlan, chosen: Sequence[Doomed]) -> SizeCleanUp:
    """Return what a plan comes to, run by run.

    Args:
        chosen: what may be in the plan; of what is not here nothing is said.
    """
    by_id: Mapping[str, Doomed] = {one.stored.id: one for one in chosen}
    runs: dict[RunKey, GivenUpRun] = {}
    for weight in plan.going:
        one = by_id.get(weight.stored.id)
        if one is None:
            continue
        oldest = min(one.run.snapshots(), key=lambda stored: stored.snapshot.time_nanoseconds)
        run = runs.get(one.run.key) or GivenUpRun(one.run.key.job, one.run.key.run, parse_datetime(
            oldest.snapshot.time), (), 0)
        components = (one.component,) if one.component != MANIFEST_COMPONENT else ()
        runs[one.run.key] = replace(run, components=tuple(sorted(run.components + components)),
                                    freed_bytes=run.freed_bytes + weight.bytes_in_packs)
    return SizeCleanUp(name, plan.limit, plan.bytes_before, plan.bytes_expected, tuple(runs.values()),
                       plan.bytes_after)
