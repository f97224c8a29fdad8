"""The clock of the tests."""

from datetime import timedelta

import pytest

from kuramori.testing.clock import FakeClock


def test_time_passes_only_when_told() -> None:
    clock = FakeClock(1_700_000_000_123_456_789, utc_offset_minutes=540)
    assert clock.now().isoformat() == "2023-11-15T07:13:20.123456+09:00"
    assert clock.now_nanoseconds() == 1_700_000_000_123_456_789
    clock.sleep(1.5)
    clock.advance(2)
    assert clock.now_nanoseconds() == 1_700_000_003_623_456_789
    assert clock.monotonic() == 3.5
    assert clock.slept == [1.5]


def test_the_wall_clock_jumps_and_the_other_does_not() -> None:
    clock = FakeClock()
    before = clock.now()
    clock.advance(10)
    clock.set(0)
    assert clock.now().year == 1970
    assert clock.monotonic() == 10
    assert before - clock.now() > timedelta(days=365 * 50)


def test_time_does_not_go_back_by_itself() -> None:
    with pytest.raises(ValueError, match="back"):
        FakeClock().advance(-1)
