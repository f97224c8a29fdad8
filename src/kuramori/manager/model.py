"""What the manager is asked and what it answers: pure data."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kuramori.errors import N_, KuramoriError, Phrase, SizeLimitError, SizeLimitMissedError
from kuramori.model.databases import DatabaseRecord
from kuramori.settings.model import DEFAULT_CHECK_DAYS, ComponentKind
from kuramori.settings.quantities import size_text


class RunState(enum.Enum):
    """How a run ended. Only ``COMPLETE`` is success."""

    COMPLETE = "complete"
    """Every enabled component was saved whole."""
    PARTIAL = "partial"
    """Something was saved, but not all."""
    FAILED = "failed"
    """Nothing was saved."""


class ComponentState(enum.Enum):
    """How one component of a run ended."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    """There is a snapshot, but some items of the source could not be read."""
    FAILED = "failed"


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ComponentOutcome:
    """What became of one component."""

    name: str
    kind: ComponentKind
    state: ComponentState
    snapshot_id: str = ""
    """Empty if there is none."""
    sources: tuple[str, ...] = ()
    size_bytes: int = 0
    """What a restore would write."""
    files: int = 0
    added_bytes: int = 0
    """What the repository grew by for it."""
    seconds: float = 0.0
    errors: tuple[KuramoriError, ...] = ()
    databases: tuple[DatabaseRecord, ...] = ()


class CopyState(enum.Enum):
    """What became of a further repository."""

    COMPLETE = "complete"
    STALE = "stale"
    """It could not be reached; the next run catches up."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What became of one of the further repositories of a job."""

    repository: str
    state: CopyState
    snapshots_copied: int = 0
    error: KuramoriError | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a job once."""

    run_name: str = ""
    """Empty for ``full_backup_YYYYmmdd_HHMMSS`` (with a number behind it where that is taken)."""
    components: tuple[str, ...] = ()
    """Only these; none for every enabled one."""
    accept_loss: bool = False
    """Save also what has lost more than ``max_loss``."""
    cancelled: Callable[[], bool] = _never
    """Asked often; True ends the run with :class:`kuramori.errors.Interrupted`."""
    retry_lock_seconds: float = 0.0
    time: datetime | None = None
    """Aware: when it is said to have been made, for what is imported. None for now."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    run: str
    job: str
    repository: str
    state: RunState
    started: datetime
    ended: datetime
    components: Mapping[str, ComponentOutcome]
    manifest_id: str = ""
    """The snapshot that holds ``backup_info.json``; without one the run is not complete."""
    copies: tuple[CopyOutcome, ...] = ()
    errors: tuple[KuramoriError, ...] = ()
    """Of the run as a whole: a hook, the repository."""

    @property
    def size_bytes(self) -> int:
        """What a restore of everything would write."""
        return sum(outcome.size_bytes for outcome in self.components.values())

    @property
    def added_bytes(self) -> int:
        """What the repository grew by."""
        return sum(outcome.added_bytes for outcome in self.components.values())


@dataclass(frozen=True, slots=True)
class StoredComponent:
    """One component of a run that lies in a repository."""

    name: str
    kind: ComponentKind | None
    """None where the manifest is missing or says something that is not known here."""
    snapshot_id: str
    state: ComponentState | None
    sources: tuple[str, ...] = ()
    size_bytes: int = 0
    files: int = 0
    databases: tuple[DatabaseRecord, ...] = ()
    error: str = ""
    """Why it failed, in English."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as a repository tells of it: by its snapshots' tags and its manifest."""

    name: str
    job: str
    repository: str
    hostname: str
    time: datetime
    state: RunState | None
    """None where there is no manifest: the run was broken off."""
    components: Mapping[str, StoredComponent]
    manifest_id: str = ""

    @property
    def size_bytes(self) -> int:
        """What a restore of everything would write."""
        return sum(component.size_bytes for component in self.components.values())


@dataclass(frozen=True, slots=True)
class RestoreRunOptions:
    """What of a run to bring back, and where to."""

    run: str
    """A run's name, or ``latest`` for the newest complete one."""
    job: str = ""
    """Needed where several jobs have a run of that name."""
    repository: str = ""
    """A name of the settings; empty for the nearest that has the run."""
    components: tuple[str, ...] = ()
    """Only these; none for all."""
    target: Path | None = None
    """A folder to restore into (each component into a folder of its name); None for in place."""
    database: str = ""
    """``postgres`` and ``mysql``: restore into this database instead of the one it came from."""
    disconnect: bool = False
    """``postgres`` and ``mysql``: end the sessions of those who use the database, instead of refusing."""
    dry_run: bool = False
    cancelled: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class RestoredComponent:
    """What became of one component."""

    name: str
    success: bool
    target: str = ""
    """Where it is now."""
    kept: str = ""
    """Where what stood there before is kept; empty if there was nothing."""
    files: int = 0
    size_bytes: int = 0
    verified: bool = False
    errors: tuple[KuramoriError, ...] = ()
    repository: str = ""
    """The one that it came from."""
    fetched: Mapping[str, int] = field(default_factory=dict)
    """How many parts (blobs) were damaged or missing there and came from other repositories, by their names."""


@dataclass(frozen=True, slots=True)
class RestoreRunResult:
    """What came of a restore."""

    run: str
    job: str
    repository: str
    restore_id: str
    """What ``kuramori restore --undo`` takes; empty if nothing was replaced."""
    components: Mapping[str, RestoredComponent]

    @property
    def success(self) -> bool:
        """Whether everything that was asked for is back."""
        return bool(self.components) and all(component.success for component in self.components.values())


@dataclass(frozen=True, slots=True)
class RemovedSnapshot:
    """A snapshot that a cleanup removed, or would."""

    repository: str
    job: str
    run: str
    component: str
    """``manifest`` for the record of a run of which nothing is left."""
    snapshot_id: str
    time: datetime
    size_bytes: int
    """What a restore of it would have written; how much room it makes is another question."""
    reason: Phrase


@dataclass(frozen=True, slots=True)
class GivenUpRun:
    """A run that goes because of the size, as far as it does not have to stay."""

    job: str
    run: str
    time: datetime
    """When it began."""
    components: tuple[str, ...]
    """Those whose snapshots go."""
    freed_bytes: int
    """By which the repository shrinks for it."""


@dataclass(frozen=True, slots=True)
class SizeCleanUp:
    """What it takes that a repository stays within its ``max_size``. Sizes are bytes of all its files."""

    repository: str
    limit: int
    bytes_before: int
    bytes_expected: int
    """Afterwards, at most."""
    runs: tuple[GivenUpRun, ...] = ()
    """The oldest first. None where it is enough that what the rules drop, or what nobody uses, goes."""
    bytes_after: int | None = None
    """None before it is done, and in a dry run."""

    @property
    def note(self) -> Phrase | None:
        """What a person should know who did not see it; None where no run went."""
        if not self.runs or self.bytes_after is None:
            return None
        return Phrase(N_("{name!s} was larger than its max_size of {limit}, so {count} run(s) went, the oldest, up to "
                         "{newest!s}: it had {before} and has {after} now"),
                      name=self.repository, limit=size_text(self.limit), count=len(self.runs),
                      newest=self.runs[-1].run, before=size_text(self.bytes_before), after=size_text(self.bytes_after))


@dataclass(frozen=True, slots=True)
class CleanUpOptions:
    """How to clean up."""

    dry_run: bool = False
    """Only say what would go."""
    accept_missing: bool = False
    """Snapshots that this machine knew and that are gone were removed on purpose."""
    retry_lock_seconds: float = 0.0
    unattended: bool = False
    """Nobody looks, so nothing goes while the clock may have leapt ahead."""
    max_sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes that repositories may have, by their names, in place of what the settings say."""
    before_size_limit: Callable[[SizeCleanUp], None] | None = None
    """Told what it takes that a repository stays within its size, before anything goes there."""


@dataclass(frozen=True, slots=True)
class RepositoryCleanUp:
    """What became of one repository."""

    repository: str
    removed: tuple[RemovedSnapshot, ...] = ()
    kept: int = 0
    """Snapshots of components that stay."""
    freed_bytes: int = 0
    """By which the repository shrank, or would."""
    size: SizeCleanUp | None = None
    """None where it has no ``max_size``, was within it, or cannot come to it."""
    error: KuramoriError | None = None
    """Why it was not cleaned up, or not to the end."""


@dataclass(frozen=True, slots=True)
class CleanUpResult:
    """What came of a cleanup."""

    dry_run: bool
    repositories: Mapping[str, RepositoryCleanUp]

    @property
    def success(self) -> bool:
        """Whether every repository was cleaned up."""
        return all(one.error is None for one in self.repositories.values())

    @property
    def failed(self) -> bool:
        """Whether none was. One that is only too large still was cleaned up by the rules."""
        errors = [one.error for one in self.repositories.values()]
        return bool(errors) and all(
            error is not None and not isinstance(error, (SizeLimitError, SizeLimitMissedError)) for error in errors)

    @property
    def removed(self) -> tuple[RemovedSnapshot, ...]:
        """All that was removed, in all repositories."""
        return tuple(snapshot for one in self.repositories.values() for snapshot in one.removed)

    @property
    def freed_bytes(self) -> int:
        """By which the repositories shrank together."""
        return sum(one.freed_bytes for one in self.repositories.values())

    @property
    def notes(self) -> tuple[Phrase, ...]:
        """What a person should know who did not see it."""
        found = (one.size.note for one in self.repositories.values() if one.size is not None)
        return tuple(note for note in found if note is not None)


class Health(enum.Enum):
    """Whether all is well."""

    WELL = "well"
    ATTENTION = "attention"
    """Nothing is lost, but somebody should look."""
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a job runs. Whoever knows of schedules tells the manager, which does not."""

    next_run: datetime | None = None
    interval_seconds: float | None = None
    """The longest time between two runs; None where there is no schedule, so that nothing is overdue."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component in one repository."""

    job: str
    component: str
    repository: str
    last_good_run: str = ""
    last_good_time: datetime | None = None
    age_seconds: float | None = None
    size_bytes: int = 0
    snapshots: int = 0
    next_run: datetime | None = None
    problem: KuramoriError | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Whether all is well. ``problems`` come worst first; the first one makes the sentence."""

    health: Health
    time: datetime
    problems: tuple[KuramoriError, ...] = ()
    notes: tuple[KuramoriError, ...] = ()
    """What somebody may want to know though all is well."""
    components: tuple[ComponentStatus, ...] = ()
    repositories: Mapping[str, RepositoryStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """One repository."""

    name: str
    location: str
    """Without a password."""
    reachable: bool
    runs: int = 0
    last_run: str = ""
    last_run_time: datetime | None = None
    stored_bytes: int | None = None
    """None where it was not looked at."""
    max_size: int | None = None
    """What the settings allow, in bytes; None for any size."""
    lacking_runs: int = 0
    """Runs of its jobs that other repositories have and this one has not."""
    stale_since: datetime | None = None
    """When the first of these began."""
    verified_percent: float | None = None
    """How much of it was read back in the last ``check_days``; None where no check ever looked."""
    check_days: int = DEFAULT_CHECK_DAYS
    error: KuramoriError | None = None
