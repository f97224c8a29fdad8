"""The data that is backed up: four kinds, always the same bytes for the same size."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

_WORDS = (b"soil", b"moisture", b"pump", b"sensor", b"temperature", b"humidity", b"light", b"reading", b"ok", b"error",
          b"warn", b"info", b"planter", b"watering", b"valve", b"open", b"close",
          b"level", b"tank", b"battery", b"voltage")
_LEVELS = (b"INFO", b"WARN", b"ERROR")
_LOG_BYTES = 20_000_000
DATABASE_ROW_BYTES = 1000
"""Of the picture in each row of a sample database."""


def make_images(folder: Path, scale: float) -> None:
    """Write photographs, 1 to 6 MB each, 1.4 GB at scale 1: what no compression makes smaller."""
    generator = random.Random(1)
    written = number = 0
    while written < 1_400_000_000 * scale:
        month = folder / f"2026-{1 + number % 12:02d}"
        month.mkdir(parents=True, exist_ok=True)
        size = generator.randint(1_000_000, 6_000_000)
        (month / f"IMG_{number:05d}.jpg").write_bytes(generator.randbytes(size))
        written += size
        number += 1


def make_small_files(folder: Path, scale: float) -> None:
    """Write text files of some KB, 60,000 at scale 1."""
    generator = random.Random(2)
    for number in range(int(60_000 * scale)):
        place = folder / f"{number // 1000:03d}" / str(number // 100 % 10)
        if number % 100 == 0:
            place.mkdir(parents=True, exist_ok=True)
        size = max(20, min(int(generator.lognormvariate(8, 1.0)), 100_000))
        text = b" ".join(generator.choices(_WORDS, k=size // 7 + 1)) + b" %d" % number
        (place / f"f{number:06d}.txt").write_bytes(text[:size] + b"%d" % number)


def make_tiny_files(folder: Path, count: int) -> None:
    """Write so many files of a few dozen bytes, 100 in a folder; no two are equal."""
    for number in range(count):
        place = folder / f"{number // 1000:03d}" / str(number // 100 % 10)
        if number % 100 == 0:
            place.mkdir(parents=True, exist_ok=True)
        (place / f"t{number:06d}.txt").write_bytes(b"reading %d: %d %s\n" % (number, number * 7919 % 1009,
                                                                             _WORDS[number % len(_WORDS)]))


def make_logs(folder: Path, scale: float) -> None:
    """Write log files of 20 MB, 400 MB at scale 1: what compresses well."""
    generator = random.Random(3)
    folder.mkdir(parents=True)
    number = 0
    for index in range(max(1, round(20 * scale))):
        lines: list[bytes] = []
        written = 0
        while written < _LOG_BYTES:
            number += 1
            lines.append(_log_line(generator, number))
            written += len(lines[-1])
        (folder / f"app.log.{index}").write_bytes(b"".join(lines))


def _log_line(generator: random.Random, number: int) -> bytes:
    pick, below = generator.choice, generator.randrange
    return b"2026-11-%02dT%02d:%02d:%02d.%03d %s planter[%d]: %s=%d.%02d %s %s\n" % (
        1 + number % 28, below(24), below(60), below(60), below(1000), pick(_LEVELS), below(9999), pick(_WORDS),
        below(100), below(100), pick(_WORDS), pick(_WORDS))


def make_database(path: Path, megabytes: int, journal: str) -> None:
    """Write a SQLite database of rows that hardly compress, with an index in random order."""
    chance = random.Random(7)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, sensor TEXT, picture BLOB)")
    connection.execute("CREATE INDEX reading_sensor ON reading (sensor)")
    for _ in range(megabytes * 1_000_000 // 1400):
        connection.execute("INSERT INTO reading (sensor, picture) VALUES (?, ?)",
                           (f"{chance.getrandbits(64):016x}", chance.randbytes(DATABASE_ROW_BYTES)))
    connection.execute("COMMIT")
    connection.close()


def make_planter(folder: Path, scale: float) -> None:
    """Write what a smart planter keeps: a database of 60 MB, 280 MB of photographs, 100 MB of logs, 200 settings, at
    scale 1."""
    (folder / "database").mkdir(parents=True)
    make_database(folder / "database" / "planter.db", max(1, round(60 * scale)), "delete")
    make_images(folder / "images", 0.2 * scale)
    make_logs(folder / "logs", 0.25 * scale)
    (folder / "settings").mkdir()
    for number in range(max(1, round(200 * scale))):
        (folder / "settings" / f"valve-{number:03d}.toml").write_text(
            f"pin = {number % 28}\nopen_seconds = {number * 7919 % 60}\nname = \"valve {number}\"\n")


MAKERS = {"images": make_images, "small files": make_small_files, "logs": make_logs,
          "planter": make_planter}
"""Name of the workload -> what writes it."""
TINY_FILES = "tiny files"
"""A million of them: minutes to make, and more to compare."""
