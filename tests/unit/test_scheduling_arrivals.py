"""Disks that appear: seen by the scheduler's clock, believed after some seconds, and once for each time; and works that
were missed while the machine was off, which a fleet does not do all at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from kuramori.errors import StateError
from kuramori.history.history import History
from kuramori.scheduling.arrivals import LOOK_SECONDS, SETTLE_SECONDS, Arrival, Arrivals, wanted_arrivals
from kuramori.scheduling.forecast import forecast
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.work import ScheduledWork, WorkKind, scheduled_work
from kuramori.settings.model import DailyAt, Every
from kuramori.testing.clock import FakeClock
from kuramori.testing.scheduling import LightRunner, ScriptedWaiter, SilentListener
from samples.settings_files import parse

_DAY = 86_400.0
_BACKUP = ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(2, 0))
_COPY = ScheduledWork(WorkKind.COPY, "planter", None)


class _World:
    """A scheduler and a disk ``usb`` that is there or not."""

    def __init__(self, history: History, clock: FakeClock, *works: ScheduledWork, at_start: bool = False,
                 there: bool = False) -> None:
        self.clock = clock
        self.there = there
        self.looks: list[float] = []
        self.runner = LightRunner(clock, history)
        self.waiter = ScriptedWaiter(clock)
        arrivals = Arrivals([Arrival("usb", work.kind, work.job, at_start) for work in works], self.is_attached, clock)
        self.scheduler = Scheduler(works, self.runner, history, clock, self.waiter, SilentListener(),
                                   SchedulerOptions(zone=UTC), arrivals)

    def is_attached(self, _name: str) -> bool:
        self.looks.append(self.clock.monotonic())
        return self.there

    def at(self, seconds: float, there: bool) -> None:
        def happen() -> None:
            self.there = there

        self.waiter.at(seconds, happen)

    def live(self, seconds: float) -> list[tuple[str, float]]:
        """Let it run; return what ran, and after how many seconds."""
        began = self.clock.monotonic()
        self.waiter.at(seconds, self.scheduler.stop)
        self.scheduler.run()
        return [(run.key, run.real - began) for run in self.runner.runs]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(memory_folder: Path, clock: FakeClock) -> Iterator[History]:
    opened = History(memory_folder / "history.sqlite", clock)
    yield opened
    opened.close()


def test_a_disk_that_appears_starts_a_run_within_seconds_and_the_schedule_stays(history: History,
                                                                              clock: FakeClock) -> None:
    world = _World(history, clock, _BACKUP)
    world.at(3600, True)
    [(key, moment), (again, at_two)] = world.live(3 * 3600)
    assert (key, again) == ("backup planter", "backup planter")
    assert 3600 + SETTLE_SECONDS <= moment <= 3600 + SETTLE_SECONDS + 2 * LOOK_SECONDS
    assert at_two == 2 * 3600
    assert len(world.looks) < 3 * 3600 / LOOK_SECONDS + 20, "nobody looks more often than needed"


def test_a_loose_cable_starts_nothing_until_it_holds_and_then_one_run(history: History, clock: FakeClock) -> None:
    world = _World(history, clock, _COPY)
    for number in range(40):
        world.at(100 + 3 * number, number % 2 == 0)
    world.at(220, True)
    runs = world.live(3600)
    assert [key for key, _moment in runs] == ["copy planter"]
    assert runs[0][1] >= 220 + SETTLE_SECONDS - 3, "when it was last away"


def test_every_time_that_it_comes_counts_and_what_is_there_from_the_start_does_not(history: History,
                                                                                 clock: FakeClock) -> None:
    world = _World(history, clock, _COPY, there=True)
    for moment, there in ((100, False), (200, True), (1000, False), (1100, True)):
        world.at(moment, there)
    assert len(world.live(3600)) == 2


def test_what_was_missed_while_nobody_looked_is_done_at_the_start(history: History, clock: FakeClock) -> None:
    assert _World(history, clock, _COPY, there=True, at_start=True).live(60) == [("copy planter", 0)]
    assert _World(history, clock, _COPY, there=False, at_start=True).live(60) == []


def test_a_work_without_a_schedule_is_never_due_and_shown_nowhere(history: History, clock: FakeClock) -> None:
    world = _World(history, clock, _COPY)
    assert world.live(_DAY / 4) == []
    assert world.scheduler.upcoming() == []
    assert forecast([_COPY], history, clock.now(), UTC) == []
    clock.set(clock.now_nanoseconds() - 3 * 3600 * 10**9)  # a clock that goes back for good starts nothing either
    assert _World(history, clock, _COPY).live(2 * 3600) == []


def test_a_failure_is_tried_again_without_the_disk_being_plugged_in_anew(history: History, clock: FakeClock) -> None:
    from kuramori.history.records import OperationState

    world = _World(history, clock, _COPY)
    world.runner = LightRunner(clock, history, state=lambda _work, number: (
        OperationState.FAILED if number == 0 else OperationState.COMPLETE))
    world.scheduler.replace_works([_COPY], world.runner, Arrivals(
        [Arrival("usb", WorkKind.COPY, "planter")], world.is_attached, clock))
    world.at(60, True)
    first, second = world.live(3600)
    assert second[1] - first[1] == 300
    assert world.scheduler.upcoming() == []


def test_a_state_that_cannot_be_read_is_no_disk(clock: FakeClock) -> None:
    def broken(_name: str) -> bool:
        raise StateError(path="state", detail="no")

    arrivals = Arrivals([Arrival("usb", WorkKind.COPY, "planter", True)], broken, clock)
    assert arrivals.look() == []
    assert Arrivals([], broken, clock).pause() == float("inf")


_SETTINGS = """
[repositories.usb]
location = "/mnt/usb"
{usb}
[repositories.nas]
location = "/mnt/nas"
{nas}
[jobs.planter]
repositories = ["usb", "nas"]
{job}
[jobs.planter.components.images]
kind = "files"
source = "/images"
"""


def test_what_the_settings_want_done(history: History) -> None:
    came = "run_when_attached = true"
    first = parse(_SETTINGS.format(usb=came, nas="", job=""))
    assert scheduled_work(first) == (ScheduledWork(WorkKind.BACKUP, "planter", None),)
    assert wanted_arrivals(first, (), starting=True) == [Arrival("usb", WorkKind.BACKUP, "planter", at_start=True)]
    assert wanted_arrivals(first, (), starting=False) == [Arrival("usb", WorkKind.BACKUP, "planter")]
    both = parse(_SETTINGS.format(usb=came, nas=came, job='every = "6h"'))
    assert scheduled_work(both) == (ScheduledWork(WorkKind.BACKUP, "planter", Every(6 * 3600, "6h")), _COPY)
    assert wanted_arrivals(both, {("planter", "nas")}, starting=True) == [
        Arrival("usb", WorkKind.BACKUP, "planter"), Arrival("nas", WorkKind.COPY, "planter", at_start=True)]
    assert wanted_arrivals(parse(_SETTINGS.format(usb="", nas="", job="")), (), starting=True) == []


def test_a_disk_that_comes_is_read_back_after_its_runs() -> None:
    settings = parse(_SETTINGS.format(usb='check = "04:30"', nas='run_when_attached = true\ncheck = "05:00"',
                                      job='schedule = "02:00"\ncleanup = "03:00"'))
    assert [(work.key, str(work.schedule)) for work in scheduled_work(settings)] == [
        ("backup planter", "02:00"), ("cleanup planter", "03:00"), ("check usb", "04:30"), ("check nas", "05:00"),
        ("copy planter", "None")]
    arrivals = wanted_arrivals(settings, (), starting=True)
    assert arrivals == [Arrival("nas", WorkKind.COPY, "planter"), Arrival("nas", WorkKind.CHECK, "")]
    assert [arrival.key for arrival in arrivals] == ["copy planter", "check nas"]


# --- a fleet after a power cut ---------------------------------------------------------------


def test_what_was_missed_while_the_machine_was_off_is_put_off_a_little_and_once(history: History,
                                                                              clock: FakeClock) -> None:
    def live(seconds: float, delay: float) -> list[float]:
        runner, waiter = LightRunner(clock, history), ScriptedWaiter(clock)
        scheduler = Scheduler([_BACKUP], runner, history, clock, waiter, SilentListener(),
                              SchedulerOptions(zone=UTC, delay_missed=lambda: delay))
        began = clock.monotonic()
        waiter.at(seconds, scheduler.stop)
        scheduler.run()
        return [run.real - began for run in runner.runs]

    assert live(3 * 3600, 77.0) == [2 * 3600], "what is not missed is done at its time"
    clock.advance(5 * _DAY)
    assert live(3600, 77.0) == [77.0], "once, for five that were missed"
    clock.advance(_DAY)
    assert live(30, 77.0) == [], "ended before"
    assert live(3600, 11.0) == [11.0]
