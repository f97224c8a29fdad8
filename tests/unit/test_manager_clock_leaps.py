"""A clock that leapt ahead, or a machine that was off: what waits, and for how long."""

from __future__ import annotations

import pytest

from kuramori.manager.clock_leaps import find_leap

DAY = 86_400 * 10**9
DAILY = [day * DAY for day in range(100)]


@pytest.mark.parametrize("times", [[], [0], DAILY, [day * DAY for day in range(0, 400, 30)]], ids=len)
def test_runs_at_their_usual_times_are_no_leap(times: list[int]) -> None:
    assert find_leap(times, max(times, default=0) + DAY) is None
    assert find_leap(times, max(times, default=0) + 14 * DAY) is None


def test_a_year_ahead_is_believed_after_three_days_of_runs() -> None:
    ahead = 99 * DAY + 365 * DAY
    assert find_leap(DAILY, ahead) == (99 * DAY, ahead)
    leap = find_leap([*DAILY, ahead], ahead + DAY)
    assert leap is not None
    assert leap == (99 * DAY, ahead)
    runs = [*DAILY, *(ahead + day * DAY for day in range(4))]
    assert find_leap(runs, leap.trusted_from - 1) == leap
    assert find_leap(runs, leap.trusted_from) is None


def test_a_pause_that_was_usual_before_is_no_leap() -> None:
    monthly = [month * 30 * DAY for month in range(6)]
    assert find_leap(monthly, monthly[-1] + 59 * DAY) is None
    assert find_leap(monthly, monthly[-1] + 61 * DAY) is not None
