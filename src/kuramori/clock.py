"""The only place that reads the time.

Everything that needs the time is given a :class:`Clock`, so that tests can hand it another one
(``kuramori.testing.FakeClock``).
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """What the program asks of a clock."""

    def now(self) -> datetime:
        """Return the current instant as an aware datetime in the local zone."""
        ...

    def now_nanoseconds(self) -> int:
        """Return the current instant in nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; only differences mean anything."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant as an aware datetime in the local zone."""
        return datetime.now().astimezone()

    def now_nanoseconds(self) -> int:
        """Return the current instant in nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed."""
        time.sleep(seconds)
