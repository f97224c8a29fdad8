"""A scheduler that is killed at each of its writes, before or after it: no run is lost, and only the
one that was cut off is done again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kuramori.history.database import HistoryDatabase
from kuramori.history.history import History
from kuramori.history.records import OperationState
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.work import ScheduledWork, WorkKind
from kuramori.settings.model import DailyAt
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import SimulatedCrash
from kuramori.testing.scheduling import LightRunner, ScriptedWaiter, SilentListener

_START = datetime(2026, 11, 23, tzinfo=UTC)
_WORK = ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(2, 0))
_HOURS = 60
"""Two nights and a day."""


class _Killer:
    """Kills at the write with a number, counted from 0, before or after it is on disk."""

    def __init__(self, number: int, after: bool) -> None:
        self.number = number
        self.after = after
        self.writes = 0

    def wrap(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def dying_write(database: HistoryDatabase, action: Any) -> Any:
            number, self.writes = self.writes, self.writes + 1
            if number == self.number and not self.after:
                raise SimulatedCrash
            result = write(database, action)
            if number == self.number:
                raise SimulatedCrash
            return result

        return dying_write


def _live(path: Path, clock: FakeClock, runner: LightRunner, until: float) -> None:
    """One life of the daemon, to its death or until so many hours have passed."""
    history = History(path, clock)
    waiter = ScriptedWaiter(clock)
    scheduler = Scheduler((_WORK,), runner, history, clock, waiter, SilentListener(), SchedulerOptions())
    waiter.at(max(0.0, until * 3600 - clock.monotonic()), scheduler.stop)
    try:
        scheduler.run()
    finally:
        history.close()


def _good(path: Path, clock: FakeClock) -> list[datetime]:
    history = History(path, clock)
    found = [record.started for record in history.operations(state=OperationState.COMPLETE)]
    history.close()
    return sorted(found)


def _killed_life(folder: Path, killer: _Killer, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> list[datetime]:
    path, clock = folder / "history.sqlite", FakeClock()
    runner = LightRunner(clock, History(path, clock), seconds=seconds)
    with monkeypatch.context() as patched:
        patched.setattr(HistoryDatabase, "write", killer.wrap(HistoryDatabase.write))
        try:
            _live(path, clock, runner, _HOURS)
        except SimulatedCrash:
            pass
        else:
            return _good(path, clock)
    clock.advance(60)  # the machine boots
    _live(path, clock, LightRunner(clock, History(path, clock), seconds=seconds), _HOURS)
    return _good(path, clock)


def test_killed_at_every_write(memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = [_START + timedelta(hours=2), _START + timedelta(hours=26), _START + timedelta(hours=50)]
    undisturbed = _Killer(-1, after=False)
    assert _killed_life(memory_folder / "whole", undisturbed, monkeypatch, seconds=600) == nights
    assert undisturbed.writes == 1 + 3 * 4  # the first due time; then: due time, beginning, end, due time
    for number in range(undisturbed.writes):
        for after in (False, True):
            folder = memory_folder / f"{number}-{after}"
            good = _killed_life(folder, _Killer(number, after), monkeypatch, seconds=600)
            for night in nights:
                # What was cut off is done within the hour: after five minutes, and the ten that it takes.
                assert [started for started in good if night <= started < night + timedelta(hours=1)], (number, after)
            assert len(good) == len(nights), (number, after)


def test_what_ended_well_is_not_done_again_although_the_scheduler_never_heard_of_it(
        memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write after the operation's end is the scheduler's own."""
    path, clock = memory_folder / "history.sqlite", FakeClock()
    good = _killed_life(memory_folder, _Killer(4, after=False), monkeypatch, seconds=600)
    assert good[0] == _START + timedelta(hours=2)
    history = History(path, clock)
    state = history.due_state(_WORK.key)
    assert state is not None
    assert state.failures == 0
    assert len(good) == 3


@pytest.mark.parametrize("part", range(10))
def test_stopped_in_the_middle_of_a_run_it_runs_at_the_next_start(memory_folder: Path, part: int) -> None:
    path, clock = memory_folder / "history.sqlite", FakeClock()
    history = History(path, clock)
    stopped = False

    class Stopping(LightRunner):
        """Somebody stops the scheduler while it works."""

        def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> Any:
            nonlocal stopped
            asked = 0

            def asking() -> bool:
                nonlocal asked, stopped
                asked += 1
                if asked > part and not stopped:
                    stopped = True
                    scheduler.stop()
                return cancelled()

            return super().run(work, asking)

    scheduler = Scheduler((_WORK,), Stopping(clock, history, seconds=600), history, clock, ScriptedWaiter(clock),
                          SilentListener(), SchedulerOptions())
    scheduler.run()
    assert [record.state for record in history.operations()] == [OperationState.INTERRUPTED]
    clock.advance(60)
    before = clock.now()
    _live(path, clock, LightRunner(clock, history), 3)
    assert [record.started for record in history.operations(state=OperationState.COMPLETE)] == [before]
