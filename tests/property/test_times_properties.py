"""Every instant survives being written and read, in every zone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuramori.model.times import (
    forget_zone,
    format_datetime,
    format_nanoseconds,
    parse_datetime,
    parse_nanoseconds,
)

INSTANTS = st.integers(-62_135_500_000 * 10**9, 253_402_200_000 * 10**9)
ZONES = ["UTC", "Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe",
         "Africa/Monrovia"]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the zones as the local one."""
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(instant=INSTANTS)
def test_an_instant_comes_back(zone: str, instant: int) -> None:
    assert parse_nanoseconds(format_nanoseconds(instant)) == instant


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(base=st.integers(-2_000_000_000, 4_000_000_000), step=st.integers(-5000, 5000))
def test_neighbouring_instants_come_back(zone: str, base: int, step: int) -> None:
    for instant in (base * 10**9, (base + step) * 10**9):
        assert parse_nanoseconds(format_nanoseconds(instant)) == instant


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_a_datetime_comes_back_with_its_offset(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    again = parse_datetime(format_datetime(aware))
    assert again == aware
    assert again.utcoffset() == aware.utcoffset()
    microseconds = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_nanoseconds(format_datetime(aware)) == microseconds * 1000


@given(st.one_of(st.text(max_size=40), st.from_regex(
    r"\d{1,5}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d*)?([Zz]|[+-]\d\d:?\d\d)?")))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        parse_nanoseconds(text)
    except ValueError:
        return
    assert text.isascii()
