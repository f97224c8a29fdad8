"""When schedules are due, against a calendar that walks through every minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.errors import ScheduleError
from kuramori.scheduling.triggers import due_instants, longest_pause, next_due
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule

_MINUTE = timedelta(minutes=1)
_ZONES = ("Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
          "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "UTC")

# Around these instants clocks change: gaps and repeats of 30 and 60 minutes, at midnight, a whole day left out.
_CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin
    datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York
    datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe
    datetime(2018, 2, 18, 2, tzinfo=UTC), datetime(2018, 11, 4, 3, tzinfo=UTC),  # Sao Paulo, at midnight
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia leaves a day out
    datetime(2026, 2, 15, 2, tzinfo=UTC), datetime(2026, 3, 22, 2, tzinfo=UTC),  # Casablanca, Ramadan
    datetime(2028, 2, 29, 0, tzinfo=UTC),
)


class _Cron:
    """A cron expression of numbers, ranges, lists and steps, read in the simplest way."""

    def __init__(self, text: str) -> None:
        minute, hour, day, month, weekday = text.split()
        self.minutes = _numbers(minute, 0, 59)
        self.hours = _numbers(hour, 0, 23)
        self.days = _numbers(day, 1, 31)
        self.months = _numbers(month, 1, 12)
        self.weekdays = {number % 7 for number in _numbers(weekday, 0, 7)}
        self.both_days = day.startswith("*") or weekday.startswith("*")
        self.every_so_often = hour.startswith("*")

    def fits(self, label: datetime) -> bool:
        by_day, by_weekday = label.day in self.days, label.isoweekday() % 7 in self.weekdays
        return (label.minute in self.minutes and label.hour in self.hours and label.month in self.months
                and ((by_day and by_weekday) if self.both_days else (by_day or by_weekday)))


def _numbers(field: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _slash, step = part.partition("/")
        low, _dash, high = span.partition("-")
        begin = first if low == "*" else int(low)
        end = last if low == "*" or (step and not high) else int(high or low)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def _calendar(schedule: Schedule, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Walk through every minute. Labels that were passed over are due with the minute behind them; labels
    that are shown again are due no more."""
    cron = _Cron(f"{schedule.minute} {schedule.hour} * * *" if isinstance(schedule, DailyAt) else str(schedule))
    furthest = (start - timedelta(days=2)).astimezone(zone).replace(tzinfo=None)
    instant = start - timedelta(days=2)
    while instant < end:
        instant += _MINUTE
        label = instant.astimezone(zone).replace(tzinfo=None)
        if cron.every_so_often:
            due = cron.fits(label)
        else:
            passed = [furthest + _MINUTE * number for number in range(1, (label - furthest) // _MINUTE + 1)]
            due = any(cron.fits(each) for each in passed)
            furthest = max(furthest, label)
        if due and instant > start:
            yield instant


def _assert_agrees(schedule: Schedule, start: datetime, end: datetime, zone: ZoneInfo) -> None:
    expected = list(_calendar(schedule, start, end, zone))
    found = []
    for due in due_instants(schedule, start, zone):
        if due > end:
            break
        assert due.utcoffset() == timedelta(0)
        found.append(due)
    assert found == expected


_near_changes = st.builds(lambda change, minutes: change + minutes * _MINUTE, st.sampled_from(_CHANGES),
                          st.integers(-2000, 1500))
_fields = st.tuples(
    st.sampled_from(["0", "30", "5,35", "*/15", "*", "59", "0-10/5"]),
    st.sampled_from(["0", "1", "2", "3", "*", "*/2", "1-3", "0,12,23", "2-3"]),
    st.sampled_from(["*", "*", "1", "29", "4,25", "*/2"]),
    st.sampled_from(["*", "*", "3", "2,10-11"]),
    st.sampled_from(["*", "*", "0", "7", "1-5", "6"]),
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(schedule=st.one_of(st.builds(DailyAt, st.integers(0, 23), st.sampled_from([0, 15, 30, 59])),
                          st.builds(CronExpression, _fields)),
       start=_near_changes, zone=st.sampled_from(_ZONES))
def test_due_instants_agree_with_a_calendar_that_walks_every_minute(schedule: Schedule, start: datetime,
                                                                    zone: str) -> None:
    _assert_agrees(schedule, start, start + timedelta(hours=60), ZoneInfo(zone))


@settings(max_examples=100, deadline=None)
@given(schedule=st.one_of(st.builds(DailyAt, st.integers(0, 23), st.integers(0, 59)),
                          st.builds(CronExpression, st.sampled_from(["*/7 * * * *", "0 2 * * 1", "15 1-3 * * *"])),
                          st.builds(Every, st.floats(0.5, 1e6))),
       start=_near_changes, parts=st.lists(st.floats(0, 1), max_size=5), zone=st.sampled_from(_ZONES))
def test_whenever_one_asks_the_answer_is_the_same(schedule: Schedule, start: datetime, parts: list[float],
                                                  zone: str) -> None:
    """Asking in between, as after a restart, neither loses nor invents a due instant."""
    due = next_due(schedule, start, ZoneInfo(zone))
    assert due > start
    if isinstance(schedule, Every):
        return
    for part in parts:
        between = start + (due - start) * part
        if between < due:
            assert next_due(schedule, between, ZoneInfo(zone)) == due


def _local(schedule: Schedule, zone: str, start: datetime, count: int) -> list[str]:
    instants = due_instants(schedule, start, ZoneInfo(zone))
    return [next(instants).astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z") for _number in range(count)]


@pytest.mark.parametrize("schedule", [DailyAt(2, 30), CronExpression("30 2 * * *")])
def test_half_past_two_in_berlin(schedule: Schedule) -> None:
    assert _local(schedule, "Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC), 3) == [
        "03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]
    assert _local(schedule, "Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC), 3) == [
        "10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"]


def test_an_hourly_job_runs_every_hour_of_a_day_with_25() -> None:
    assert _local(CronExpression("0 * * * *"), "Europe/Berlin", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 4) == [
        "10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100", "10-25 04:00+0100"]


def test_the_longest_pause_is_that_over_the_weekend() -> None:
    start, zone = datetime(2026, 11, 23, tzinfo=UTC), ZoneInfo("Asia/Tokyo")
    assert longest_pause(CronExpression("0 2 * * 1-5"), start, zone) == timedelta(days=3)
    assert longest_pause(DailyAt(2, 0), start, zone) == timedelta(days=1)
    assert longest_pause(Every(21600), start, zone) == timedelta(hours=6)


@pytest.mark.parametrize("schedule", [
    CronExpression("0 2 * *"), CronExpression("0 2 * * * *"), CronExpression("61 2 * * *"), CronExpression(""),
    CronExpression("0 0 30 2 *"), CronExpression("x y z a b"), Every(0), Every(-1), Every(float("nan")),
    Every(1e30), DailyAt(25, 0),
])
def test_schedules_that_make_no_sense_are_refused(schedule: Schedule) -> None:
    with pytest.raises(ScheduleError):
        next_due(schedule, datetime(2026, 11, 23, tzinfo=UTC), ZoneInfo("UTC"))
