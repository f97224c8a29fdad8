"""What is asked about a fleet of devices and what is answered: pure data."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kuramori.clock import Clock
from kuramori.errors import KuramoriError
from kuramori.manager.model import Health, RunState
from kuramori.progress import NoProgress, Progress
from kuramori.secret import Secret
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.backend import Backend

DEFAULT_STALE_SECONDS = 2 * 86_400.0
"""Without a backup for so long a device is overdue, where nobody knows its schedule."""


class DeviceState(enum.Enum):
    """How a device stands, in a word. The worst that was found counts."""

    WELL = "well"
    PARTIAL = "partial"
    """The last run did not save everything; what is there is young enough."""
    AHEAD = "ahead"
    """The newest backup is of a time that has not come yet."""
    AWAY = "away"
    """The store cannot be reached at the moment."""
    OVERDUE = "overdue"
    NEVER = "never"
    """There is a repository, and no good backup in it."""
    LOCKED_OUT = "locked out"
    """None of the passwords opens it."""
    DAMAGED = "damaged"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class FleetPart:
    """A job of one machine: most devices have one."""

    hostname: str
    job: str
    """Empty for snapshots that no job made (``kuramori backup`` with paths, or restic)."""
    runs: int
    """For snapshots without a job: how many there are."""
    last_run: str = ""
    """Its name; for a snapshot without a job the beginning of its id."""
    last_run_time: datetime | None = None
    last_run_state: RunState | None = None
    """None where there is no run with a record."""
    last_good_time: datetime | None = None
    """Since when everything is saved: of the components that the job has now, the one whose newest good snapshot is the
    oldest. None if one of them has none."""
    age_seconds: float | None = None
    """Of that."""
    allowed_seconds: float = DEFAULT_STALE_SECONDS
    """How old it may be."""
    size_bytes: int = 0
    """What a restore of the newest good snapshots of all components would write."""
    problem: KuramoriError | None = None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One repository of the fleet."""

    name: str
    """Its path below the location that was asked for."""
    location: str
    """Without a password."""
    health: Health
    state: DeviceState
    problems: tuple[KuramoriError, ...] = ()
    """The worst first."""
    repository_id: str = ""
    """Empty where it could not be opened."""
    parts: tuple[FleetPart, ...] = ()
    snapshots: int = 0
    stored_bytes: int | None = None
    """Of all packs, as the index says; None where it could not be read."""

    @property
    def last_run_time(self) -> datetime | None:
        """When the newest run, or snapshot, was made."""
        return max((part.last_run_time for part in self.parts if part.last_run_time is not None), default=None)

    @property
    def age_seconds(self) -> float | None:
        """How old the part is that was not saved for longest; None if one never was, or there is none."""
        ages = [part.age_seconds for part in self.parts]
        return max((age for age in ages if age is not None), default=None) if None not in ages else None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """All devices, the worst first."""

    time: datetime
    devices: tuple[DeviceStatus, ...]

    @property
    def health(self) -> Health:
        """That of the worst."""
        return self.devices[0].health if self.devices else Health.WELL

    @property
    def well_count(self) -> int:
        """How many devices are well."""
        return sum(device.health is Health.WELL for device in self.devices)


def _unknown(schedule: str) -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What to look at, and how."""

    locations: Sequence[tuple[str, StoreAccess]]
    """Folders of repositories, or repositories themselves."""
    passwords: Callable[[str], Sequence[Secret]]
    """Gives the passwords to try for a device, by its name, the likeliest first. Called in several threads."""
    clock: Clock
    stale_seconds: float | None = None
    """How old a good backup may be; None for twice the time between two runs of the device's schedule, and
    :data:`DEFAULT_STALE_SECONDS` where that is not known."""
    interval_of: Callable[[str], float | None] = field(default=_unknown)
    """Gives the longest time in seconds between two runs of a schedule, as the record of a run names it; None where
    that makes no sense. Whoever knows of schedules tells; what it gets was read from a repository."""
    cache_directory: Path | None = None
    """For files of remote repositories; None for none."""
    reach: Callable[[str, StoreAccess], Backend] | None = None
    """Gives the store at a location; None for :func:`~kuramori.storage.reaching.reach_store`."""
    at_once: int = DEFAULT_CONNECTIONS
    """So many repositories are looked at together."""
    progress: Progress = field(default_factory=NoProgress)
    """Told of every device that was looked at, in the thread that asked."""
