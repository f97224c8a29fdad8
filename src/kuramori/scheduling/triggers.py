"""When a schedule is due next. Pure: no clock is read here.

Schedules are meant in local time, so daylight saving matters. A schedule that names hours (``02:30``,
``30 2 * * *``, ``*/15 1-3 * * *``) means labels on the clock:

* One that does not exist, because the clock jumps over it, runs at the first instant after the gap;
  several in one gap run once.
* One that exists twice runs the first time only.

A cron expression whose hours begin with ``*`` means "every so often" instead: it runs whenever the
clock shows what fits, so an hourly job runs in both of two hours of the same name, and not for the
hour that is left out. Debian's cron makes the same distinction. ``cronsim`` reads the expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise

from kuramori.errors import N_, ScheduleError
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
SHORTEST_INTERVAL = 0.01
"""Seconds."""
_LOOKED_AHEAD = 60
"""So many due instants show the longest pause of a cron expression: two months of a daily one."""


def next_due(schedule: Schedule, after: datetime, zone: tzinfo) -> datetime:
    """Return the first due instant after ``after``, as an aware datetime in UTC.

    Args:
        schedule: when; :class:`Every` counts from ``after``.
        after: aware; the result is later.
        zone: the local zone, with all its changes (``zoneinfo.ZoneInfo``).

    Raises:
        ScheduleError: the schedule makes no sense, or is never due.
    """
    after = after.astimezone(UTC)
    try:
        if isinstance(schedule, Every):
            return after + _interval(schedule)
        if isinstance(schedule, DailyAt):
            return _next_daily(schedule, after, zone)
        return _next_cron(schedule, after, zone)
    except (OverflowError, ValueError) as error:
        raise ScheduleError(schedule=str(schedule), detail=str(error)) from None


def due_instants(schedule: Schedule, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the due instants after ``after``, in UTC, without end.

    Raises:
        ScheduleError: as :func:`next_due`.
    """
    while True:
        after = next_due(schedule, after, zone)
        yield after


@lru_cache(maxsize=64)  # asked at every look, and always the same until something good happens
def longest_pause(schedule: Schedule, after: datetime, zone: tzinfo) -> timedelta:
    """Return the longest time between two due instants in a row, as far as one can foresee.

    Raises:
        ScheduleError: as :func:`next_due`.
    """
    if isinstance(schedule, Every):
        return _interval(schedule)
    if isinstance(schedule, DailyAt):
        return _DAY
    instants = due_instants(schedule, after, zone)
    ahead = [next(instants) for _number in range(_LOOKED_AHEAD)]
    return max(later - earlier for earlier, later in pairwise(ahead))


def _interval(schedule: Every) -> timedelta:
    if not schedule.seconds >= SHORTEST_INTERVAL:
        raise ScheduleError(schedule=str(schedule), detail=N_("that is too often"))
    return timedelta(seconds=schedule.seconds)


def _next_daily(schedule: DailyAt, after: datetime, zone: tzinfo) -> datetime:
    label = time(schedule.hour, schedule.minute)
    day = after.astimezone(zone).date()
    while True:
        due = existing_instant(datetime.combine(day, label), zone)
        if due > after:
            return due
        day += _DAY


def _next_cron(schedule: CronExpression, after: datetime, zone: tzinfo) -> datetime:
    fields = schedule.text.split()
    if len(fields) != 5:
        raise ScheduleError(schedule=schedule.text, detail=N_("it has not five fields"))
    from cronsim import CronSim, CronSimError  # whoever writes HH:MM does not need it

    wall = after.astimezone(zone)
    try:
        if fields[1].startswith("*"):
            instants = (found.astimezone(UTC) for found in CronSim(schedule.text, wall) if _exists(found))
        else:
            labels = CronSim(schedule.text, wall.replace(tzinfo=None))
            instants = (existing_instant(label, zone) for label in labels)
        due = next((instant for instant in instants if instant > after), None)
    except CronSimError as error:
        raise ScheduleError(schedule=schedule.text, detail=str(error)) from None
    if due is None:
        raise ScheduleError(schedule=schedule.text, detail=N_("it is never due"))
    return due


def _exists(wall: datetime) -> bool:
    return wall.astimezone(UTC).astimezone(wall.tzinfo).replace(tzinfo=None) == wall.replace(tzinfo=None)


def existing_instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant in UTC at which the clock on the wall shows ``wall`` (naive) the first time,
    or the first instant after the gap that it falls into."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # PEP 495: in a gap, fold=0 counts with the offset before it, so ``instant`` lies after the gap by
    # as much as ``wall`` lies in it. Gaps begin and end at whole minutes.
    before = instant.astimezone(zone).utcoffset()
    while (earlier := instant - _MINUTE).astimezone(zone).utcoffset() == before:
        instant = earlier
    return instant.replace(second=0, microsecond=0)
