"""Which packs a rolling check reads next. Pure: what is known goes in, a choice comes out.

Every pack shall be read at least once in so many days, the one that was not read for longest first.
A run reads at least what keeps that pace (all bytes divided by the days), as far as the budget of
the day allows. What is overdue or was never read is read up to the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kuramori.ids import Id
from kuramori.ledger.pack_ledger import DAY_NANOSECONDS, PackRecord


@dataclass(slots=True)
class RollingPlan:
    """What to read."""

    packs: dict[Id, int] = field(default_factory=dict)
    """Packs and their bytes, in the order in which they are read."""
    needed_per_day: int = 0
    """Bytes that must be read every day to read all in time."""
    budget_too_small: bool = False
    """With this budget not all can be read in time."""
    clock_doubtful: bool = False
    """Packs were read at times that have not come yet: the clock is wrong now, or was then."""


def plan_rolling_check(records: Mapping[Id, PackRecord], *, now: int, day_began: int, days: int,
                       budget: int | None = None) -> RollingPlan:
    """Return what to read now.

    The last pack that is chosen may go beyond the budget or the pace, so that a pack larger than
    both is read, too.

    Args:
        records: all packs that are there.
        now: nanoseconds since 1970-01-01 UTC.
        day_began: when the day began whose budget counts, likewise.
        days: within so many days every pack shall be read; at least 1.
        budget: bytes to read in one day; None for what keeps the pace, also for days on which
            nothing was read.
    """
    total = sum(record.size for record in records.values())
    pace = -(-total // days)
    plan = RollingPlan(needed_per_day=pace, budget_too_small=budget is not None and budget < pace,
                       clock_doubtful=any(record.read > now for record in records.values()))
    spent = sum(record.size for record in records.values() if day_began <= record.read <= now)
    if budget is None:
        missed = _days_since_last(records, now, day_began, days)
        budget = pace = pace * missed
    allowance = budget - spent
    pace -= spent
    taken = 0
    for pack, record in sorted(records.items(), key=lambda entry: (*_counted_from(entry[1], now), entry[0])):
        if taken >= allowance:
            break
        overdue = not record.is_fresh(now, days)
        if taken < pace or overdue:
            plan.packs[pack] = record.size
            taken += record.size
    return plan


def _counted_from(record: PackRecord, now: int) -> tuple[int, bool]:
    """Return when a pack's age began, and whether it was read then. What was read in the future was
    not read."""
    return (record.age_key, record.read > 0) if record.age_key <= now else (0, False)


def _days_since_last(records: Mapping[Id, PackRecord], now: int, day_began: int, days: int) -> int:
    """Return how many days of the calendar passed since something was read."""
    last = max((record.read for record in records.values() if record.read <= now), default=0)
    return min(days, max(1, -(-(day_began - last) // DAY_NANOSECONDS))) if last else 1
