"""What happens after a run that failed, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kuramori.errors import Interrupted, JobBusyError, KuramoriError, NotifierError, SourceError
from kuramori.history.history import History
from kuramori.history.records import DueState, OperationKind, OperationState
from kuramori.notify.notices import Notice, NoticeText
from kuramori.notify.teller import Teller
from kuramori.scheduling import plan
from kuramori.scheduling.announcing import Announcer
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.work import ScheduledWork, WorkKind, WorkOutcome
from kuramori.settings.model import CronExpression, DailyAt, Every
from kuramori.testing.clock import FakeClock
from kuramori.testing.scheduling import LightRunner, ScriptedWaiter, SilentListener

_START = datetime(2026, 11, 23, tzinfo=UTC)
_UTC = ZoneInfo("UTC")
_DAILY = ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(2, 0))


class _Person:
    """Somebody who is told, when he can be reached."""

    name = "person"

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.texts: list[NoticeText] = []
        self.away = False

    def tell(self, notice: Notice, text: NoticeText) -> None:
        if self.away:
            raise NotifierError(notifier=self.name, detail="away")
        self.heard.append(notice)
        self.texts.append(text)

    @property
    def kinds(self) -> list[str]:
        return [notice.kind.value for notice in self.heard]


class _Watch:
    """A watcher that writes down what it hears."""

    name = "watch"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self) -> None:
        self.heard.append("start")

    def succeeded(self) -> None:
        self.heard.append("success")

    def failed(self, text: str) -> None:
        self.heard.append("fail")


class _Announcing(SilentListener):
    """A listener that tells people."""

    def __init__(self, announcer: Announcer) -> None:
        super().__init__()
        self._announcer = announcer

    def began(self, work: ScheduledWork, state: DueState) -> None:
        self._announcer.began(work)

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> None:
        super().ended(work, outcome, state)
        self._announcer.ended(work, outcome, state, others_well=True)

    looked = property(lambda self: self._announcer.look)  # type: ignore[assignment]


class _World:
    """A scheduler with a person to tell."""

    def __init__(self, folder: Path, *works: ScheduledWork,
                 state: Callable[[ScheduledWork, int], OperationState] | None = None) -> None:
        self.clock = FakeClock()
        self.history = History(folder / "history.sqlite", self.clock)
        self.person = _Person()
        self.watch = _Watch()
        self.noted: list[KuramoriError] = []
        self.runner = LightRunner(self.clock, self.history, state=state or (lambda _w, _n: OperationState.COMPLETE))
        self.works = works

    def start(self) -> tuple[Scheduler, ScriptedWaiter]:
        announcer = Announcer(Teller([self.person], [self.watch], translate=str, zone=_UTC), self.history, self.clock,
                              _UTC, "raspi", self.noted.append)
        waiter = ScriptedWaiter(self.clock)
        return Scheduler(self.works, self.runner, self.history, self.clock, waiter, _Announcing(announcer),
                         SchedulerOptions(longest_wait=300)), waiter

    def live(self, hours: float, *, then: Callable[[], object] | None = None, at: float = 0.0) -> None:
        """Run from now for so many hours; call ``then`` after ``at`` of them."""
        scheduler, waiter = self.start()
        if then is not None:
            waiter.at(at * 3600, then)
        waiter.at(hours * 3600, scheduler.stop)
        scheduler.run()

    @property
    def minutes(self) -> list[float]:
        """When runs began, in minutes since the beginning."""
        return [run.real / 60 for run in self.runner.runs]


def _failing(*numbers: int, how: OperationState = OperationState.FAILED) -> Callable[..., OperationState]:
    return lambda _work, number: how if number in numbers else OperationState.COMPLETE


# --- retries ---------------------------------------------------------------------------------


def test_pauses_double_up_to_four_hours_and_the_next_due_time_comes_first(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=lambda _w, _n: OperationState.FAILED)
    world.live(27)
    pauses = [5, 10, 20, 40, 80, 160, 240, 240, 240, 240]
    moments = [120.0]
    for pause in pauses:
        moments.append(moments[-1] + pause)
    # The last pause would end after the next night.
    assert world.minutes == [*[moment for moment in moments if moment < 26 * 60], 26 * 60]
    assert moments[-1] + 240 > 26 * 60


def test_a_success_ends_the_retries_and_the_next_failure_begins_anew(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=_failing(0, 1, 3))
    world.live(27)
    assert world.minutes == [120, 125, 135, 26 * 60, 26 * 60 + 5]


@pytest.mark.parametrize("failures", [1, 2, 17, 10**9])
def test_pauses_are_bounded(failures: int) -> None:
    assert plan.FIRST_PAUSE <= plan.retry_pause(failures) <= plan.LONGEST_PAUSE


def test_retries_survive_a_restart(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=_failing(0, 1))
    world.live(2.1)
    world.live(1)
    assert world.minutes == [120, 125, 2.1 * 60 + 10 - 1]  # the second began at 125 and is tried again at 135


def test_a_runner_that_raises_anything_is_a_failed_run(memory_folder: Path) -> None:
    class Broken(LightRunner):
        """Has a bug, and then breaks off by itself."""

        def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
            super().run(work, cancelled)
            raise (ZeroDivisionError if len(self.runs) == 1 else Interrupted)

    world = _World(memory_folder, _DAILY)
    world.runner = Broken(world.clock)
    world.live(2.2)
    assert world.minutes == [120, 125]
    assert "ZeroDivisionError" in world.person.texts[0].body
    state = world.history.due_state(_DAILY.key)
    assert state is not None
    assert (state.failures, state.problem) == (2, "failed")


# --- who is told -----------------------------------------------------------------------------


def test_the_person_is_told_once_and_again_when_it_is_well(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=_failing(0, 1, 2))
    world.live(27)
    assert world.person.kinds == ["failed", "recovered"]
    assert [(notice.job, notice.work, notice.hostname) for notice in world.person.heard] == [
        ("planter", "backup", "raspi")] * 2
    assert world.person.heard[0].retry == _START + timedelta(hours=2, minutes=5)
    assert world.watch.heard == ["start", "fail"] * 3 + ["start", "success"] * 2


def test_partial_is_told_and_worse_is_told_again_but_better_is_not(memory_folder: Path) -> None:
    states = [OperationState.PARTIAL, OperationState.FAILED, OperationState.PARTIAL, OperationState.FAILED]
    world = _World(memory_folder, _DAILY, state=lambda _w, n: states[n] if n < 4 else OperationState.COMPLETE)
    world.live(5)
    assert world.person.kinds == ["partial", "failed", "recovered"]


def test_a_restart_neither_repeats_a_notice_nor_forgets_one(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=_failing(0, 1, 2))
    world.live(2.05)
    assert world.person.kinds == ["failed"]
    world.live(0.1)
    assert world.person.kinds == ["failed"]
    world.person.away = True
    world.live(1)
    world.person.away = False
    world.live(1)
    assert world.person.kinds == ["failed", "recovered"]
    assert {type(error) for error in world.noted} == {NotifierError}


def test_a_notice_that_nobody_took_is_tried_again_and_tells_why_it_failed(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY)
    error = SourceError(path="/mnt/usb", detail="No such file or directory")

    class Failing(LightRunner):
        """Fails with a reason, and says so in the history."""

        def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
            super().run(work, cancelled)
            world.history.begin(OperationKind.BACKUP, work.job, "run-7").finish(OperationState.FAILED, errors=[error])
            return WorkOutcome(OperationState.FAILED, "run-7", (error,))

    world.runner = Failing(world.clock)
    world.person.away = True

    def come_back() -> None:
        world.person.away = False

    world.live(2.6, then=come_back, at=2.5)
    assert world.person.kinds == ["failed"]
    world.person.heard.clear()
    # Another process tells what it has not seen itself.
    state = world.history.due_state(_DAILY.key)
    assert state is not None
    world.history.set_due_state(_DAILY.key, DueState(due=state.due, schedule=state.schedule, problem="failed"))
    world.live(0.1)
    assert world.person.kinds == ["failed"]
    for text in world.person.texts:
        assert error.text() in text.body
        assert "run-7" in text.body


def test_what_is_gone_before_anybody_heard_is_not_told(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=_failing(0))
    world.person.away = True

    def come_back() -> None:
        world.person.away = False

    world.live(4, then=come_back, at=3)
    assert world.person.kinds == []


def test_what_may_pass_is_told_only_if_it_does_not(memory_folder: Path) -> None:
    class Busy(LightRunner):
        """Somebody else works on the job, the first two times and again at the fourth."""

        def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
            super().run(work, cancelled)
            if len(self.runs) in (1, 2, 4):
                raise JobBusyError(job=work.job)
            return WorkOutcome(OperationState.COMPLETE)

    world = _World(memory_folder, _DAILY)
    world.runner = Busy(world.clock)
    world.live(27)
    assert world.minutes == [120, 125, 135, 26 * 60, 26 * 60 + 5]
    assert [(notice.kind.value, notice.time) for notice in world.person.heard] == [
        ("failed", _START + timedelta(minutes=125)), ("recovered", _START + timedelta(minutes=135))]


def test_overdue_is_told_once_after_twice_the_interval(memory_folder: Path) -> None:
    world = _World(memory_folder, ScheduledWork(WorkKind.BACKUP, "planter", Every(6 * 3600, "6h")),
                   state=lambda _w, n: OperationState.FAILED if 0 < n < 20 else OperationState.COMPLETE)
    world.live(60)
    assert world.person.kinds[:2] == ["failed", "overdue"]
    overdue = world.person.heard[1]
    assert timedelta(hours=12) < overdue.time - _START < timedelta(hours=12, minutes=6)
    assert overdue.since == _START
    assert world.person.kinds.count("overdue") == 1


def test_a_backup_by_hand_is_not_overdue(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY, state=lambda _w, _n: OperationState.FAILED)

    def by_hand() -> None:
        world.history.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)

    world.live(60, then=by_hand, at=40)
    assert world.person.kinds == ["failed"]


def test_weekends_are_not_overdue_and_cleanups_never(memory_folder: Path) -> None:
    world = _World(memory_folder, ScheduledWork(WorkKind.BACKUP, "office", CronExpression("0 2 * * 1-5")),
                   ScheduledWork(WorkKind.CLEANUP, "planter", DailyAt(3, 0)),
                   state=lambda work, n: OperationState.FAILED if work.kind is WorkKind.CLEANUP else
                   OperationState.COMPLETE)
    world.live(21 * 24)
    assert world.person.kinds == ["failed"]
    assert world.person.heard[0].work == "cleanup"


def test_cut_off_once_is_no_news_but_again_and_again_is(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY)
    world.history.set_due_state(_DAILY.key, DueState(
        due=_START + timedelta(hours=2), schedule=plan.fingerprint(_DAILY, UTC), last_started=_START, running=True))
    world.live(0.05)
    assert world.person.kinds == []
    state = world.history.due_state(_DAILY.key)
    assert state is not None
    assert (state.failures, state.running) == (1, False)
    world.history.set_due_state(_DAILY.key, DueState(
        due=state.due, schedule=state.schedule, last_started=_START, running=True, failures=1))
    world.live(0.01)
    assert world.person.kinds == ["unfinished"]


# --- new settings and requests ---------------------------------------------------------------


def test_another_schedule_counts_at_once_and_what_was_missed_is_still_done(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY)
    scheduler, waiter = world.start()
    later = ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(5, 0))
    waiter.at(3600, lambda: scheduler.replace_works([later], world.runner))
    waiter.at(6 * 3600, scheduler.stop)
    scheduler.run()
    assert world.minutes == [5 * 60]
    world.clock.advance(24 * 3600)  # off over the night, and started with yet another schedule
    world.works = (ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(23, 0)),)
    world.live(0.5)
    assert world.minutes == [5 * 60, 30 * 60]


def test_a_request_is_done_now_and_the_due_time_stays(memory_folder: Path) -> None:
    world = _World(memory_folder, _DAILY)
    scheduler, waiter = world.start()
    waiter.at(3600, lambda: scheduler.request(_DAILY.key))
    waiter.at(3 * 3600, scheduler.stop)
    assert not scheduler.request("backup nobody")
    scheduler.run()
    assert world.minutes == [60, 120]
    assert [entry.time for entry in scheduler.upcoming()] == [_START + timedelta(hours=26)]


def test_an_interval_counts_from_the_last_time_also_if_that_was_by_hand(memory_folder: Path) -> None:
    world = _World(memory_folder, ScheduledWork(WorkKind.BACKUP, "planter", Every(6 * 3600, "6h")))
    world.history.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)
    world.clock.advance(3600)
    world.live(12)
    assert world.minutes == [6 * 60, 12 * 60]


def test_a_history_that_cannot_be_written_does_not_stop_the_schedule(memory_folder: Path) -> None:
    (memory_folder / "file").write_text("in the way")
    world = _World(memory_folder / "file", _DAILY)
    world.live(60)
    assert world.minutes == [2 * 60, 26 * 60, 50 * 60]
