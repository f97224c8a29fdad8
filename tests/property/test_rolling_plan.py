"""The plan of a rolling check: with enough budget everything is read in time, whatever the sizes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.ids import Id
from kuramori.ledger.pack_ledger import DAY_NANOSECONDS, PackRecord, measure_coverage
from kuramori.maintenance.rolling_plan import RollingPlan, plan_rolling_check
from kuramori.scheduling.reading_pace import days_to_read
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule

_START = 20_000 * DAY_NANOSECONDS
_SIZES = st.lists(st.integers(1, 1000), min_size=1, max_size=30)


class Disk:
    """Packs, and what a daily check has read of them."""

    def __init__(self, sizes: list[int]) -> None:
        self.now = _START
        self.records: dict[Id, PackRecord] = {}
        for size in sizes:
            self.add(size)

    def add(self, size: int) -> None:
        """Another pack is stored."""
        self.records[Id(len(self.records).to_bytes(32, "big"))] = PackRecord(size, self.now)

    def check(self, days: int, budget: int | None) -> RollingPlan:
        """Read what is planned; one second for each pack."""
        began = self.now // DAY_NANOSECONDS * DAY_NANOSECONDS
        plan = plan_rolling_check(self.records, now=self.now, day_began=began, days=days, budget=budget)
        for number, pack in enumerate(plan.packs):
            record = self.records[pack]
            self.records[pack] = PackRecord(record.size, record.seen, self.now + number * 1_000_000_000)
        return plan

    @property
    def total(self) -> int:
        return sum(record.size for record in self.records.values())


@settings(max_examples=150, deadline=None)
@given(_SIZES, st.integers(1, 40), st.integers(0, 3000), st.booleans(), st.integers(0, 7200))
def test_with_enough_budget_everything_is_read_in_time(sizes: list[int], days: int, more: int, limited: bool,
                                                       jitter: int) -> None:
    """Also where each run begins at another time of the day."""
    disk = Disk(sizes)
    budget = -(-disk.total // days) + more if limited else None
    for day in range(days):
        disk.now = _START + day * DAY_NANOSECONDS + (day * jitter % 7200) * 1_000_000_000
        assert not disk.check(days, budget).budget_too_small
    disk.now = _START + days * DAY_NANOSECONDS
    assert measure_coverage(disk.records, disk.now, days).percent == 100
    # and it stays so, for ever
    for day in range(days, 3 * days):
        disk.now = _START + day * DAY_NANOSECONDS + (day * jitter % 7200) * 1_000_000_000
        disk.check(days, budget)
    oldest = min(record.read for record in disk.records.values())
    assert disk.now - oldest <= days * DAY_NANOSECONDS + 7200 * 1_000_000_000


@settings(max_examples=100, deadline=None)
@given(_SIZES, st.integers(1, 12), st.integers(1, 40), st.booleans(), st.integers(0, 7200))
def test_however_seldom_the_check_comes_nothing_is_ever_older_than_was_asked_for(
        sizes: list[int], pause: int, more: int, limited: bool, jitter: int) -> None:
    """The daemon's checks, of a repository that grows."""
    disk = Disk(sizes)
    check_days = pause + more
    days = days_to_read(Every(pause * 86_400.0), check_days)
    for run in range(3 * check_days // pause + 1):
        disk.now = _START + run * pause * DAY_NANOSECONDS + (run * jitter % 7200) * 1_000_000_000
        ages = [disk.now - record.age_key for record in disk.records.values()]
        assert max(ages) <= check_days * DAY_NANOSECONDS + 7200 * 1_000_000_000
        disk.add(sizes[run % len(sizes)])
        disk.check(days, disk.total if limited else None)


@pytest.mark.parametrize(("schedule", "check_days", "days"), [
    (DailyAt(5, 0), 30, 29), (DailyAt(5, 0), 1, 1), (CronExpression("0 5 * * 0"), 30, 23), (Every(3600.0), 30, 29),
    (CronExpression("0 5 * * 1-5"), 30, 27), (CronExpression("0 5 1 * *"), 30, 1), (Every(36 * 3600.0), 3, 1)])
def test_what_is_not_quite_due_waits_for_the_next_check(schedule: Schedule, check_days: int, days: int) -> None:
    assert days_to_read(schedule, check_days) == days


@settings(max_examples=100, deadline=None)
@given(_SIZES, st.integers(1, 40), st.integers(1, 2000), st.integers(1, 4))
def test_the_budget_of_a_day_holds(sizes: list[int], days: int, budget: int, runs: int) -> None:
    """However often it runs in a day; only the last pack may go beyond."""
    disk = Disk(sizes)
    read: list[int] = []
    for run in range(runs):
        disk.now = _START + run * 3600 * 1_000_000_000
        read += disk.check(days, budget).packs.values()
    assert sum(read[:-1]) < budget


@given(_SIZES, st.integers(1, 40), st.integers(1, 1000))
def test_too_small_a_budget_is_said(sizes: list[int], days: int, budget: int) -> None:
    disk = Disk(sizes)
    plan = disk.check(days, budget)
    assert plan.budget_too_small == (budget * days < disk.total)
    assert plan.needed_per_day * days >= disk.total


@settings(max_examples=100, deadline=None)
@given(_SIZES, st.lists(st.integers(-40, 40), min_size=1, max_size=30), st.integers(1, 2000))
def test_the_longest_unread_comes_first(sizes: list[int], ages: list[int], budget: int) -> None:
    """What was read in the future counts as never read."""
    disk = Disk(sizes)
    for (pack, record), age in zip(list(disk.records.items()), ages, strict=False):
        disk.records[pack] = PackRecord(record.size, record.seen, _START - age * DAY_NANOSECONDS)
    before = dict(disk.records)
    plan = disk.check(30, budget)
    assert plan.clock_doubtful == any(record.read > _START for record in before.values())

    def counted(pack: Id) -> int:
        record = before[pack]
        return 0 if record.read > _START else record.read or record.seen

    order = [counted(pack) for pack in plan.packs]
    assert order == sorted(order)
    left = [pack for pack in before if pack not in plan.packs and not before[pack].is_fresh(_START, 30)]
    assert all(counted(pack) >= (order[-1] if order else 0) for pack in left)
    assert bool(plan.packs) or sum(record.size for record in before.values() if record.read == _START) >= min(
        budget, plan.needed_per_day)


def test_no_false_verified_after_the_clock_was_wrong() -> None:
    disk = Disk([10, 20])
    disk.now += 3650 * DAY_NANOSECONDS
    disk.check(1, None)
    assert measure_coverage(disk.records, disk.now + 60 * 1_000_000_000, 30).percent == 100
    disk.now -= 3650 * DAY_NANOSECONDS
    assert measure_coverage(disk.records, disk.now, 30).percent == 0
    plan = disk.check(1, None)
    assert plan.clock_doubtful
    assert len(plan.packs) == 2


def test_a_weekly_run_reads_what_a_week_asks_for() -> None:
    disk = Disk([10] * 300)
    assert len(disk.check(30, None).packs) == 10
    disk.now += 7 * DAY_NANOSECONDS
    assert len(disk.check(30, None).packs) == 70
    disk.now += 400 * DAY_NANOSECONDS
    assert len(disk.check(30, None).packs) == 300


def test_new_packs_do_not_keep_old_ones_waiting() -> None:
    disk = Disk([10] * 10)
    for day in range(40):
        disk.now = _START + day * DAY_NANOSECONDS
        disk.add(10)
        disk.check(5, 100)
    assert all(disk.now - record.age_key <= 5 * DAY_NANOSECONDS for record in disk.records.values())


def test_nothing_at_all() -> None:
    plan = plan_rolling_check({}, now=_START, day_began=_START, days=30)
    assert not plan.packs
    assert measure_coverage({}, _START, 30).percent == 100
