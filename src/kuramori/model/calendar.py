"""The calendar that retention counts with: hours, days, weeks, months and years on the wall, and
durations such as ``1y5m7d2h`` (format section 5.2).

Years have no bounds here, as in Go's calendar, which restic counts with: whole cycles of 400 years
are put aside before Python's ``date`` is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from kuramori.errors import N_

OffsetAt = Callable[[int], int]
"""Returns a zone's offset in seconds at an instant, in seconds since 1970-01-01 UTC."""

BILLION = 1_000_000_000
_DAY = 86_400
_CYCLE_YEARS = 400
_CYCLE_DAYS = 146_097
"""Days of 400 years; a whole number of weeks."""
_EPOCH = date(1970, 1, 1).toordinal()
_PART = re.compile(r"([0-9]{1,9})([ymdh])")


@dataclass(frozen=True, slots=True)
class CalendarDuration:
    """Years, months, days and hours, none of them negative. Nothing of all is no duration."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number)


def parse_calendar_duration(text: str) -> CalendarDuration:
    """Return the duration that ``1y5m7d2h`` means. Parts may be missing and in any order; of two of
    the same unit the last one counts, as for restic.

    Raises:
        ValueError: it is none.
    """
    text = text.strip()
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ValueError(N_("a duration looks like 1y5m7d2h (years, months, days, hours)"))
    found = {unit: int(number) for number, unit in parts}
    return CalendarDuration(found.get("y", 0), found.get("m", 0), found.get("d", 0), found.get("h", 0))


@dataclass(frozen=True, slots=True)
class WallTime:
    """What calendar and clock on the wall show, to the second."""

    days: int
    """Since 1970-01-01."""
    seconds: int
    """Since midnight."""

    @property
    def hour(self) -> tuple[int, ...]:
        """Year, month, day and hour."""
        return (*self.day, self.seconds // 3600)

    @property
    def day(self) -> tuple[int, ...]:
        """Year, month and day."""
        cycle, within = self._place()
        return (within.year + _CYCLE_YEARS * cycle, within.month, within.day)

    @property
    def week(self) -> tuple[int, ...]:
        """Year and number of the ISO week, which begins on a Monday."""
        cycle, within = self._place()
        year, week, _ = within.isocalendar()
        return (year + _CYCLE_YEARS * cycle, week)

    @property
    def month(self) -> tuple[int, ...]:
        """Year and month."""
        return self.day[:2]

    @property
    def year(self) -> tuple[int, ...]:
        """The year alone."""
        return self.day[:1]

    def _place(self) -> tuple[int, date]:
        cycle, rest = divmod(self.days + _EPOCH - 1, _CYCLE_DAYS)
        return cycle, date.fromordinal(rest + 1)


def wall_time(seconds: int, offset: int) -> WallTime:
    """Return what the wall shows at an instant where the zone has that offset."""
    return WallTime(*divmod(seconds + offset, _DAY))


def days_of(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a day. Month and day may lie outside the year and the month:
    the 31st of February is the 3rd of March, or the 2nd."""
    years, month_index = divmod(month - 1, 12)
    cycle, within = divmod(year + years - 1, _CYCLE_YEARS)
    return cycle * _CYCLE_DAYS + date(within + 1, month_index + 1, 1).toordinal() + day - 1 - _EPOCH


def time_before(nanoseconds: int, duration: CalendarDuration, offset_at: OffsetAt) -> int:
    """Return the instant that lies a duration before another one, both in nanoseconds.

    Years, months and days are counted on the wall, hours on the clock. Where the wall shows a time
    twice or never, because clocks were changed, it is read as Go reads it.
    """
    seconds, fraction = divmod(nanoseconds, BILLION)
    wall = wall_time(seconds, offset_at(seconds))
    year, month, day = wall.day
    days = days_of(year - duration.years, month - duration.months, day - duration.days)
    shown = days * _DAY + wall.seconds
    guess = offset_at(shown)
    earlier = shown - (offset_at(shown - guess) if guess else 0)
    return (earlier - duration.hours * 3600) * BILLION + fraction
