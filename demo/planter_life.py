"""The planter's application while it lives: it writes readings in transactions that touch two tables.

Run as a program it writes at full speed until it is told to end by SIGTERM. ``totals`` must always be
what ``readings`` add up to: a copy of the database that was not of one instant would break that.
"""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def make_totals(database: Path) -> None:
    """Add the table that is kept in step with the readings, and let readers and the writer go on side by side."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("CREATE TABLE totals (readings INTEGER NOT NULL, light INTEGER NOT NULL)")
            connection.execute("INSERT INTO totals SELECT count(*), sum(light) FROM readings")


def write_until_stopped(database: Path) -> None:
    """Write readings, each in a transaction of its own."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        number = 0
        print("writing", flush=True)
        while not stopped:
            number += 1
            with connection:
                connection.execute("INSERT INTO readings (taken_at, temperature, humidity, moisture, light)"
                                   " VALUES ('2026-11-14T00:00:00+00:00', 20.0, 50.0, 45.0, ?)", (number % 900,))
                connection.execute("UPDATE totals SET readings = readings + 1, light = light + ?", (number % 900,))


def is_one_instant(database: Path) -> tuple[bool, int]:
    """Return whether the two tables fit together and SQLite finds nothing wrong, and how many readings there are."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT count(*), sum(light) FROM readings").fetchone()
        expected = connection.execute("SELECT readings, light FROM totals").fetchone()
        sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return sound and found == expected, found[0]


def content_of(database: Path) -> str:
    """Return a hash of everything that is in the database."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(database)) as connection:
        for line in connection.iterdump():
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()


if __name__ == "__main__":
    write_until_stopped(Path(sys.argv[1]))
