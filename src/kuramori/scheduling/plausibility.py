"""Whether the clock can be right.

A Raspberry Pi has no battery: it boots in 1970, or where it was switched off, until the network tells
it the time. Backups made meanwhile would carry a wrong date for ever, and what depends on age would
be wrong. So nothing runs while the clock shows less than it must: less than what was already noted,
or less than when this program was made.

But a clock that really is that late (nobody sets it, or it was a year ahead before) must not silence
the backups for good: a backup with a wrong date is better than none. After some patience it is
believed.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kuramori.clock import Clock
from kuramori.errors import N_, ClockImplausibleError, Phrase
from kuramori.history.history import History
from kuramori.history.records import DueState

MADE = datetime(2025, 1, 1, tzinfo=UTC)
"""No clock of a machine that runs this program can rightly show less."""
TOLERANCE = timedelta(minutes=5)
"""Clocks are set back a little all the time; that harms nothing, because due times are instants."""
PATIENCE = timedelta(hours=1)
"""A clock that went back is believed after this ..."""
PATIENCE_BEFORE_MADE = timedelta(hours=24)
"""... and one that is surely wrong after this."""

_KEY = "clock"


class Verdict(enum.Enum):
    """What to think of the clock."""

    TRUSTED = "trusted"
    DOUBTED = "doubted"
    BELIEVED = "believed"
    """It went back, and from this moment on that is taken for the truth."""


class ClockJudge:
    """Watches a clock. Waiting is counted by its monotonic side."""

    def __init__(self, clock: Clock, history: History, *, remembers: bool = False, made: datetime = MADE) -> None:
        """Watch ``clock``.

        Args:
            history: knows the latest instant so far, over restarts.
            remembers: for whoever looks once and ends: since when it doubts is kept in the history.
            made: what the clock can never rightly be before.
        """
        self._clock = clock
        self._history = history
        self._remembers = remembers
        self._made = made
        self._newest: datetime | None = None
        self._doubted_since: float | None = None
        self._believed_before_made = False
        self.doubt: ClockImplausibleError | None = None

    def judge(self) -> Verdict:
        """Look at the clock. While it is doubted, :attr:`doubt` says why."""
        now = self._clock.now().astimezone(UTC)
        newest = max(filter(None, (self._newest, self._history.newest_time())), default=now)
        before_made = now < self._made
        if now >= self._made:
            self._believed_before_made = False
        doubted = newest - now > TOLERANCE or (before_made and not self._believed_before_made)
        if not doubted:
            self._settle()
            self._newest = max(newest, now)
            return Verdict.TRUSTED
        patience = PATIENCE_BEFORE_MADE if before_made else PATIENCE
        if self._waited(now) >= patience:
            self._settle()
            self._newest, self._believed_before_made = now, before_made
            self._history.accept_clock()
            return Verdict.BELIEVED
        # Where the clock shows less than it may, what it showed before says more to a person than a constant.
        self.doubt = ClockImplausibleError(now=_text(now), newest=_text(max(newest, self._made)),
                                           patience=Phrase(N_("{count} h"), count=patience // timedelta(hours=1)))
        return Verdict.DOUBTED

    def _waited(self, now: datetime) -> timedelta:
        if not self._remembers:
            monotonic = self._clock.monotonic()
            if self._doubted_since is None:
                self._doubted_since = monotonic
            return timedelta(seconds=monotonic - self._doubted_since)
        state = self._history.due_state(_KEY)
        if state is None or state.since is None or state.since > now:
            self._history.set_due_state(_KEY, replace(state or DueState(), since=now))
            return timedelta()
        return now - state.since

    def _settle(self) -> None:
        if self._remembers:
            state = self._history.due_state(_KEY)
            if state is not None and state.since is not None:
                self._history.set_due_state(_KEY, replace(state, since=None))
        self._doubted_since = None
        self.doubt = None


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
