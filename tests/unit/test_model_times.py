"""Times: the rules of format section 2.1."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from kuramori.model.times import (
    forget_zone,
    format_datetime,
    format_nanoseconds,
    parse_datetime,
    parse_nanoseconds,
)

SECOND = 1_000_000_000


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The local zone that a test names as its parameter."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    forget_zone()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    forget_zone()


@pytest.mark.parametrize(("text", "instant"), [
    ("1970-01-01T00:00:00Z", 0),
    ("1970-01-01T00:00:00.000000001Z", 1),
    ("1969-12-31T23:59:59.999999999Z", -1),
    ("1970-01-01T01:00:00+01:00", 0),
    ("1969-12-31T18:30:00-05:30", 0),
    ("2020-02-29T12:00:00.5Z", 1_582_977_600_500_000_000),
    ("2020-02-29T12:00:00.1234567899999Z", 1_582_977_600_123_456_789),
    ("0001-01-01T00:00:00Z", -62_135_596_800 * SECOND),
    ("0000-01-01T00:00:00Z", (-62_135_596_800 - 366 * 86_400) * SECOND),
    ("9999-12-31T23:59:59Z", 253_402_300_799 * SECOND),
])
def test_a_time_is_read_to_the_nanosecond(text: str, instant: int) -> None:
    assert parse_nanoseconds(text) == instant


@pytest.mark.parametrize("text", [
    "", "now", "2020-01-01", "2020-01-01 00:00:00Z", "2020-01-01t00:00:00Z", "2020-01-01T00:00:00z",
    "2020-01-01T00:00:00",
    "2020-13-01T00:00:00Z", "2020-02-30T00:00:00Z", "2021-02-29T00:00:00Z", "2020-01-01T24:00:00Z",
    "2020-01-01T00:60:00Z", "2020-01-01T00:00:61Z", "20200-01-01T00:00:00Z", "2020-01-01T00:00:00.Z",
    "2020-01-01T00:00:00+0100", "2020-01-01T00:00:00+01", "２０２０-01-01T00:00:00Z", "2020-01-01T00:00:00Z\n",
])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|month|day|hour|minute|second|range"):
        parse_nanoseconds(text)


@pytest.mark.parametrize(("instant", "text"), [
    (0, "1970-01-01T00:00:00Z"),
    (1, "1970-01-01T00:00:00.000000001Z"),
    (-1, "1969-12-31T23:59:59.999999999Z"),
    (100_000_000, "1970-01-01T00:00:00.1Z"),
    (1_582_977_600_123_456_000, "2020-02-29T12:00:00.123456Z"),
])
@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
def test_a_time_is_written_without_trailing_zeros(zone: str, instant: int, text: str) -> None:
    assert format_nanoseconds(instant) == text


@pytest.mark.parametrize(("zone", "instant", "text"), [
    ("Europe/Berlin", 1_585_443_599_999_999_999, "2020-03-29T01:59:59.999999999+01:00"),
    ("Europe/Berlin", 1_585_443_600_000_000_000, "2020-03-29T03:00:00+02:00"),
    ("Europe/Berlin", 1_603_587_599_000_000_000, "2020-10-25T02:59:59+02:00"),
    ("Europe/Berlin", 1_603_587_600_000_000_000, "2020-10-25T02:00:00+01:00"),
    ("Asia/Tokyo", 0, "1970-01-01T09:00:00+09:00"),
    ("Asia/Kolkata", 0, "1970-01-01T05:30:00+05:30"),
    ("Asia/Kathmandu", 10**18, "2001-09-09T07:31:40+05:45"),
    ("America/St_Johns", 10**18, "2001-09-08T23:16:40-02:30"),
], indirect=["zone"])
def test_a_time_is_written_with_the_offset_that_was_valid_then(zone: str, instant: int, text: str) -> None:
    assert format_nanoseconds(instant) == text


@pytest.mark.parametrize("zone", ["Africa/Monrovia", "Asia/Kathmandu", "America/Lima", "Europe/Dublin", "UTC"],
                         indirect=True)
def test_offsets_with_seconds_do_not_shift_the_instant(zone: str) -> None:
    for instant in range(-2_000_000_000 * SECOND, 2_000_000_000 * SECOND, 33_333_333_333_333_333):
        assert parse_nanoseconds(format_nanoseconds(instant)) == instant


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"], indirect=True)
@pytest.mark.parametrize("instant", [-10**30, -62_135_596_800 * SECOND, 253_402_300_799 * SECOND, 10**30])
def test_times_no_year_has_room_for_are_written_as_the_nearest(zone: str, instant: int) -> None:
    text = format_nanoseconds(instant)
    assert text[:4] in ("0001", "9999")
    parse_nanoseconds(text)


def test_a_datetime_keeps_its_offset() -> None:
    moment = parse_datetime("2020-07-01T12:00:00.123456789+02:00")
    assert moment == datetime(2020, 7, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert moment.utcoffset() == timedelta(hours=2)
    assert format_datetime(moment) == "2020-07-01T12:00:00.123456+02:00"
    assert format_datetime(moment.astimezone(UTC)) == "2020-07-01T10:00:00.123456Z"
    assert format_datetime(datetime(2020, 7, 1, tzinfo=timezone(-timedelta(hours=9, minutes=30)))) == (
        "2020-07-01T00:00:00-09:30")
