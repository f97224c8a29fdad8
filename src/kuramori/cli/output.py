"""How things are written on the screen."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from kuramori.errors import printable
from kuramori.model.json import replace_undecodable
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_datetime
from kuramori.settings.quantities import size_text as size_text


def say(text: str = "") -> None:
    """Print a line on standard output; what the terminal cannot show is escaped."""
    _write(sys.stdout, text + "\n")


def complain(text: str) -> None:
    """Print a line on standard error."""
    _write(sys.stderr, text + "\n")


def _write(stream: object, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    safe = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(safe)  # type: ignore[attr-defined]


def say_json(value: object) -> None:
    """Print a value as one line of JSON; undecodable bytes become U+FFFD as in restic's output."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def to_json(value: object) -> str:
    """Return a value as compact JSON."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
    return replace_undecodable(text)


def snapshot_json(stored: StoredSnapshot) -> dict[str, Any]:
    """Return a snapshot as restic prints it."""
    fields: dict[str, Any] = msgspec.to_builtins(stored.snapshot)
    for name in ("tags", "excludes"):
        if not fields.get(name, True):
            del fields[name]
    return fields | {"id": stored.id, "short_id": stored.short_id}


def shown(text: str | bytes) -> str:
    """Return a path or another text of a repository, safe to show."""
    return printable(text)


def percent_text(part: int, whole: int) -> str:
    """Return a part of a whole: ``12.34 %``; nothing of nothing is 0 %."""
    return f"{100 * part / whole if whole else 0:.2f} %"


def duration_text(seconds: float) -> str:
    """Return a duration: ``0:05``, ``1:02:03``."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def time_text(text: str) -> str:
    """Return a time of the format in the local zone, to the second."""
    try:
        moment = parse_datetime(text).astimezone()
    except (ValueError, OverflowError):
        return text
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def local_text(moment: datetime) -> str:
    """Return an aware datetime in the local zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes (Japanese characters take two)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], footer: Sequence[str] = ()) -> None:
    """Print rows in columns under headings, between two rules."""
    cells = [list(headings), *[list(row) for row in rows]]
    widths = [max(width(row[column]) for row in cells) for column in range(len(headings))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    for number, row in enumerate(cells):
        say("  ".join(text + " " * (widths[i] - width(text)) for i, text in enumerate(row)).rstrip())
        if number == 0:
            say(rule)
    say(rule)
    for line in footer:
        say(line)


_MODE_BITS = ((1 << 31, "d"), (1 << 27, "L"), (1 << 26, "D"), (1 << 25, "p"), (1 << 24, "S"), (1 << 23, "u"),
              (1 << 22, "g"), (1 << 21, "c"), (1 << 20, "t"))


def mode_text(node: Node) -> str:
    """Return a mode as Go's ``os.FileMode`` shows it, which restic prints: ``drwxr-xr-x``."""
    kind = "".join(letter for bit, letter in _MODE_BITS if node.mode & bit) or "-"
    letters = "".join("rwx"[i % 3] if node.mode & (1 << (8 - i)) else "-" for i in range(9))
    return kind + letters
