"""A clock that is told the time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_START = 1_795_392_000_000_000_000
"""2026-11-23 00:00 UTC."""


class FakeClock:
    """A :class:`kuramori.clock.Clock` whose time passes only in :meth:`sleep` and :meth:`advance`.

    Attributes:
        slept: the arguments of all calls of :meth:`sleep`, in seconds.
    """

    def __init__(self, now_nanoseconds: int = _START, *, utc_offset_minutes: int = 0) -> None:
        """Begin at an instant.

        Args:
            now_nanoseconds: since 1970-01-01 UTC.
            utc_offset_minutes: of the local zone, east is positive.
        """
        self._now = now_nanoseconds
        self._monotonic = 0.0
        self._zone = timezone(timedelta(minutes=utc_offset_minutes))
        self._guard = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the current instant as an aware datetime in the local zone, to the microsecond."""
        return (_EPOCH + timedelta(microseconds=self.now_nanoseconds() // 1000)).astimezone(self._zone)

    def now_nanoseconds(self) -> int:
        """Return the current instant in nanoseconds since 1970-01-01 UTC."""
        with self._guard:
            return self._now

    def monotonic(self) -> float:
        """Return the seconds that passed; :meth:`set` does not change them."""
        with self._guard:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        with self._guard:
            self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` (not negative) pass."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        with self._guard:
            self._now += round(seconds * 1e9)
            self._monotonic += seconds

    def set(self, now_nanoseconds: int) -> None:
        """Set the clock on the wall, to any instant, as a user or NTP would; no time passes."""
        with self._guard:
            self._now = now_nanoseconds
