"""What the history holds, as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from kuramori.history.stored_errors import StoredError


class OperationKind(enum.Enum):
    """What was done."""

    BACKUP = "backup"
    CLEANUP = "cleanup"
    RESTORE = "restore"
    COPY = "copy"
    CHECK = "check"
    PROOF = "proof"
    DAEMON = "daemon"
    """The life of a daemon, from start to stop; its log says what it noticed."""


class OperationState(enum.Enum):
    """How far it came. Only ``COMPLETE`` is success."""

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    """Something was done, but not all."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Somebody asked it to end, and it ended in good order."""
    UNFINISHED = "unfinished"
    """Its process is gone and never said how it ended: a crash, a power cut, ``kill -9``."""


@dataclass(frozen=True, slots=True)
class ComponentEntry:
    """What an operation did for one component in one repository."""

    component: str
    repository: str
    state: OperationState
    size_bytes: int = 0
    """What a restore would write."""
    added_bytes: int = 0
    """What the repository grew by."""
    files: int = 0
    seconds: float = 0.0
    snapshot_id: str = ""


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """One operation as it is remembered. Times are aware, in UTC."""

    id: int
    kind: OperationKind
    job: str
    run: str
    repository: str
    state: OperationState
    started: datetime
    ended: datetime | None
    """None while it runs; for an unfinished one when that was noticed."""
    size_bytes: int = 0
    added_bytes: int = 0
    files: int = 0
    errors: tuple[StoredError, ...] = ()
    components: tuple[ComponentEntry, ...] = ()
    pid: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an operation's log."""

    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class ComponentTotals:
    """What all operations together say of one component in one repository. Counts only grow."""

    job: str
    component: str
    repository: str
    last_good: datetime | None = None
    """When the last complete one ended."""
    last_good_run: str = ""
    size_bytes: int = 0
    """Of the last complete one; so is what follows."""
    files: int = 0
    seconds: float = 0.0
    successes: int = 0
    failures: int = 0
    """All that were not complete."""


@dataclass(frozen=True, slots=True)
class DueState:
    """What the scheduler must not forget of one thing that it does again and again."""

    due: datetime | None = None
    """When it is to run next."""
    schedule: str = ""
    """The schedule and zone that ``due`` was worked out from."""
    last_due: datetime | None = None
    """The due instant of the run that began last."""
    last_started: datetime | None = None
    last_good: datetime | None = None
    """When a complete run ended last."""
    since: datetime | None = None
    """When the scheduler first saw it: what has never run is overdue counted from here."""
    running: bool = False
    """A run began and nothing is known of its end."""
    failures: int = 0
    """How many runs in a row did not succeed."""
    retry: datetime | None = None
    """When to try again before ``due``."""
    problem: str = ""
    """How the last run was not a success (a value of :class:`OperationState`, or ``damaged``); empty if it was one."""
    told: str = ""
    """The problem that the person knows of; empty for none."""
    overdue_told: bool = False


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """How far one of a job's repositories is behind the others."""

    job: str
    repository: str
    stale_since: datetime | None = None
    """When the first run began that it lacks; None where it lacks none."""
    lacking: int = 0
    """How many runs it lacks."""
    told: datetime | None = None
    """When the person was last told that it is stale; None where he knows of nothing."""


@dataclass(frozen=True, slots=True)
class KeptComponent:
    """What a restore put somewhere, and where what stood there before is kept."""

    component: str
    kind: str
    """A value of ``ComponentKind``."""
    target: str
    kept: str


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A restore in place that can be taken back."""

    id: str
    time: datetime
    job: str
    run: str
    repository: str
    components: tuple[KeptComponent, ...] = field(default=())
