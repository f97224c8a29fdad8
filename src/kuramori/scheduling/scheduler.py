"""Does what is due, one thing after the other: jobs never overlap, on one repository or on several.

:meth:`Scheduler.step` is one turn and needs no thread: tests drive it through years with a clock of
their own. :meth:`Scheduler.run` is the loop around it, for a thread that may be its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Protocol

from kuramori.clock import Clock
from kuramori.errors import ClockImplausibleError, Interrupted, KuramoriError, UnexpectedError
from kuramori.history.history import History
from kuramori.history.records import DueState, OperationState
from kuramori.scheduling import plan
from kuramori.scheduling.arrivals import Arrivals
from kuramori.scheduling.plausibility import ClockJudge, Verdict
from kuramori.scheduling.waiting import Waiter
from kuramori.scheduling.work import JobRunner, ScheduledWork, WorkOutcome, last_operation
from kuramori.settings.model import Every

LONGEST_WAIT = 30.0
"""Seconds. The clock on the wall may be set while we wait, and a machine may sleep: look so often."""


_MISSED = 60.0
"""Seconds after its time from which a work counts as missed."""


class SchedulerListener(Protocol):
    """Hears what happens. Called in the scheduler's thread; must not raise."""

    def began(self, work: ScheduledWork, state: DueState) -> None:
        """A run begins; that it does is on disk."""
        ...

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> None:
        """A run ended; ``state`` says what comes next."""
        ...

    def doubted(self, doubt: ClockImplausibleError) -> None:
        """The clock cannot be right; nothing runs. Once for each time that this begins."""
        ...

    def trusted(self, *, believed: bool) -> None:
        """The clock is right again, or is believed although it went back."""
        ...

    def looked(self, works: Sequence[ScheduledWork], states: dict[str, DueState]) -> None:
        """Nothing runs right now: what is to be told about states can be told. Whoever changes one puts
        it into ``states``, and it is kept."""
        ...


def _no_delay() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """How a scheduler behaves."""

    zone: tzinfo = UTC
    """The local zone, with its changes (``zoneinfo.ZoneInfo``)."""
    longest_wait: float = LONGEST_WAIT
    delay_missed: Callable[[], float] = _no_delay
    """Gives the seconds by which a work is put off that was missed while the scheduler did not run: after a power
    cut, not every machine of a fleet shall come to the store at the same moment."""
    one_turn: bool = False
    """The scheduler calls :meth:`Scheduler.run_due` once and is gone, perhaps for a day: what was never
    seen before is due now, what went wrong is said at once even if it may pass, and since when the
    clock is doubted is kept in the history."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What is done next."""

    work: ScheduledWork
    time: datetime
    state: DueState

    @property
    def is_retry(self) -> bool:
        """Whether it is another attempt, before its due instant."""
        return self.state.retry == self.time


class Scheduler:
    """Keeps due times and does what is due. :meth:`step` and :meth:`run` belong to one thread; all
    others may call :meth:`stop`, :meth:`replace_works`, :meth:`request` and :meth:`upcoming`."""

    def __init__(self, works: Sequence[ScheduledWork], runner: JobRunner, history: History, clock: Clock,
                 waiter: Waiter, listener: SchedulerListener, options: SchedulerOptions | None = None,
                 arrivals: Arrivals | None = None) -> None:
        """Nothing is read, written or run yet.

        Args:
            works: what to do, and when. Where two are due, one that gives way comes last, and otherwise the one
                that is due longer comes first, then the one that stands first.
            runner: does it.
            history: keeps the due times. Where it cannot, they live in memory only.
            clock: what time it is.
            waiter: waits, by the same clock.
            listener: hears what happens.
            options: see there.
            arrivals: sees disks come that start works; None for none.
        """
        self._works = tuple(works)
        self._runner = runner
        self._history = history
        self._clock = clock
        self._waiter = waiter
        self._listener = listener
        self._options = options or SchedulerOptions()
        self._arrivals = arrivals
        self._not_before: dict[str, float] = {}
        """By the key of a work, on the monotonic clock."""
        self._judge = ClockJudge(clock, history, remembers=self._options.one_turn)
        self._doubting = False
        self._states: dict[str, DueState] = {}
        self._requested: list[str] = []
        self._running: ScheduledWork | None = None
        self._guard = threading.Lock()
        self._stopping = False

    # --- for any thread ------------------------------------------------------------------------

    def stop(self) -> None:
        """End :meth:`run` soon; a run in progress is cancelled and ends in good order. May be called twice."""
        self._stopping = True
        self._waiter.wake()

    def stopped(self) -> bool:
        """Tell whether :meth:`stop` was called."""
        return self._stopping

    def replace_works(self, works: Sequence[ScheduledWork], runner: JobRunner,
                      arrivals: Arrivals | None = None) -> None:
        """Go on with other works, another runner and other disks, once what runs now has ended."""
        with self._guard:
            self._works, self._runner, self._arrivals = tuple(works), runner, arrivals
        self._waiter.wake()

    def request(self, key: str) -> bool:
        """Do a work as soon as nothing else runs, whenever it is due; return whether there is one with
        that key (:func:`kuramori.scheduling.work.due_key`)."""
        with self._guard:
            known = any(work.key == key for work in self._works)
            if known and key not in self._requested:
                self._requested.append(key)
        self._waiter.wake()
        return known

    @property
    def running(self) -> ScheduledWork | None:
        """What runs right now."""
        return self._running

    def upcoming(self) -> list[Upcoming]:
        """Return what is done next by time, soonest first. Empty before the first step."""
        with self._guard:
            known = [(work, self._states[work.key]) for work in self._works if work.key in self._states
                     and plan.wake_time(self._states[work.key]) < plan.NEVER]
        return sorted((Upcoming(work, plan.wake_time(state), state) for work, state in known),
                      key=lambda entry: entry.time)

    # --- for the scheduler's thread ------------------------------------------------------------

    def run(self) -> None:
        """Do what is due until :meth:`stop` is called."""
        while not self.stopped():
            seconds = self.step()
            if seconds > 0 and not self.stopped():
                self._waiter.wait(seconds)

    def step(self) -> float:
        """Do one thing that is due, if any; return after how many seconds to call again (0 for at once)."""
        works = self._prepare()
        if works is None:
            return self._options.longest_wait
        for key in self._arrivals.look() if self._arrivals is not None else ():
            self.request(key)
        now = self._now()
        work = self._next(works, now)
        if work is not None:
            self._run(work, now)
        self._look(works)
        return 0.0 if work is not None else self._pause(works)

    def run_due(self) -> bool:
        """Do everything that is due now, each thing once; return whether all of it succeeded. For a
        process that is started again and again, instead of :meth:`run`.

        Raises:
            ClockImplausibleError: the clock cannot be right; nothing was done.
        """
        works = self._prepare()
        if works is None:
            assert self._judge.doubt is not None
            raise self._judge.doubt
        now = self._now()
        due = sorted((work for work in works if plan.wake_time(self._states[work.key]) <= now), key=self._turn)
        for work in due:
            if not self.stopped():
                self._run(work, self._now())
        self._look(works)
        return not self.stopped() and not any(self._states[work.key].failures for work in due)

    def _prepare(self) -> Sequence[ScheduledWork] | None:
        """Look at the clock and bring the states in step; return the works, or None while the clock is
        doubted."""
        with self._guard:
            works = self._works
        verdict = self._judge.judge()
        if verdict is Verdict.DOUBTED:
            if not self._doubting and self._judge.doubt is not None:
                self._doubting = True
                self._listener.doubted(self._judge.doubt)
            return None
        if self._doubting or verdict is Verdict.BELIEVED:
            self._doubting = False
            self._listener.trusted(believed=verdict is Verdict.BELIEVED)
        self._take_up(works, self._now(), believed=verdict is Verdict.BELIEVED)
        return works

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC)

    def _take_up(self, works: Sequence[ScheduledWork], now: datetime, *, believed: bool) -> None:
        """Bring the states in step with the works. Not before the clock is trusted: what is due next is
        worked out from it."""
        zone = self._options.zone
        known = self._states
        states: dict[str, DueState] = {}
        for work in works:
            state = known.get(work.key)
            if state is None:
                state = self._from_history(work, now)
                self._put_off(work, state, now)
            if state.schedule != plan.fingerprint(work, zone):
                state = plan.take_up(state, work, now, zone)
            if believed:
                state = plan.believe_earlier_clock(state, work, now, zone)
            states[work.key] = state
        with self._guard:
            self._states = states
            self._requested = [key for key in self._requested if key in states]
        for key, state in states.items():
            if known.get(key) != state:
                self._history.set_due_state(key, state)

    def _put_off(self, work: ScheduledWork, state: DueState, now: datetime) -> None:
        assert state.due is not None
        missed = state.last_started is not None and (now - state.due).total_seconds() > _MISSED
        if missed and not self._options.one_turn:
            self._not_before[work.key] = self._clock.monotonic() + self._options.delay_missed()

    def _seconds_until(self, work: ScheduledWork, now: datetime) -> float:
        """Return in how many seconds a work is to be done, 0 or less for now."""
        put_off = self._not_before.get(work.key, 0.0) - self._clock.monotonic()
        return max((plan.wake_time(self._states[work.key]) - now).total_seconds(), put_off)

    def _from_history(self, work: ScheduledWork, now: datetime) -> DueState:
        state = self._history.due_state(work.key)
        if state is None or state.due is None:
            began = None
            if isinstance(work.schedule, Every):
                before = last_operation(self._history, work, state=OperationState.COMPLETE)
                began = before.started if before is not None else None
            return plan.begin_keeping(work, now, self._options.zone, last_began=began, at_once=self._options.one_turn)
        if state.running:
            state = self._learn_end(work, state)
        state = plan.take_up(state, work, now, self._options.zone)
        # Where the clock went back while this work was not kept, what is due in a year is found now.
        return plan.believe_earlier_clock(state, work, now, self._options.zone)

    def _learn_end(self, work: ScheduledWork, state: DueState) -> DueState:
        """A process that died noted that a run began. Perhaps the run itself noted that it ended well."""
        last = last_operation(self._history, work)
        if last is not None and last.state is OperationState.COMPLETE and last.ended is not None \
                and state.last_started is not None and last.started >= state.last_started:
            return plan.end_run(state, OperationState.COMPLETE, last.ended)
        return state

    def _next(self, works: Sequence[ScheduledWork], now: datetime) -> ScheduledWork | None:
        due = min((work for work in works if self._seconds_until(work, now) <= 0), key=self._turn, default=None)
        with self._guard:
            requested = next((work for work in works if work.key in self._requested[:1]), None)
            if requested is None or (requested.kind.gives_way and due is not None and not due.kind.gives_way):
                return due
            del self._requested[0]
            return requested

    def _turn(self, work: ScheduledWork) -> tuple[bool, datetime]:
        """Return what orders works that are due."""
        return work.kind.gives_way, plan.wake_time(self._states[work.key])

    def _is_needed(self) -> bool:
        """Tell whether something is due that shall not wait for a work that gives way."""
        now = self._now()
        with self._guard:
            waiting = [work for work in self._works if work.key in self._states and not work.kind.gives_way]
            requested = list(self._requested)
        return any(work.key in requested or self._seconds_until(work, now) <= 0 for work in waiting)

    def _run(self, work: ScheduledWork, now: datetime) -> None:
        state = plan.begin_run(self._states[work.key], work, now, self._options.zone)
        self._keep(work, state)
        self._running = work
        self._listener.began(work, state)
        try:
            outcome = self._attempt(work)
        finally:
            self._running = None
        # What was learnt while it ran (that somebody was told) stands in the state as it is now.
        state = plan.end_run(
            self._states[work.key], outcome.state, self._now(), damaged=outcome.damaged, worse=outcome.worse,
            waiting=outcome.waiting, may_pass=outcome.may_pass and not self._options.one_turn)
        self._keep(work, state)
        self._listener.ended(work, outcome, state)

    def _attempt(self, work: ScheduledWork) -> WorkOutcome:
        with self._guard:
            runner = self._runner
        made_room = False

        def cancelled() -> bool:
            nonlocal made_room
            made_room = made_room or (work.kind.gives_way and self._is_needed())
            return made_room or self.stopped()

        try:
            outcome = runner.run(work, cancelled)
        except Interrupted as error:
            outcome = WorkOutcome(OperationState.INTERRUPTED, errors=(error,))
        except KuramoriError as error:
            outcome = WorkOutcome(OperationState.FAILED, errors=(error,))
        except Exception as error:  # the last resort: a bug in one job must not end the others' backups
            outcome = WorkOutcome(OperationState.FAILED,
                                  errors=(UnexpectedError(kind=type(error).__name__, detail=str(error)[:200]),))
        if outcome.state is OperationState.INTERRUPTED and not (self.stopped() or made_room):
            return replace(outcome, state=OperationState.FAILED)  # somebody else broke it off
        return outcome

    def _keep(self, work: ScheduledWork, state: DueState) -> None:
        with self._guard:
            self._states[work.key] = state
        self._history.set_due_state(work.key, state)

    def _look(self, works: Sequence[ScheduledWork]) -> None:
        states = dict(self._states)
        self._listener.looked(works, states)
        for work in works:
            if states[work.key] != self._states[work.key]:
                self._keep(work, states[work.key])

    def _pause(self, works: Sequence[ScheduledWork]) -> float:
        now = self._now()
        waits = [self._seconds_until(work, now) for work in works]
        if self._arrivals is not None:
            waits.append(self._arrivals.pause())
        return max(0.0, min([self._options.longest_wait, *waits]))
