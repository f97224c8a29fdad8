"""The life of one scheduled work as pure steps: from what is known of it (:class:`DueState`) and what
happened to what is known then. Each step is put on disk before the next one begins, so a daemon may
be killed between any two.

The rules:

* The next due instant is fixed, and on disk, before a run begins. What was due twice or thirty times
  meanwhile is due once.
* A run that does not succeed is tried again after a pause that doubles, unless its next due instant
  comes first.
* What is damaged is not tried again before it is due: somebody has to repair it.
* A run whose end nobody noted (a crash, a power cut) is tried again in the same way: it may have
  stored something, which the next run finds; nothing is stored twice, but its work is done again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from kuramori.history.records import DueState, OperationState
from kuramori.scheduling.triggers import longest_pause, next_due
from kuramori.scheduling.work import ScheduledWork
from kuramori.settings.model import Every

FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=4)
"""Pauses between attempts: 5, 10, 20, 40 minutes ... 4 hours."""

DAMAGED = "damaged"
"""The :attr:`DueState.problem` of a check that found damage: worse than one that could not be done."""

NEVER = datetime(2250, 1, 1, tzinfo=UTC)
"""When a work without a schedule is due."""

_NOT_GOOD_AGAIN = 2
"""From so many in a row on, runs that were cut off, or met what may pass, are a problem that a person
must know of."""


def retry_pause(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row (1 or more)."""
    doublings = min(failures - 1, 16)
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)


def begin_keeping(work: ScheduledWork, now: datetime, zone: tzinfo, *, last_began: datetime | None = None,
                  at_once: bool = False) -> DueState:
    """Return what is known of a work that was never seen before.

    Args:
        last_began: when it was last done by hand, if it was: an interval counts from there.
        at_once: it is due now, whatever its schedule says.
    """
    schedule = work.schedule
    if schedule is None:
        due = NEVER
    elif at_once:
        due = now
    elif isinstance(schedule, Every):
        due = now if last_began is None or last_began > now else max(now, next_due(schedule, last_began, zone))
    else:
        due = next_due(schedule, now, zone)
    return DueState(due=due, schedule=fingerprint(work, zone), since=now)


def _following(work: ScheduledWork, after: datetime, zone: tzinfo) -> datetime:
    return NEVER if work.schedule is None else next_due(work.schedule, after, zone)


def fingerprint(work: ScheduledWork, zone: tzinfo) -> str:
    """Return what due instants are worked out from: if it changes, they change."""
    return str(work.schedule) if isinstance(work.schedule, Every) else f"{work.schedule} {zone}"


def take_up(state: DueState, work: ScheduledWork, now: datetime, zone: tzinfo) -> DueState:
    """Return the state after a start or after new settings: another schedule, or a run that was cut off."""
    if state.running:
        state = _cut_off(state, now)
    if state.schedule != fingerprint(work, zone) or state.due is None:
        # What was already due by the old schedule is still due: it was missed.
        if state.due is None or state.due > now:
            base = state.last_started if isinstance(work.schedule, Every) and state.last_started else now
            state = replace(state, due=max(_following(work, base, zone), now))
        state = replace(state, schedule=fingerprint(work, zone))
    return _drop_late_retry(state)


def _cut_off(state: DueState, now: datetime) -> DueState:
    failures = state.failures + 1
    problem = OperationState.UNFINISHED.value if failures >= _NOT_GOOD_AGAIN and not state.problem else state.problem
    return replace(state, running=False, failures=failures, retry=now + retry_pause(failures), problem=problem)


def _drop_late_retry(state: DueState) -> DueState:
    late = state.retry is not None and state.due is not None and state.retry >= state.due
    return replace(state, retry=None) if late else state


def wake_time(state: DueState) -> datetime:
    """Return when something is to be done next; :data:`NEVER` where only somebody can ask for it."""
    assert state.due is not None
    return state.due if state.retry is None else min(state.due, state.retry)


def begin_run(state: DueState, work: ScheduledWork, now: datetime, zone: tzinfo) -> DueState:
    """Return the state while a run runs, whether it is due, tried again or asked for."""
    assert state.due is not None
    due_now = state.due <= now
    if due_now or isinstance(work.schedule, Every):
        following = _following(work, now, zone)
    else:
        following = state.due
    return replace(state, due=following, last_due=state.due if due_now else state.last_due, last_started=now,
                   running=True, retry=None)


def end_run(state: DueState, outcome: OperationState, now: datetime, *, may_pass: bool = False,
            damaged: bool = False, worse: bool = False, waiting: bool = False) -> DueState:
    """Return the state after a run ended at ``now``.

    Args:
        may_pass: what went wrong may pass by itself (somebody else works on the repository, the network):
            a problem only if it does not.
        damaged: damage was found.
        worse: ... also where none was known before: whoever was told of some is told again.
        waiting: what it needs was not there, so nothing is known that was not known before.
    """
    state = replace(state, running=False)
    if waiting:
        return state
    if damaged:
        told = OperationState.FAILED.value if worse and state.told == DAMAGED else state.told
        return replace(state, failures=state.failures + 1, problem=DAMAGED, told=told)
    if outcome is OperationState.COMPLETE:
        return replace(state, failures=0, retry=None, last_good=now, problem="", overdue_told=False)
    if outcome is OperationState.INTERRUPTED:  # somebody ended the daemon: it is done when that starts again
        return replace(state, retry=now)
    failures = state.failures + 1
    hushed = may_pass and failures < _NOT_GOOD_AGAIN and not state.problem
    return _drop_late_retry(replace(state, failures=failures, retry=now + retry_pause(failures),
                                    problem="" if hushed else outcome.value))


def believe_earlier_clock(state: DueState, work: ScheduledWork, now: datetime, zone: tzinfo) -> DueState:
    """Return the state after the clock went back, for good.

    Due instants are absolute, so nothing runs twice by itself; but what is due in a year is silent for
    a year. What is due within two turns of the schedule stays: the turn in between has been done.
    """
    assert state.due is not None
    following = _following(work, now, zone)
    due = state.due if state.due <= _following(work, following, zone) else following
    retry = state.retry if state.retry is None else min(state.retry, now + retry_pause(max(state.failures, 1)))
    return _drop_late_retry(replace(
        state, due=due, retry=retry, last_good=_not_after(state.last_good, now), since=_not_after(state.since, now),
        last_started=_not_after(state.last_started, now)))


def _not_after(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is None else min(moment, now)


def overdue_since(state: DueState, work: ScheduledWork, now: datetime, zone: tzinfo) -> datetime | None:
    """Return since when there is nothing good, if that is more than twice the schedule's longest
    pause; None if all is well."""
    since = state.last_good or state.since
    if work.schedule is None or since is None or now - since <= 2 * longest_pause(work.schedule, since, zone):
        return None
    return since
