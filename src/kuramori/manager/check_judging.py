"""What the status says of the repeated check of a repository."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from kuramori.errors import (
    N_,
    DamagedPacksProblem,
    DamageFoundError,
    FailedCheckProblem,
    FaultyRepositoryError,
    KuramoriError,
    MendedDamageProblem,
    Phrase,
    SmallBudgetNote,
    UnreadPacksProblem,
)
from kuramori.history.history import History
from kuramori.history.records import OperationKind, OperationRecord, OperationState
from kuramori.ledger.pack_ledger import Coverage
from kuramori.manager.checking import needed_mebibytes
from kuramori.manager.model import Health
from kuramori.settings.model import RepositorySettings

GRACE_DAYS = 1
"""What was read thirty days ago is read again in the course of the day."""
_REMEMBERED = 20
_NO_RESULT = (OperationState.RUNNING, OperationState.INTERRUPTED, OperationState.UNFINISHED)


def judge_coverage(settings: RepositorySettings, coverage: Coverage, late: Coverage) -> Iterator[
        tuple[Health, KuramoriError]]:
    """Yield what is wrong with what was read of a repository. Without a schedule for it only damage is.

    Args:
        coverage: of its ``check_days``.
        late: of these and :data:`GRACE_DAYS`.
    """
    if coverage.damaged:
        yield Health.ALARM, DamagedPacksProblem(name=settings.name, count=len(coverage.damaged))
    if settings.check is None or not late.overdue:
        return
    budget = N_("raise its check_budget in the settings, or let its check come more often; ")
    seldom = N_("let its check come more often, or see in kuramori history --kind check why it does not; ")
    yield Health.ATTENTION, UnreadPacksProblem(
        name=settings.name, count=late.overdue, total=late.packs, days=settings.check_days,
        remedy=Phrase(seldom if settings.check_budget is None else budget))


def note_budget(settings: RepositorySettings, coverage: Coverage) -> KuramoriError | None:
    """Return what to say where the budget of a repository cannot be enough, before anything is late."""
    if settings.check is None or settings.check_budget is None or \
            settings.check_budget * settings.check_days >= coverage.bytes:
        return None
    return SmallBudgetNote(name=settings.name, days=settings.check_days, budget=needed_mebibytes(
        settings.check_budget, 1), needed=needed_mebibytes(coverage.bytes, settings.check_days))


def judge_last_check(settings: RepositorySettings, history: History, damaged: bool,
                     zone: tzinfo | None) -> tuple[Health, KuramoriError] | None:
    """Return what is wrong with the last check of a repository that has a schedule for it.

    Args:
        damaged: that packs are damaged is said already.
        zone: for the time in the text.
    """
    last = None if settings.check is None else _last_check(settings.name, history)
    if last is None or last.state is OperationState.COMPLETE:
        return None
    since = last.started.astimezone(zone).strftime("%Y-%m-%d %H:%M")
    error = last.errors[0] if last.errors else None
    if error is not None and error.kind == DamageFoundError.__name__:
        return None if damaged else (Health.ATTENTION, MendedDamageProblem(name=settings.name, since=since))
    faulty = error is not None and error.kind == FaultyRepositoryError.__name__
    advice = error.advice if error is not None else None
    return Health.ALARM if faulty else Health.ATTENTION, FailedCheckProblem(
        name=settings.name, since=since, detail=error.message if error is not None else N_("see the history"),
        remedy=Phrase("{advice}; ", advice=advice) if advice is not None else "")


def _last_check(name: str, history: History) -> OperationRecord | None:
    """Return the last check that came to a result."""
    operations = history.operations(kind=OperationKind.CHECK, limit=_REMEMBERED, repository=name)
    return next((record for record in operations if record.state not in _NO_RESULT), None)
