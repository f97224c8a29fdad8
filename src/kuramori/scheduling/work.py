"""What is done again and again, and who does it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kuramori.errors import KuramoriError
from kuramori.history.records import OperationKind, OperationState
from kuramori.settings.model import Schedule, Settings


class WorkKind(enum.Enum):
    """What is to be done. In this order, where both are due at the same instant."""

    BACKUP = "backup"
    CLEANUP = "cleanup"

    @property
    def operation(self) -> OperationKind:
        """What the history calls it."""
        return OperationKind(self.value)


@dataclass(frozen=True, slots=True)
class ScheduledWork:
    """One job's backup or cleanup, and when."""

    kind: WorkKind
    job: str
    schedule: Schedule

    @property
    def key(self) -> str:
        """What it is called in the history: ``backup planter``."""
        return due_key(self.kind, self.job)


def due_key(kind: WorkKind, job: str) -> str:
    """Return what a job's backup or cleanup is called in the history (``History.due_state``)."""
    return f"{kind.value} {job}"


def scheduled_work(settings: Settings) -> tuple[ScheduledWork, ...]:
    """Return everything that the settings give a schedule to, backups first, in the order of the file."""
    found = [(kind, job.name, schedule)
             for kind in WorkKind for job in settings.jobs.values()
             if (schedule := job.schedule if kind is WorkKind.BACKUP else job.cleanup) is not None]
    return tuple(ScheduledWork(*entry) for entry in found)


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """How it went.

    Attributes:
        state: ``COMPLETE``, ``PARTIAL``, ``FAILED`` or ``INTERRUPTED``.
        run: name of the run, if there was one.
    """

    state: OperationState
    run: str = ""
    errors: tuple[KuramoriError, ...] = ()

    @property
    def may_pass(self) -> bool:
        """Whether all that went wrong may pass by itself."""
        return bool(self.errors) and all(error.retryable for error in self.errors)


class JobRunner(Protocol):
    """Does the work. The manager's is :class:`kuramori.scheduling.manager_runner.ManagerRunner`."""

    def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        """Do it and return how it went. It notes the operation in the history itself.

        Args:
            work: what.
            cancelled: asked often; True means: end soon, in good order.

        Raises:
            Interrupted: it was cancelled.
            KuramoriError: it failed.
        """
        ...
