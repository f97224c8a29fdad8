"""What a daemon would do next, for whoever is none: nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo

from kuramori.history.history import History
from kuramori.history.records import DueState, OperationState
from kuramori.scheduling import plan
from kuramori.scheduling.scheduler import Upcoming
from kuramori.scheduling.work import ScheduledWork, last_operation


def forecast(works: Sequence[ScheduledWork], history: History, now: datetime, zone: tzinfo, *,
             daemon_running: bool = False) -> list[Upcoming]:
    """Return what is done next, soonest first, by what the history knows. As the last success counts also what was
    done by hand. What only a disk starts that appears is left out.

    Args:
        daemon_running: whether what the history calls running can be true.

    Raises:
        ScheduleError: a schedule makes no sense.
    """
    found = []
    for work in works:
        state = history.due_state(work.key)
        if state is None or state.due is None:
            state = plan.begin_keeping(work, now, zone)
        elif not (state.running and daemon_running):
            state = plan.believe_earlier_clock(plan.take_up(state, work, now, zone), work, now, zone)
        found.append(Upcoming(work, plan.wake_time(state), replace(state, last_good=_last_good(work, state, history))))
    return sorted((entry for entry in found if entry.time < plan.NEVER), key=lambda entry: entry.time)


def _last_good(work: ScheduledWork, state: DueState, history: History) -> datetime | None:
    by_hand = last_operation(history, work, state=OperationState.COMPLETE)
    known = [moment for moment in (state.last_good, by_hand.ended if by_hand else None) if moment is not None]
    return max(known, default=None)
