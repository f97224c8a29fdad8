"""What is done again and again, and who does it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kuramori.errors import KuramoriError, Phrase
from kuramori.history.history import History
from kuramori.history.records import OperationKind, OperationRecord, OperationState
from kuramori.settings.model import Schedule, Settings


class WorkKind(enum.Enum):
    """What is to be done. In this order, where both are due at the same instant."""

    BACKUP = "backup"
    CLEANUP = "cleanup"
    COPY = "copy"
    """What a job's repositories lack is copied from the others; nothing is saved anew."""
    CHECK = "check"
    """A part of a repository is read back. It takes as long as it takes and loses nothing by being broken off, so it
    comes after everything else that is due, and makes room for it."""

    @property
    def gives_way(self) -> bool:
        """Whether it is broken off when something else is due, and goes on after that."""
        return self is WorkKind.CHECK

    @property
    def operation(self) -> OperationKind:
        """What the history calls it."""
        return OperationKind(self.value)


@dataclass(frozen=True, slots=True)
class ScheduledWork:
    """Something that is done for a job or for a repository, and when."""

    kind: WorkKind
    job: str
    """Empty where it is done for a repository."""
    schedule: Schedule | None
    """None: whenever somebody asks for it, such as a disk that appears."""
    repository: str = ""
    """``CHECK``: which. Empty for those of the job."""

    @property
    def subject(self) -> str:
        """The name of what it is done for: the job's, or the repository's."""
        return self.job or self.repository

    @property
    def key(self) -> str:
        """What it is called in the history: ``backup planter``, ``check usb``."""
        return due_key(self.kind, self.subject)


def due_key(kind: WorkKind, subject: str) -> str:
    """Return what the work for a job, or the check of a repository, is called in the history
    (``History.due_state``)."""
    return f"{kind.value} {subject}"


def last_operation(history: History, work: ScheduledWork, *,
                   state: OperationState | None = None) -> OperationRecord | None:
    """Return the newest operation of a work in the history, also one that was begun by hand; None if there is none.

    Args:
        state: only one that ended like this.
    """
    found = history.operations(work.job, work.kind.operation, 1, state=state, repository=work.repository)
    return found[0] if found else None


def scheduled_work(settings: Settings) -> tuple[ScheduledWork, ...]:
    """Return everything that the settings give a schedule to, backups first and checks last, in the order of the file;
    and then what is done when a disk appears."""
    jobs = settings.jobs.values()
    found = [(WorkKind.BACKUP, job.name, job.schedule) for job in jobs if job.schedule is not None]
    found += [(WorkKind.CLEANUP, job.name, job.cleanup) for job in jobs if job.cleanup is not None]
    works = [ScheduledWork(*entry) for entry in found]
    works += [ScheduledWork(WorkKind.CHECK, "", repository.check, repository.name)
              for repository in settings.repositories.values() if repository.check is not None]
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
        damaged: what was stored is damaged. That does not pass, and to try again soon changes nothing.
        worse: ... and so is something of which that was not known before.
        waiting: nothing was done and that is no failure: what it needs is not there, and starts it when it comes.
        notes: what the person should know though nothing went wrong.
    """

    state: OperationState
    run: str = ""
    errors: tuple[KuramoriError, ...] = ()
    damaged: bool = False
    worse: bool = False
    waiting: bool = False
    notes: tuple[Phrase, ...] = ()

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
