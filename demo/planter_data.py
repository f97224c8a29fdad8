"""A planter's data: made from a fixed seed, so that every run has the same."""

from __future__ import annotations

import json
import math
import os
import random
import sqlite3
import struct
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

_START = datetime(2026, 11, 1, 0, 0, tzinfo=UTC)
_READINGS = 40_000


def make_planter(root: Path) -> None:
    """Make the folder of a planter: database, images, logs, settings."""
    generator = random.Random(20261101)
    for name in ("database", "images", "logs", "settings"):
        (root / name).mkdir(parents=True)
    _make_database(root / "database" / "smart_planter.db", generator)
    for day in range(1, 13):
        _write_image(root / "images" / f"2026-11-{day:02d}" / "plant.png", generator, day)
    for day in range(1, 8):
        _write_log(root / "logs" / f"planter-2026-11-{day:02d}.log", generator, day)
    settings = {"watering": {"threshold": 35, "seconds": 12}, "camera": {"interval_minutes": 60},
                "name": "ベランダのトマト"}
    (root / "settings" / "planter.json").write_text(
        json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
    (root / "settings" / "wifi.conf").write_text("ssid=planter\n")
    os.chmod(root / "settings" / "wifi.conf", 0o600)
    os.symlink("planter.json", root / "settings" / "current.json")
    os.link(root / "logs" / "planter-2026-11-07.log", root / "logs" / "latest.log")


def change_planter(root: Path) -> None:
    """Let a day pass: things are added, changed, renamed and deleted."""
    generator = random.Random(20261113)
    with closing(sqlite3.connect(root / "database" / "smart_planter.db")) as database, database:
        database.execute("UPDATE readings SET moisture = moisture + 1 WHERE id % 997 = 0")
        _insert_readings(database, _READINGS, 500, generator)
    _write_image(root / "images" / "2026-11-13" / "plant.png", generator, 13)
    (root / "images" / "2026-11-01" / "plant.png").unlink()
    (root / "images" / "2026-11-01").rmdir()
    with open(root / "logs" / "planter-2026-11-07.log", "a") as log:
        log.write("2026-11-07T23:59:59Z INFO the tank was filled\n")
    (root / "logs" / "planter-2026-11-01.log").rename(root / "logs" / "old.log")
    (root / "settings" / "planter.json").write_text('{"watering": {"threshold": 40, "seconds": 10}}\n')
    (root / "settings" / "wifi.conf").unlink()


def _make_database(path: Path, generator: random.Random) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, taken_at TEXT NOT NULL, temperature REAL,"
                         " humidity REAL, moisture REAL, light INTEGER)")
        database.execute("CREATE INDEX readings_taken_at ON readings (taken_at)")
        _insert_readings(database, 0, _READINGS, generator)


def _insert_readings(database: sqlite3.Connection, first: int, count: int, generator: random.Random) -> None:
    rows = []
    for number in range(first, first + count):
        moment = _START + timedelta(seconds=26 * number)
        daylight = max(0.0, math.sin((moment.hour - 6) / 12 * math.pi))
        rows.append((moment.isoformat(), round(14 + 9 * daylight + generator.gauss(0, 0.4), 2),
                     round(60 - 15 * daylight + generator.gauss(0, 1.5), 1),
                     round(45 + 10 * math.sin(number / 900) + generator.gauss(0, 0.7), 1),
                     int(900 * daylight + generator.randrange(20))))
    database.executemany("INSERT INTO readings (taken_at, temperature, humidity, moisture, light)"
                         " VALUES (?, ?, ?, ?, ?)", rows)


def _write_image(path: Path, generator: random.Random, day: int) -> None:
    """Write a PNG of a growing plant with a camera's noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = 640, 480
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        noise = generator.randbytes(width)
        for x in range(width):
            leaf = abs(x - 320) < 6 + day * 4 * max(0, y - 300 + day * 15) / 480 and y > 300 - day * 15
            grain = noise[x] & 15
            red, green, blue = (20, 110, 30) if leaf else (150, 180, 220)
            rows += bytes((red + grain, green + grain, blue + grain))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                     + _png_chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + _png_chunk(b"IEND", b""))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_log(path: Path, generator: random.Random, day: int) -> None:
    lines = []
    for minute in range(1440):
        level = generator.choices(("INFO", "WARN", "ERROR"), (95, 4, 1))[0]
        lines.append(f"2026-11-{day:02d}T{minute // 60:02d}:{minute % 60:02d}:00Z {level} moisture"
                     f" {generator.uniform(30, 60):.1f} temperature {generator.uniform(12, 25):.2f}\n")
    path.write_text("".join(lines))
