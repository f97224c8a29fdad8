"""Times as the format writes them (format section 2.1).

RFC 3339 with up to nine fractional digits, trailing zeros removed, ``Z`` for UTC, else the local
offset that was valid at that instant. Inside the program an instant is a whole number of
nanoseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_BILLION = 1_000_000_000
# Years 0000 and 9999 end the range (format section 2.1); Python has no year 0, so 0001 begins it.
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
_SLOT = 900
"""Zone offsets change on quarter hours at the finest, so a prefix is remembered for a slot."""

_prefixes: dict[int, tuple[str, str]] = {}
_seconds: dict[int, tuple[str, str]] = {}
"""Second -> its text without a fraction, and its zone: files that were unpacked or copied together share seconds."""


def _zone_of_slot(slot: int) -> str:
    offset = _local_offset(slot * _SLOT)
    if offset == 0:
        return "Z"
    sign = "+" if offset > 0 else "-"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{sign}{hours:02d}:{minutes:02d}"


def _local_offset(seconds: int) -> int:
    """Return the local zone's offset at that instant, in seconds, cut to whole minutes."""
    return int(local_offset(seconds) / 60) * 60


def local_offset(seconds: int) -> int:
    """Return the local zone's offset at that instant (since 1970-01-01 UTC), in seconds; 0 for an
    instant that the system cannot place."""
    try:
        return time.localtime(seconds).tm_gmtoff or 0
    except (OverflowError, OSError, ValueError):
        return 0


def format_nanoseconds(instant: int) -> str:
    """Return the instant in the local zone, as restic on this machine would write it."""
    seconds = instant // _BILLION
    fraction = instant - seconds * _BILLION
    known = _seconds.get(seconds)
    if known is None:
        if not _FIRST_SECOND + 86_400 <= seconds <= _LAST_SECOND - 86_400:
            seconds = min(max(seconds, _FIRST_SECOND + 86_400), _LAST_SECOND - 86_400)
            fraction = 0
        known = _remember_second(seconds)
    head, zone = known
    if fraction % 10:
        return "%s.%09d%s" % (head, fraction, zone)  # noqa: UP031  # of every new file: an f-string takes a tenth longer
    return f"{head}.{fraction:09d}".rstrip("0") + zone if fraction else head + zone


def _remember_second(seconds: int) -> tuple[str, str]:
    slot, within = divmod(seconds, _SLOT)
    head, zone = _prefixes.get(slot) or _remember(slot)
    minute, second = divmod(within, 60)
    # ``head`` ends with the slot's first minute; add the minutes within the slot.
    known = (f"{head[:-2]}{int(head[-2:]) + minute:02d}:{second:02d}", zone)
    if len(_seconds) > 20_000:
        _seconds.clear()
    _seconds[seconds] = known
    return known


def _remember(slot: int) -> tuple[str, str]:
    zone = _zone_of_slot(slot)
    offset = 0 if zone == "Z" else _parse_offset(zone)
    moment = datetime(1970, 1, 1) + timedelta(seconds=slot * _SLOT + offset)
    # An offset that is not a multiple of 15 minutes would run over the hour within a slot.
    if moment.minute % 15:
        return _remember_uneven(slot, moment, zone)
    known = (moment.strftime("%Y-%m-%dT%H:%M").rjust(16, "0"), zone)
    if len(_prefixes) > 20_000:
        _prefixes.clear()
    _prefixes[slot] = known
    return known


def _remember_uneven(slot: int, moment: datetime, zone: str) -> tuple[str, str]:
    # Shift the wall clock and the offset together to the quarter hour below: the same instant.
    shift = moment.minute % 15
    offset = _parse_offset(zone) - shift * 60
    moment -= timedelta(minutes=shift)
    sign = "+" if offset >= 0 else "-"
    hours, minutes = divmod(abs(offset) // 60, 60)
    known = (moment.strftime("%Y-%m-%dT%H:%M").rjust(16, "0"), f"{sign}{hours:02d}:{minutes:02d}")
    _prefixes[slot] = known
    return known


def _parse_offset(zone: str) -> int:
    sign = 1 if zone[0] == "+" else -1
    return sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)


def forget_zone() -> None:
    """Drop what is remembered of the local zone: after ``time.tzset``."""
    _prefixes.clear()
    _seconds.clear()


_minutes: dict[tuple[str, str], int] = {}
"""Instants of whole minutes that were parsed before: most times of a folder share a few."""


def parse_nanoseconds(text: str) -> int:
    """Return the instant that ``text`` names. More than nine fractional digits are cut.

    Raises:
        ValueError: it is not a time of the format.
    """
    zone = "Z" if text.endswith("Z") else text[-6:]
    minute = _minutes.get((text[:17], zone))
    if minute is None:
        instant = _parse_whole(text)
        if len(_minutes) > 50_000:
            _minutes.clear()
        _minutes[text[:17], zone] = instant - int(text[17:19]) * _BILLION - instant % _BILLION
        return instant
    rest = text[17 : -len(zone)]
    seconds, fraction = rest[:2], rest[3:]
    if len(rest) == 2 and rest.isdecimal() and rest < "60":
        return minute + int(rest) * _BILLION
    if rest[2:3] != "." or not fraction.isdecimal() or not seconds.isdecimal() or seconds >= "60" or not rest.isascii():
        return _parse_whole(text)
    return minute + int(seconds) * _BILLION + int(fraction[:9].ljust(9, "0"))


def _parse_whole(text: str) -> int:
    match = _FORM.fullmatch(text.rstrip(" "))  # a time that a node lacks is kept with a space behind it
    if match is None:
        raise ValueError(f"not a time: {text[:60]!r}")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    shift = 0
    if year == 0:  # Python begins with year 1; 0000 is a leap year like 2000
        year, shift = 2000, -63_113_904_000
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    seconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) + shift
    if match[8] != "Z":
        seconds -= _parse_offset(match[8])
    fraction = int((match[7] or "")[:9].ljust(9, "0"))
    return seconds * _BILLION + fraction


def recorded_offset(text: str) -> int | None:
    """Return the zone offset in seconds that was recorded with a time of the format, None for ``Z``."""
    return None if text.endswith("Z") else _parse_offset(text[-6:])


def parse_datetime(text: str) -> datetime:
    """Return the time with the zone offset that was recorded (microseconds; the rest is cut). What lies
    before the year 1 or after 9999 becomes the first or last moment that ``datetime`` has.

    Raises:
        ValueError: it is not a time of the format.
    """
    nanoseconds = parse_nanoseconds(text)
    match = _FORM.fullmatch(text)
    offset = 0 if match is None or match[8] == "Z" else _parse_offset(match[8])
    zone = timezone(timedelta(seconds=offset)) if offset else UTC
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
        return moment.astimezone(zone)
    except OverflowError:
        return (datetime.min if nanoseconds < 0 else datetime.max).replace(tzinfo=UTC)


def format_datetime(moment: datetime) -> str:
    """Return an aware datetime as the format writes it, in its own zone."""
    offset = moment.utcoffset() or timedelta()
    base = moment.replace(tzinfo=None, microsecond=0)
    text = base.isoformat()
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    minutes = int(offset.total_seconds() // 60)
    if minutes == 0:
        return text + "Z"
    sign = "+" if minutes > 0 else "-"
    return f"{text}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
