"""Who is told of what, and when: once when something goes wrong, once when it is well again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from kuramori.clock import Clock
from kuramori.errors import KuramoriError
from kuramori.history.history import History
from kuramori.history.records import DueState, OperationState
from kuramori.notify.notices import Notice, NoticeKind, Sayable
from kuramori.notify.teller import Delivery, Teller
from kuramori.scheduling import plan
from kuramori.scheduling.copy_watch import CopyWatch, WatchedCopy
from kuramori.scheduling.work import ScheduledWork, WorkKind, WorkOutcome, last_operation

TELL_AGAIN_SECONDS = 900.0
"""A notice that nobody took is tried again after this."""

_WEIGHT = {"": 0, OperationState.PARTIAL.value: 1, OperationState.UNFINISHED.value: 2, OperationState.FAILED.value: 2,
           plan.DAMAGED: 3}


class Announcer:
    """Compares what is with what the person knows (``DueState.problem`` and ``told``), and tells the
    difference. Both are on disk, so a restart neither forgets a notice nor repeats one; a problem that
    is gone before anybody could be reached is not told at all."""

    def __init__(self, teller: Teller, history: History, clock: Clock, zone: tzinfo, hostname: str,
                 note: Callable[[KuramoriError], None], copies: Sequence[WatchedCopy] = ()) -> None:
        """Tell nobody yet.

        Args:
            teller: tells.
            hostname: of this machine, for the texts.
            note: takes what went wrong with telling.
            copies: repositories that are to be told of when they fall behind.
        """
        self._teller = teller
        self._history = history
        self._clock = clock
        self._zone = zone
        self._hostname = hostname
        self._note = note
        self._copies = CopyWatch(copies, history, clock, hostname)
        self._errors: dict[str, Sequence[Sayable]] = {}
        self._runs: dict[str, str] = {}
        self._not_before: dict[str, float] = {}

    def replace_teller(self, teller: Teller, copies: Sequence[WatchedCopy] = ()) -> None:
        """Go on with other notifiers and other copies. What nobody took is tried again at once."""
        self._teller = teller
        self._copies.replace_copies(copies)
        self._not_before.clear()

    def began(self, work: ScheduledWork) -> None:
        """A run begins."""
        if work.kind is WorkKind.BACKUP:
            self._judge(self._teller.started())

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState, *, others_well: bool) -> None:
        """A run ended.

        Args:
            others_well: whether no other backup has a problem. There is one address to ping for all jobs:
                it hears "all is well" only when all is.
        """
        self._errors[work.key], self._runs[work.key] = outcome.errors, outcome.run
        if work.kind is not WorkKind.BACKUP or outcome.state is OperationState.INTERRUPTED:
            return
        if outcome.state is OperationState.COMPLETE:
            if others_well:
                self._judge(self._teller.succeeded())
        elif self._teller.watchers:
            self._judge(self._teller.failed(self._notice(NoticeKind(outcome.state.value), work, state)))

    def look(self, works: Sequence[ScheduledWork], states: dict[str, DueState]) -> None:
        """Tell what the person does not know yet, and put into ``states`` what he knows now."""
        now = self._clock.now().astimezone(UTC)
        for work in works:
            if self._clock.monotonic() >= self._not_before.get(work.key, 0.0):
                states[work.key] = self._look_at(work, states[work.key], now)
        self._copies.look(self._bring, TELL_AGAIN_SECONDS)

    def _look_at(self, work: ScheduledWork, state: DueState, now: datetime) -> DueState:
        if state.problem == "" and state.told:
            if self._tell(work, self._notice(NoticeKind.RECOVERED, work, state)):
                state = replace(state, told="")
        elif _WEIGHT[state.problem] > _WEIGHT[state.told] \
                and self._tell(work, self._notice(NoticeKind(state.problem), work, state)):
            state = replace(state, told=state.problem)
        if work.kind is WorkKind.BACKUP and not state.overdue_told and plan.wake_time(state) > now:
            since = self._overdue_since(work, state, now)
            if since is not None and self._tell(work, self._notice(NoticeKind.OVERDUE, work, state, since)):
                state = replace(state, overdue_told=True)
        return state

    def _overdue_since(self, work: ScheduledWork, state: DueState, now: datetime) -> datetime | None:
        since = plan.overdue_since(state, work, now, self._zone)
        if since is None:
            return None
        # Somebody may have done it by hand meanwhile.
        good = last_operation(self._history, work, state=OperationState.COMPLETE)
        if good is not None and good.ended is not None and good.ended > since:
            return plan.overdue_since(replace(state, last_good=good.ended), work, now, self._zone)
        return since

    def _notice(self, kind: NoticeKind, work: ScheduledWork, state: DueState, since: datetime | None = None) -> Notice:
        errors: Sequence[Sayable] = ()
        run = self._runs.get(work.key, "")
        if kind is not NoticeKind.RECOVERED:
            errors = self._errors.get(work.key, ())
            if work.key not in self._errors:  # this process has not run it: an earlier one did
                last = last_operation(self._history, work)
                errors, run = (last.errors, last.run) if last is not None else ((), "")
        return Notice(kind, self._clock.now().astimezone(UTC), self._hostname, work.job, work.kind.value, run, errors,
                      since, None if kind is NoticeKind.RECOVERED else plan.wake_time(state), work.repository)

    def _tell(self, work: ScheduledWork, notice: Notice) -> bool:
        """Tell; return whether the person knows now. With nobody to tell, everybody knows."""
        taken = self._bring(notice)
        if not taken:
            self._not_before[work.key] = self._clock.monotonic() + TELL_AGAIN_SECONDS
        return taken

    def _bring(self, notice: Notice) -> bool:
        deliveries = self._teller.tell(notice)
        self._judge(deliveries)
        return not deliveries or any(delivery.error is None for delivery in deliveries)

    def _judge(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.error is not None:
                self._note(delivery.error)
