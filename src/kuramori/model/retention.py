"""Which snapshots stay (format section 5.2): restic's rules to the letter.

Snapshots are put into groups, and every rule looks at a group from its newest snapshot to its
oldest. A snapshot stays if any rule says so; rules do not know of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields

from kuramori.errors import N_
from kuramori.model.calendar import BILLION, CalendarDuration, OffsetAt, WallTime, time_before, wall_time
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import local_offset, parse_nanoseconds, recorded_offset

UNLIMITED = -1
"""As the number of a rule: all of them."""
_YEAR_ONE = -62_135_596_800 * BILLION
"""The instant that stands for no newest snapshot: everything is newer."""
_NOTHING = CalendarDuration()


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The rules. One with nothing in it says nothing and removes everything.

    Raises:
        ValueError: a number is negative and not :data:`UNLIMITED`, or a part of a duration is negative.
    """

    last: int = 0
    """So many of the newest."""
    hourly: int = 0
    """The newest of each of the last so many hours that have one; and so on."""
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: CalendarDuration = _NOTHING
    """All that were made at most so long before the newest."""
    within_hourly: CalendarDuration = _NOTHING
    """The newest of each hour, of those; and so on."""
    within_daily: CalendarDuration = _NOTHING
    within_weekly: CalendarDuration = _NOTHING
    within_monthly: CalendarDuration = _NOTHING
    within_yearly: CalendarDuration = _NOTHING
    tags: tuple[tuple[str, ...], ...] = ()
    """All that have every tag of one of these lists; an empty tag stands for having none."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int) and value < UNLIMITED:
                raise ValueError(N_("how many snapshots stay cannot be negative"))
            if isinstance(value, CalendarDuration) and min(value.years, value.months, value.days, value.hours) < 0:
                raise ValueError(N_("a duration cannot be negative"))

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all."""
        return not any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a snapshot stays."""

    template: str
    """In restic's words, with ``{value}`` where the value belongs; the catalogues have it."""
    value: str = ""
    """A duration or a list of tags."""

    def __str__(self) -> str:
        return self.template.replace("{value}", self.value)


@dataclass(frozen=True, slots=True)
class Counters:
    """How many snapshots the counting rules may still keep; :data:`UNLIMITED` stays what it is."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True, slots=True)
class KeptSnapshot:
    """A snapshot that stays."""

    stored: StoredSnapshot
    reasons: tuple[Reason, ...]
    counters: Counters
    """After this snapshot."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a policy says of a group, the newest first."""

    kept: list[KeptSnapshot] = field(default_factory=list)
    removed: list[StoredSnapshot] = field(default_factory=list)


# --- groups ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grouping:
    """What the snapshots of a group have in common."""

    host: bool = True
    paths: bool = True
    tags: bool = False


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What the snapshots of one group have in common; None is not looked at, or no tags."""

    host: str = ""
    paths: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


_GROUPINGS = {"host": "host", "hosts": "host", "path": "paths", "paths": "paths", "tag": "tags", "tags": "tags"}


def parse_grouping(text: str) -> Grouping:
    """Return what ``host,paths,tags`` or a part of it means; an empty text is one group of all.

    Raises:
        ValueError: it names something else.
    """
    names = {part for part in text.split(",") if part}
    if not names <= set(_GROUPINGS):
        raise ValueError(N_("groups are made by host, paths and tags"))
    chosen = {_GROUPINGS[name] for name in names}
    return Grouping(host="host" in chosen, paths="paths" in chosen, tags="tags" in chosen)


def group_snapshots(snapshots: Iterable[StoredSnapshot],
                    grouping: Grouping) -> list[tuple[GroupKey, list[StoredSnapshot]]]:
    """Put snapshots into groups, in the order of hosts, paths and tags; the order of snapshots
    within a group stays."""
    groups: dict[GroupKey, list[StoredSnapshot]] = {}
    for stored in snapshots:
        groups.setdefault(_group_key(stored, grouping), []).append(stored)
    return sorted(groups.items(), key=lambda entry: (entry[0].host, entry[0].paths or (), entry[0].tags or ()))


def _group_key(stored: StoredSnapshot, grouping: Grouping) -> GroupKey:
    snapshot = stored.snapshot
    return GroupKey(
        snapshot.hostname if grouping.host else "",
        tuple(sorted(snapshot.paths)) if grouping.paths else None,
        tuple(sorted(snapshot.tags)) if grouping.tags and snapshot.tags else None,
    )


# --- rules -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A snapshot as the rules see it."""

    stored: StoredSnapshot
    nanoseconds: int
    wall: WallTime
    """As it was where the snapshot was made."""
    number: int
    """0 for the newest of the group."""
    oldest: bool
    """The last one of the group."""


_Bucket = Callable[[_Candidate], object]

_BUCKETS: dict[str, _Bucket] = {
    "last": lambda candidate: candidate.number,
    "hourly": lambda candidate: candidate.wall.hour,
    "daily": lambda candidate: candidate.wall.day,
    "weekly": lambda candidate: candidate.wall.week,
    "monthly": lambda candidate: candidate.wall.month,
    "yearly": lambda candidate: candidate.wall.year,
}
_COUNTED = {
    "last": (N_("last snapshot"), N_("last snapshot")),
    "hourly": (N_("hourly snapshot"), N_("oldest hourly snapshot")),
    "daily": (N_("daily snapshot"), N_("oldest daily snapshot")),
    "weekly": (N_("weekly snapshot"), N_("oldest weekly snapshot")),
    "monthly": (N_("monthly snapshot"), N_("oldest monthly snapshot")),
    "yearly": (N_("yearly snapshot"), N_("oldest yearly snapshot")),
}
_WITHIN = {
    "hourly": (N_("hourly within {value}"), N_("oldest hourly within {value}")),
    "daily": (N_("daily within {value}"), N_("oldest daily within {value}")),
    "weekly": (N_("weekly within {value}"), N_("oldest weekly within {value}")),
    "monthly": (N_("monthly within {value}"), N_("oldest monthly within {value}")),
    "yearly": (N_("yearly within {value}"), N_("oldest yearly within {value}")),
}


class _TagRule:
    """Keeps what has certain tags."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        self._tags = tags
        self._reason = Reason(N_("has tags {value}"), f"[{', '.join(tags)}]")

    def judge(self, candidate: _Candidate) -> Reason | None:
        return self._reason if candidate.stored.snapshot.has_tags(self._tags) else None


class _WithinRule:
    """Keeps what is newer than an instant."""

    def __init__(self, duration: CalendarDuration, after: int) -> None:
        self._after = after
        self._reason = Reason(N_("within {value}"), str(duration))

    def judge(self, candidate: _Candidate) -> Reason | None:
        return self._reason if candidate.nanoseconds > self._after else None


class _PeriodRule:
    """Keeps the newest of each hour, day and so on, and the oldest snapshot of all as long as it may
    keep any: so the history reaches back as far as possible."""

    def __init__(self, name: str, reasons: tuple[Reason, Reason], count: int, after: int | None = None) -> None:
        self._bucket = _BUCKETS[name]
        self._reason, self._oldest_reason = reasons
        self._after = after
        self._last: object = None
        self.left = count

    def judge(self, candidate: _Candidate) -> Reason | None:
        if self.left == 0 or (self._after is not None and candidate.nanoseconds <= self._after):
            return None
        value = self._bucket(candidate)
        repeated = value == self._last
        if repeated and not candidate.oldest:
            return None
        self._last = value
        if self.left > 0:
            self.left -= 1
        return self._oldest_reason if repeated else self._reason


def apply_policy(snapshots: Sequence[StoredSnapshot], policy: RetentionPolicy, now_nanoseconds: int,
                 local_offset_at: OffsetAt = local_offset) -> Selection:
    """Say which snapshots of one group stay.

    Args:
        snapshots: in any order; of those with the same time the first counts as the newest.
        policy: the rules.
        now_nanoseconds: durations are measured from the newest snapshot that is not of the future.
        local_offset_at: the local zone. Where the newest snapshot was made with the offset that this
            zone had then, days are counted back through this zone's changes of the clock, because
            restic does so; otherwise with the offset that was recorded.
    """
    ordered = sorted(snapshots, key=lambda stored: -stored.snapshot.time_nanoseconds)
    counting = {name: _counting_rule(name, getattr(policy, name)) for name in _COUNTED}
    rules: list[_TagRule | _WithinRule | _PeriodRule] = [_TagRule(tags) for tags in policy.tags]
    limit = _limits(ordered, now_nanoseconds, local_offset_at)
    if policy.within:
        rules.append(_WithinRule(policy.within, limit(policy.within)))
    rules += counting.values()
    for name in _WITHIN:
        duration = getattr(policy, f"within_{name}")
        if duration:
            rules.append(_period_within(name, duration, limit(duration)))
    selection = Selection()
    for number, stored in enumerate(ordered):
        candidate = _candidate(stored, number, number == len(ordered) - 1)
        reasons = tuple(reason for rule in rules if (reason := rule.judge(candidate)) is not None)
        if reasons:
            counters = Counters(**{name: rule.left for name, rule in counting.items()})
            selection.kept.append(KeptSnapshot(stored, reasons, counters))
        else:
            selection.removed.append(stored)
    return selection


def _counting_rule(name: str, count: int) -> _PeriodRule:
    usual, oldest = _COUNTED[name]
    return _PeriodRule(name, (Reason(usual), Reason(oldest)), count)


def _period_within(name: str, duration: CalendarDuration, after: int) -> _PeriodRule:
    usual, oldest = _WITHIN[name]
    return _PeriodRule(name, (Reason(usual, str(duration)), Reason(oldest, str(duration))), UNLIMITED, after)


def _candidate(stored: StoredSnapshot, number: int, oldest: bool) -> _Candidate:
    nanoseconds = parse_nanoseconds(stored.snapshot.time)
    offset = recorded_offset(stored.snapshot.time) or 0
    return _Candidate(stored, nanoseconds, wall_time(nanoseconds // BILLION, offset), number, oldest)


def _limits(ordered: Sequence[StoredSnapshot], now_nanoseconds: int,
            local_offset_at: OffsetAt) -> Callable[[CalendarDuration], int]:
    """Return what tells the instant a duration before the newest snapshot that is not of the future."""
    latest, offset = _YEAR_ONE, None
    for stored in ordered:
        instant = stored.snapshot.time_nanoseconds
        if _YEAR_ONE < instant < now_nanoseconds:
            latest, offset = instant, recorded_offset(stored.snapshot.time)
            break
    fixed = offset or 0
    local = offset is not None and local_offset_at(latest // BILLION) == offset
    zone = local_offset_at if local else lambda _: fixed
    return lambda duration: time_before(latest, duration, zone)
