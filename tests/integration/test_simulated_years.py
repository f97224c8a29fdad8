"""Three years of a scheduler in seconds: daylight saving, five hundred reboots, clocks that jump and a
machine that boots in 1970. What ran is compared with a calendar that is walked day by day."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kuramori.history.history import History
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.work import ScheduledWork, WorkKind
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule
from kuramori.testing.clock import FakeClock
from kuramori.testing.scheduling import LightRunner, ScriptedWaiter, SilentListener

_START = datetime(2026, 11, 23, tzinfo=UTC)
_END = datetime(2029, 11, 23, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)

_WORKS = (
    ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(2, 30)),
    ScheduledWork(WorkKind.BACKUP, "weekdays", CronExpression("15 1,13 * * 1-5")),
    ScheduledWork(WorkKind.CLEANUP, "planter", DailyAt(3, 0)),
)
_TIMES = {"backup planter": ([time(2, 30)], range(7)), "backup weekdays": ([time(1, 15), time(13, 15)], range(5)),
          "cleanup planter": ([time(3, 0)], range(7))}


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _calendar(key: str, zone: ZoneInfo, start: datetime = _START, end: datetime = _END) -> list[datetime]:
    """Walk through the days. A time that does not exist is looked for minute by minute behind the gap."""
    times, weekdays = _TIMES[key]
    found = set()
    day: date = start.astimezone(zone).date() - _DAY
    while day <= end.astimezone(zone).date():
        if day.weekday() in weekdays:
            for label in times:
                wall = datetime.combine(day, label)
                while not _shows(wall, zone):
                    wall += _MINUTE
                found.add(wall.replace(tzinfo=zone).astimezone(UTC))  # fold=0: the first of two
        day += _DAY
    return sorted(due for due in found if start < due <= end)


def _shows(wall: datetime, zone: ZoneInfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall


@dataclass(frozen=True)
class _Up:
    """A time that the machine was on, in real time; and when its clock was right from."""

    begin: datetime
    end: datetime
    right: datetime


def _expected(due: Sequence[datetime], ups: Sequence[_Up]) -> list[datetime]:
    """Every due instant while the machine is on, and one catch-up where it missed some."""
    runs: list[datetime] = []
    done = ups[0].right  # what was due before the first look is nobody's
    for up in ups:
        if any(done < instant <= up.right for instant in due) and up.right <= up.end:
            runs.append(up.right)
        if up.right <= up.end:
            runs += [instant for instant in due if up.right < instant < up.end]
            done = up.end - timedelta(microseconds=1)
    return runs


class _Machine:
    """A machine that is switched on and off. Real time is the monotonic side of its clock."""

    def __init__(self, folder: Path, zone: ZoneInfo, works: Sequence[ScheduledWork] = _WORKS, *,
                 look: timedelta = timedelta(hours=6)) -> None:
        self.clock = FakeClock(_nanoseconds(_START))
        self.zone = zone
        self.works = works
        self.look = look
        self.path = folder / "history.sqlite"
        self.runner = LightRunner(self.clock)
        self.listener = SilentListener()

    def real(self) -> datetime:
        return _START + timedelta(seconds=self.clock.monotonic())

    def off_until(self, moment: datetime) -> None:
        self.clock.advance((moment - self.real()).total_seconds())

    def on_until(self, end: datetime, events: Sequence[tuple[datetime, Callable[[], object]]] = ()) -> None:
        """Run a scheduler until it is stopped at ``end`` (real time)."""
        waiter = ScriptedWaiter(self.clock)
        history = History(self.path, self.clock)
        scheduler = Scheduler(self.works, self.runner, history, self.clock, waiter, self.listener,
                              SchedulerOptions(zone=self.zone, longest_wait=self.look.total_seconds()))
        for moment, action in events:
            waiter.at((moment - self.real()).total_seconds(), action)
        waiter.at((end - self.real()).total_seconds(), scheduler.stop)
        scheduler.run()
        history.close()
        assert history.problems == ()

    def set_clock(self, moment: datetime) -> None:
        self.clock.set(_nanoseconds(moment))

    def ran(self, key: str) -> list[datetime]:
        """Return when a work began, in real time to the second."""
        return [_START + timedelta(seconds=round(run.real)) for run in self.runner.runs if run.key == key]


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("name", ["Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_three_years_without_a_missed_or_doubled_run(memory_folder: Path, name: str) -> None:
    machine = _Machine(memory_folder, ZoneInfo(name))
    machine.on_until(_END)
    for work in _WORKS:
        assert machine.ran(work.key) == _calendar(work.key, machine.zone, end=_END - timedelta(microseconds=1))


def _pauses(seed: int, count: int, longest: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Yield when the machine goes off and on again, whole seconds, in order."""
    chance = random.Random(seed)
    seconds = int((_END - _START).total_seconds())
    moments = sorted(chance.sample(range(3600, seconds - 3600), count))
    for moment, following in zip(moments, [*moments[1:], seconds], strict=True):
        pause = min(chance.choice([1, 60, 3600, int(longest.total_seconds())]), following - moment - 1)
        if pause > 0:
            yield _START + timedelta(seconds=moment), _START + timedelta(seconds=moment + pause)


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize(("name", "seed"), [("Europe/Berlin", 1), ("Australia/Lord_Howe", 2)])
def test_five_hundred_reboots_at_random_instants(memory_folder: Path, name: str, seed: int) -> None:
    machine = _Machine(memory_folder, ZoneInfo(name))
    ups, on = [], _START
    for off, on_again in _pauses(seed, 500, timedelta(days=30)):
        ups.append(_Up(on, off, on))
        on = on_again
    ups.append(_Up(on, _END, on))
    for up in ups:
        machine.off_until(up.begin)
        machine.on_until(up.end)
    for work in _WORKS:
        assert machine.ran(work.key) == _expected(_calendar(work.key, machine.zone), ups)


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize(("name", "seed"), [("Europe/Berlin", 4), ("America/New_York", 5)])
def test_a_machine_that_boots_in_1970_waits_until_its_clock_is_set(memory_folder: Path, name: str, seed: int) -> None:
    machine = _Machine(memory_folder, ZoneInfo(name))
    chance = random.Random(seed)
    ups, on = [], _START
    for off, on_again in _pauses(seed, 200, timedelta(days=10)):
        ups.append(_Up(on, off, min(off, on + timedelta(seconds=chance.choice([5, 600, 7200])))))
        on = on_again
    ups.append(_Up(on, _END, on + _MINUTE))
    for up in ups:
        machine.off_until(up.begin)
        machine.set_clock(_EPOCH + timedelta(seconds=20))
        events = [(up.right, lambda right=up.right: machine.set_clock(right))] if up.right < up.end else []
        machine.on_until(up.end, events)
    seen = [up for up in ups if up.right < up.end]
    assert len(seen) > 100
    for work in _WORKS:
        assert machine.ran(work.key) == _expected(_calendar(work.key, machine.zone), seen)
    assert all(run.wall > _START for run in machine.runner.runs)
    assert len(machine.listener.doubts) == len(ups)


_INTERVALS: dict[str, Schedule] = {"backup daily": DailyAt(2, 0), "backup often": Every(6 * 3600, "6h")}


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("seed", range(2))
def test_a_clock_that_jumps_a_year_either_way(memory_folder: Path, seed: int) -> None:
    """Whatever the clock does: never silent for long, nothing twice in a row, one catch-up for a jump ahead."""
    works = tuple(ScheduledWork(WorkKind.BACKUP, key.split()[1], schedule) for key, schedule in _INTERVALS.items())
    machine = _Machine(memory_folder, ZoneInfo("Europe/Berlin"), works, look=timedelta(minutes=30))
    chance = random.Random(seed)
    jumps: list[tuple[datetime, timedelta]] = []
    moment = _START + 40 * _DAY
    wrong = timedelta()
    while moment < _END - 40 * _DAY:
        by = timedelta(days=365, seconds=chance.randrange(86400)) * chance.choice([-1, 1])
        by = -by if abs(wrong + by) > 400 * _DAY else by  # never more than a year away
        wrong += by
        jumps.append((moment, by))
        moment += chance.choice([timedelta(minutes=10), timedelta(hours=5), timedelta(days=3), timedelta(days=60)])

    def jump(by: timedelta) -> Callable[[], None]:
        return lambda: machine.clock.set(machine.clock.now_nanoseconds() + by // timedelta(microseconds=1) * 1000)

    machine.on_until(_END, [(moment, jump(by)) for moment, by in jumps])
    backwards = [by for _moment, by in jumps if by < timedelta()]
    ahead = len(jumps) - len(backwards)
    assert machine.listener.beliefs
    for work in works:
        runs = machine.ran(work.key)
        interval = timedelta(days=1) if work.key == "backup daily" else timedelta(hours=6)
        for earlier, later in pairwise([_START, *runs, _END]):
            between = [moment for moment, _by in jumps if earlier <= moment < later]
            if between:  # an hour until it is believed, looks half an hour apart, two turns, an hour of summer
                assert later - between[-1] <= 2 * interval + timedelta(hours=2.5)
            else:
                assert later - earlier <= interval + timedelta(hours=1)
        turns = (_END - _START) / interval
        # A jump brings at most one run more: a catch-up, or a turn that begins anew.
        assert turns - 2 * len(jumps) - 2 <= len(runs) <= turns + ahead + len(backwards) + 2


def test_a_clock_that_was_a_year_ahead_and_is_set_right(memory_folder: Path) -> None:
    works = (ScheduledWork(WorkKind.BACKUP, "daily", DailyAt(2, 0)),)
    machine = _Machine(memory_folder, ZoneInfo("UTC"), works)
    noon = _START + timedelta(hours=12)
    machine.on_until(_START + timedelta(days=4), [
        (noon, lambda: machine.set_clock(noon + 365 * _DAY)),
        (noon + timedelta(hours=3), lambda: machine.set_clock(noon + timedelta(hours=3)))])
    hours = [(run - _START) / timedelta(hours=1) for run in machine.ran("backup daily")]
    assert hours == [2, 12, 26, 50, 74]  # one catch-up at noon, and then every night as before
    assert len(machine.listener.doubts) == 1
    assert machine.listener.beliefs == 1


@pytest.mark.parametrize("hours", [1, 3, 12])
def test_a_clock_that_goes_back_some_hours_does_not_repeat_the_night(memory_folder: Path, hours: int) -> None:
    works = (ScheduledWork(WorkKind.BACKUP, "daily", DailyAt(2, 0)),)
    machine = _Machine(memory_folder, ZoneInfo("UTC"), works)
    later = _START + timedelta(hours=2.5)
    machine.on_until(_START + timedelta(days=3),
                     [(later, lambda: machine.set_clock(later - timedelta(hours=hours)))])
    real = [(run - _START) / timedelta(hours=1) for run in machine.ran("backup daily")]
    assert real == [2, 26 + hours, 50 + hours]


def test_a_machine_without_any_clock_is_not_silent_for_ever(memory_folder: Path) -> None:
    """Nobody ever sets it: after a day a backup with a wrong date is better than none."""
    works = (ScheduledWork(WorkKind.BACKUP, "daily", DailyAt(2, 0)),)
    machine = _Machine(memory_folder, ZoneInfo("UTC"), works)
    machine.set_clock(_EPOCH)
    machine.on_until(_START + timedelta(days=4, hours=1))
    assert [(run - _START) / timedelta(hours=1) for run in machine.ran("backup daily")] == [26, 50, 74]


def test_off_for_a_month_is_one_run_and_not_thirty(memory_folder: Path) -> None:
    machine = _Machine(memory_folder, ZoneInfo("Asia/Tokyo"))
    machine.on_until(_START + timedelta(hours=1))
    machine.off_until(_START + timedelta(days=30))
    machine.on_until(_START + timedelta(days=30, minutes=1))
    # Backups first, in the order in which they were missed.
    assert [run.key for run in machine.runner.runs] == ["backup weekdays", "backup planter", "cleanup planter"]
