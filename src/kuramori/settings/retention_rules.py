"""What of a component stays: ``retention_days`` and the rules that restic has too."""

from __future__ import annotations

from kuramori.errors import N_, Phrase
from kuramori.model.calendar import CalendarDuration, parse_calendar_duration
from kuramori.model.retention import UNLIMITED, RetentionPolicy
from kuramori.settings.model import ComponentRetention
from kuramori.settings.reader import Expected, Refused, TableReader
from kuramori.settings.values import count_of_snapshots, whole_number

_MOST_DAYS = 36_500
_COUNT = count_of_snapshots(UNLIMITED)


def _calendar_duration_of(value: object) -> CalendarDuration:
    if not isinstance(value, str):
        raise Refused
    try:
        found = parse_calendar_duration(value)
    except ValueError:
        raise Refused from None
    # Longer than any history; and whoever computes with it need not fear for the calendar's end.
    if not found or max(found.years, found.months // 12, found.days // 365, found.hours // 8760) > 1000:
        raise Refused
    return found


def _tags_of(value: object) -> tuple[str, ...]:
    if not isinstance(value, str) or not value.strip():
        raise Refused
    return tuple(part.strip() for part in value.split(","))


_DURATION = Expected(Phrase(N_('a duration such as "1y5m7d2h" (years, months, days, hours)')), _calendar_duration_of)
_TAGS = Expected(Phrase(N_('tags with commas between them, such as "keep" or "keep,yearly"; or a list of such texts')),
                 _tags_of)


def read_retention(reader: TableReader) -> ComponentRetention:
    """Return what the rules in a component's table say; nothing said keeps everything."""
    policy = RetentionPolicy(
        last=_count(reader, "last"), hourly=_count(reader, "hourly"), daily=_count(reader, "daily"),
        weekly=_count(reader, "weekly"), monthly=_count(reader, "monthly"), yearly=_count(reader, "yearly"),
        within=_within(reader, "within"), within_hourly=_within(reader, "within_hourly"),
        within_daily=_within(reader, "within_daily"), within_weekly=_within(reader, "within_weekly"),
        within_monthly=_within(reader, "within_monthly"), within_yearly=_within(reader, "within_yearly"),
        tags=reader.values("keep_tag", _TAGS))
    return ComponentRetention(reader.value("retention_days", whole_number(1, _MOST_DAYS), None), policy)


def _count(reader: TableReader, name: str) -> int:
    return reader.value(f"keep_{name}", _COUNT, 0)


def _within(reader: TableReader, name: str) -> CalendarDuration:
    return reader.value(f"keep_{name}", _DURATION, CalendarDuration())
