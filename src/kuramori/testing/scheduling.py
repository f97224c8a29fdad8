"""Schedulers that live through years in seconds: time passes only where somebody waits or works.

    clock, waiter = FakeClock(), ...
    waiter = ScriptedWaiter(clock)
    waiter.at(3600, lambda: clock.set(0))        # an hour from now somebody sets the clock to 1970
    scheduler = Scheduler(works, LightRunner(clock), history, clock, waiter, SilentListener(), options)
    waiter.at(3 * 365 * 86400, scheduler.stop)
    scheduler.run()
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from kuramori.errors import ClockImplausibleError, Interrupted
from kuramori.history.history import History
from kuramori.history.records import DueState, OperationState
from kuramori.scheduling.work import ScheduledWork, WorkOutcome
from kuramori.testing.clock import FakeClock


class ScriptedWaiter:
    """A :class:`kuramori.scheduling.waiting.Waiter` that lets the time of a fake clock pass at once, and
    in which something happens at given moments."""

    def __init__(self, clock: FakeClock) -> None:
        """Nothing happens yet."""
        self._clock = clock
        self._script: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._woken = False

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` when ``seconds`` of real time (the clock's monotonic one) have passed from now,
        or with the next wait if that is later. It ends the wait."""
        heapq.heappush(self._script, (self._clock.monotonic() + seconds, next(self._order), action))

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, or fewer if something happens."""
        if self._woken:
            self._woken = False
            return
        now = self._clock.monotonic()
        if self._script and self._script[0][0] <= now + seconds:
            moment, _order, action = heapq.heappop(self._script)
            self._clock.advance(max(0.0, moment - now))
            action()
            self._woken = False
        else:
            self._clock.advance(seconds)

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._woken = True


@dataclass(frozen=True, slots=True)
class LightRun:
    """One run of a :class:`LightRunner`."""

    key: str
    wall: datetime
    """What the clock on the wall showed when it began, in the clock's zone."""
    real: float
    """What its monotonic side showed."""


def _well(_work: ScheduledWork, _number: int) -> OperationState:
    return OperationState.COMPLETE


class LightRunner:
    """A :class:`kuramori.scheduling.work.JobRunner` that backs up nothing: it takes its time, notes the
    operation as the manager would, and ends as it is told.

    Attributes:
        runs: what ran, in order.
    """

    def __init__(self, clock: FakeClock, history: History | None = None, *, seconds: float = 0.0,
                 state: Callable[[ScheduledWork, int], OperationState] = _well) -> None:
        """Nothing has run.

        Args:
            history: where operations are noted; None for nowhere.
            seconds: how long a run takes; in ten parts, between which it may be cancelled.
            state: how the run of a work with a number (from 0, over all works) ends.
        """
        self._clock = clock
        self._history = history
        self._seconds = seconds
        self._state = state
        self._busy = False
        self.runs: list[LightRun] = []

    def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        """Run."""
        assert not self._busy, "two runs overlap"
        self._busy = True
        number = len(self.runs)
        self.runs.append(LightRun(work.key, self._clock.now(), self._clock.monotonic()))
        operation = None if self._history is None else self._history.begin(
            work.kind.operation, work.job, repository=work.repository)
        try:
            state = self._work(cancelled) or self._state(work, number)
            if operation is not None:
                operation.finish(state)
        finally:
            self._busy = False
        if state is OperationState.INTERRUPTED:
            raise Interrupted
        return WorkOutcome(state, f"run-{number}")

    def _work(self, cancelled: Callable[[], bool]) -> OperationState | None:
        for _part in range(10 if self._seconds else 0):
            if cancelled():
                return OperationState.INTERRUPTED
            self._clock.advance(self._seconds / 10)
        return None


class SilentListener:
    """A :class:`kuramori.scheduling.scheduler.SchedulerListener` that only remembers.

    Attributes:
        doubts: what was said of the clock.
        outcomes: how runs ended, in order.
    """

    def __init__(self) -> None:
        """Nothing was heard."""
        self.doubts: list[ClockImplausibleError] = []
        self.outcomes: list[tuple[str, OperationState]] = []
        self.beliefs = 0

    def began(self, work: ScheduledWork, state: DueState) -> None:
        """Ignore it."""

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> None:
        """Remember it."""
        self.outcomes.append((work.key, outcome.state))

    def doubted(self, doubt: ClockImplausibleError) -> None:
        """Remember it."""
        self.doubts.append(doubt)

    def trusted(self, *, believed: bool) -> None:
        """Count it."""
        self.beliefs += believed

    def looked(self, works: Sequence[ScheduledWork], states: dict[str, DueState]) -> None:
        """Ignore it."""
