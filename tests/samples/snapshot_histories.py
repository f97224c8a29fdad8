"""Long histories of snapshots, made quickly: only the snapshot files are many."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from kuramori.model.snapshot import Snapshot
from kuramori.model.times import format_datetime
from kuramori.repository.snapshots import save_snapshot
from samples.repository_workshop import Workshop, create, node, tree

_ZONES = [ZoneInfo(name) for name in (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe")]
_HOSTS = ("", "planter", "shed", "ハウス")
_PATHS = (["/home/mika/planter"], ["/etc", "/home/mika/planter"], ["/home/mika/planter", "/etc"], ["/srv/<db> & \"x\""])
_TAGS = (None, None, ["nightly"], ["nightly", "keep"], ["keep"], ["a b", "é"], ["keep", "nightly"])
_MORNINGS = (datetime(2026, 3, 29, tzinfo=UTC), datetime(2025, 10, 26, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC),
             datetime(2025, 12, 31, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC))
"""Near them clocks change somewhere, or a year or a month ends."""


def make_history(folder: Path, seed: int, count: int = 60) -> None:
    """Make a repository of many snapshots at odd times, of different moments, in many groups."""
    create(folder)
    shop = Workshop(folder)
    trees = [shop.add_tree(tree(node(f"file {number}", "file", ',"content":[]'))) for number in range(3)]
    chance = random.Random(seed)
    moments: set[datetime] = set()
    while len(moments) < count:
        moments.add(_moment(chance))
    for moment in sorted(moments):
        save_snapshot(shop.repository, Snapshot(
            time=format_datetime(moment.astimezone(chance.choice(_ZONES))), tree=chance.choice(trees).hex(),
            paths=list(chance.choice(_PATHS)), hostname=chance.choice(_HOSTS), tags=chance.choice(_TAGS)))


def _moment(chance: random.Random) -> datetime:
    kind = chance.random()
    if kind < 0.5:  # crowded around a morning, often to the half hour
        minutes = chance.randrange(-2, 60) * 30
        return chance.choice(_MORNINGS) + timedelta(minutes=minutes, microseconds=chance.choice((0, 0, 1, 500_000)))
    if kind < 0.95:
        return datetime(2026, 11, 20, tzinfo=UTC) - timedelta(seconds=int(chance.expovariate(1 / 1e7)))
    return datetime(2090, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(5000))
