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
    COPY = "copy"
    """What a job's repositories lack is copied from the others; nothing is saved anew."""

    @property
    def operation(self) -> OperationKind:
        """What the history calls it."""
        return OperationKind(self.value)


@dataclass(frozen=True, slots=True)
class ScheduledWork:
    """Something that is done for a job, and when."""

    kind: WorkKind
    job: str
    schedule: Schedule | None
    """None: whenever somebody asks for it, such as a disk that appears."""

    @property
    def key(self) -> str:
        """What it is called in the history: ``backup planter``."""
        return due_key(self.kind, self.job)


def due_key(kind: WorkKind, job: str) -> str:
    """Return what a job's work is called in the history (``History.due_state``)."""
    return f"{kind.value} {job}"


def scheduled_work(settings: Settings) -> tuple[ScheduledWork, ...]:
    """Return everything that the settings give a schedule to, backups first, in the order of the file; and then what
    is done when a disk appears."""
    jobs = settings.jobs.values()
    found = [(WorkKind.BACKUP, job.name, job.schedule) for job in jobs if job.schedule is not None]
    found += [(WorkKind.CLEANUP, job.name, job.cleanup) for job in jobs if job.cleanup is not None]
    works = [ScheduledWork(*entry) for entry in found]
    for job in jobs:
        comes = [settings.repositories[name].run_when_attached for name in job.repositories]
        if comes and comes[0] and job.schedule is None:
            works.append(ScheduledWork(WorkKind.BACKUP, job.name, None))
        if any(comes[1:]):
            works.append(ScheduledWork(WorkKind.COPY, job.name, None))
    return tuple(works)


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
