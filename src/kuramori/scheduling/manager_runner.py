"""The work of the scheduler, done by the manager in this process."""

from __future__ import annotations

from collections.abc import Callable

from kuramori.errors import KuramoriError
from kuramori.history.records import OperationState
from kuramori.manager.checking import CheckState
from kuramori.manager.manager import Manager
from kuramori.manager.model import CopyState, RunOptions, RunResult, RunState
from kuramori.scheduling.reading_pace import days_to_read
from kuramori.scheduling.work import ScheduledWork, WorkKind, WorkOutcome

_STATES = {RunState.COMPLETE: OperationState.COMPLETE, RunState.PARTIAL: OperationState.PARTIAL,
           RunState.FAILED: OperationState.FAILED}


class ManagerRunner:
    """A :class:`kuramori.scheduling.work.JobRunner`. The manager notes each operation in the history."""

    def __init__(self, manager: Manager) -> None:
        """Nothing is run yet."""
        self._manager = manager

    def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        """Run the job, its cleanup or its copies, or the check of a repository."""
        if work.kind is WorkKind.CLEANUP:
            return self._clean_up(work.job, cancelled)
        if work.kind is WorkKind.COPY:
            return self._catch_up(work.job, cancelled)
        if work.kind is WorkKind.CHECK:
            return self._check(work, cancelled)
        result = self._manager.back_up(work.job, RunOptions(cancelled=cancelled))
        return WorkOutcome(_STATES[result.state], result.run, tuple(_errors(result)))

    def _catch_up(self, job: str, cancelled: Callable[[], bool]) -> WorkOutcome:
        outcomes = self._manager.catch_up(job, RunOptions(cancelled=cancelled))
        # One that is away is no failure: it is brought up to date when it is back.
        errors = tuple(one.error for one in outcomes if one.error is not None and one.state is CopyState.FAILED)
        return WorkOutcome(OperationState.PARTIAL if errors else OperationState.COMPLETE, errors=errors)

    def _clean_up(self, job: str, cancelled: Callable[[], bool]) -> WorkOutcome:
        result = self._manager.clean_up(job, cancelled=cancelled, unattended=True)
        errors = tuple(one.error for one in result.repositories.values() if one.error is not None)
        if not errors:
            return WorkOutcome(OperationState.COMPLETE, notes=result.notes)
        return WorkOutcome(OperationState.FAILED if result.failed else OperationState.PARTIAL, errors=errors,
                           notes=result.notes)

    def _check(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        settings = self._manager.settings.repositories.get(work.repository)
        days = None if settings is None or work.schedule is None else days_to_read(work.schedule, settings.check_days)
        found = self._manager.check(work.repository, days=days, cancelled=cancelled)
        if found.state is CheckState.AWAY:
            return WorkOutcome(OperationState.COMPLETE, waiting=True)
        return WorkOutcome(OperationState.COMPLETE if found.success else OperationState.FAILED, errors=found.errors,
                           damaged=found.state is CheckState.DAMAGED,
                           worse=found.details is not None and bool(found.details.newly_damaged))


def _errors(result: RunResult) -> list[KuramoriError]:
    copies = [copy.error for copy in result.copies if copy.error is not None]
    return [*result.errors, *(error for outcome in result.components.values() for error in outcome.errors), *copies]
