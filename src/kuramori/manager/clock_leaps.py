"""Whether the clock may have leapt ahead: pure, from the times of runs.

A clock that is a year ahead makes everything look old. Nothing tells that from a machine that was
switched off for a year, but for time: whoever is there notices a wrong date, or the network corrects
it, and then the clock is behind the newest snapshot. So after a long time without any run, what is
removed without anybody looking waits until runs have gone on for some days.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_DAY = 86_400 * 10**9
"""Nanoseconds."""
_TRUSTED_AFTER = 3 * _DAY
_SHORTEST_LEAP = 14 * _DAY
_USUAL_TIMES = 2
_RECENT = 5
"""A pause is no leap if it is at most twice as long as one of the last five before it. Older ones say
nothing: rules thin out what is old."""


class Leap(NamedTuple):
    """A long time without any run, as nanoseconds since 1970-01-01 UTC."""

    before: int
    """The last run before it."""
    after: int
    """The first run after it, or now."""

    @property
    def trusted_from(self) -> int:
        """When the clock is believed."""
        return self.after + _TRUSTED_AFTER


def find_leap(times: Sequence[int], now: int) -> Leap | None:
    """Return the leap after which the clock is not believed yet, or None.

    Args:
        times: of the runs, in any order, as nanoseconds since 1970-01-01 UTC.
    """
    old = sorted(time for time in times if time <= now - _TRUSTED_AFTER)
    if not old:
        return None
    after = min((time for time in times if time > now - _TRUSTED_AFTER), default=now)
    usual = max((second - first for first, second in pairwise(old[-_RECENT - 1 :])), default=0)
    if after - old[-1] <= max(_SHORTEST_LEAP, _USUAL_TIMES * usual):
        return None
    return Leap(old[-1], after)
