"""Schedules as systemd's timers have them (systemd.time(7), systemd.timer(5))."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from kuramori.settings.effective import duration_text
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_FIRST_DELAY = "5min"
"""After the start of the machine."""
_LONGEST_REST = 3600.0
_SHORTEST_REST = 60.0


def timer_lines(schedules: Iterable[Schedule]) -> list[str]:
    """Return the lines of a ``[Timer]`` section for something that looks what is due by several schedules.

    It is started at every moment that a schedule names, and also every so often: for intervals, for
    what has to be tried again, and for the few cron expressions that systemd has no words for.
    """
    events: dict[str, None] = {}
    rest = _LONGEST_REST
    for schedule in schedules:
        if isinstance(schedule, DailyAt):
            events[f"*-*-* {schedule.hour:02}:{schedule.minute:02}:00"] = None
        elif isinstance(schedule, Every):
            rest = min(rest, max(schedule.seconds / 12, _SHORTEST_REST))
        else:
            events.update(dict.fromkeys(calendar_events(schedule)))
    # Persistent= is about OnCalendar= only: what was missed while the machine was off is due at its start.
    return [*(f"OnCalendar={event}" for event in events), *(["Persistent=true"] if events else []),
            f"OnBootSec={_FIRST_DELAY}", f"OnUnitActiveSec={duration_text(rest)}"]


def calendar_events(schedule: CronExpression) -> list[str]:
    """Return the calendar events that together are a cron expression; none where systemd cannot say
    it, as for the last working day of a month."""
    from cronsim import CronSim

    # cronsim has read it; only whether days and weekdays must both fit is a rule of its own.
    parsed = CronSim(schedule.text, datetime(2000, 1, 1))
    clock = f"{_numbers(parsed.hours, range(24))}:{_numbers(parsed.minutes, range(60))}:00"
    months = _numbers(parsed.months, range(1, 13))
    plain_days = {day for day in parsed.days if day > 0}
    last_day = CronSim.LAST in parsed.days
    if CronSim.LAST_WEEKDAY in parsed.days:
        return []
    weekdays = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
    special = sorted(day for day in parsed.weekdays if isinstance(day, tuple))
    if parsed.day_and and len(plain_days) < 31 and any(which == CronSim.LAST for _, which in special):
        return []
    every_day, every_weekday = set(range(1, 32)), set(range(7))
    dates: list[str] = []
    if parsed.day_and:
        dates += _on_days(plain_days, last_day, weekdays, months)
        dates += _on_special(special, plain_days, months)
    else:
        dates += _on_days(plain_days, last_day, every_weekday, months)
        dates += _on_days(every_day, False, weekdays, months)
        dates += _on_special(special, every_day, months)
    return [f"{date} {clock}" for date in dates]


def _on_days(days: set[int], last_day: bool, weekdays: set[int], months: str) -> Iterator[str]:
    if not weekdays:
        return
    names = "" if len(weekdays) == 7 else ",".join(_WEEKDAYS[day] for day in sorted(weekdays)) + " "
    if days:
        yield f"{names}*-{months}-{_numbers(days, range(1, 32))}"
    if last_day:
        yield f"{names}*-{months}~01"


def _on_special(special: list[tuple[int, int]], days: set[int], months: str) -> Iterator[str]:
    """Yield the second Monday of a month and the like."""
    from cronsim import CronSim

    for weekday, which in special:
        name = _WEEKDAYS[weekday % 7]
        if which == CronSim.LAST:
            yield f"{name} *-{months}~07/1"
            continue
        found = days & set(range(7 * which - 6, min(7 * which, 31) + 1))
        if found:
            yield f"{name} *-{months}-{_numbers(found, range(1, 32))}"


def _numbers(found: Collection[int], possible: range) -> str:
    if len(found) == len(possible):
        return "*"
    return ",".join(f"{number:02}" for number in sorted(found))
