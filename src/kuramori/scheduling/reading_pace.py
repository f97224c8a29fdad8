"""How fast a repeated check must read, by how often it comes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from kuramori.scheduling.triggers import longest_pause
from kuramori.settings.model import Schedule

_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)
"""Pauses are the same at all times, but for an hour when clocks are changed."""


def days_to_read(schedule: Schedule, check_days: int) -> int:
    """Return in how many days a repeated check is to read everything, so that nothing is ever older than
    ``check_days``: what is not quite due when a check comes must wait for the next one.

    Raises:
        ScheduleError: the schedule makes no sense, or is never due.
    """
    pause = math.ceil(longest_pause(schedule, _ANY_TIME, UTC) / timedelta(days=1))
    return max(1, check_days - pause)
