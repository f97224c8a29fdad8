"""Times as restic's ``--time-template`` writes them: an example that shows how 2006-01-02 15:04:05
is to look (the layouts of Go's package ``time``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

RFC3339 = "2006-01-02T15:04:05Z07:00"

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _offset(moment: datetime, separator: str, *, zulu: bool, seconds: bool = False, minutes: bool = True) -> str:
    total = int((moment.utcoffset() or timedelta()).total_seconds())
    if zulu and total == 0:
        return "Z"
    sign, rest = ("-", -total) if total < 0 else ("+", total)
    parts = [f"{rest // 3600:02d}"]
    if minutes:
        parts.append(f"{rest % 3600 // 60:02d}")
    if seconds:
        parts.append(f"{rest % 60:02d}")
    return sign + separator.join(parts)


_TOKENS: dict[str, Callable[[datetime], str]] = {
    "January": lambda moment: _MONTHS[moment.month - 1],
    "Jan": lambda moment: _MONTHS[moment.month - 1][:3],
    "Monday": lambda moment: _DAYS[moment.weekday()],
    "Mon": lambda moment: _DAYS[moment.weekday()][:3],
    "MST": lambda moment: "UTC" if moment.tzname() == "UTC" else _offset(moment, "", zulu=False),
    "2006": lambda moment: f"{moment.year:04d}",
    "002": lambda moment: f"{moment.timetuple().tm_yday:03d}",
    "__2": lambda moment: f"{moment.timetuple().tm_yday:3d}",
    "01": lambda moment: f"{moment.month:02d}",
    "02": lambda moment: f"{moment.day:02d}",
    "_2": lambda moment: f"{moment.day:2d}",
    "03": lambda moment: f"{(moment.hour + 11) % 12 + 1:02d}",
    "04": lambda moment: f"{moment.minute:02d}",
    "05": lambda moment: f"{moment.second:02d}",
    "06": lambda moment: f"{moment.year % 100:02d}",
    "15": lambda moment: f"{moment.hour:02d}",
    "1": lambda moment: str(moment.month),
    "2": lambda moment: str(moment.day),
    "3": lambda moment: str((moment.hour + 11) % 12 + 1),
    "4": lambda moment: str(moment.minute),
    "5": lambda moment: str(moment.second),
    "PM": lambda moment: "AM" if moment.hour < 12 else "PM",
    "pm": lambda moment: "am" if moment.hour < 12 else "pm",
    "-07:00:00": lambda moment: _offset(moment, ":", zulu=False, seconds=True),
    "-070000": lambda moment: _offset(moment, "", zulu=False, seconds=True),
    "-07:00": lambda moment: _offset(moment, ":", zulu=False),
    "-0700": lambda moment: _offset(moment, "", zulu=False),
    "-07": lambda moment: _offset(moment, "", zulu=False, minutes=False),
    "Z07:00:00": lambda moment: _offset(moment, ":", zulu=True, seconds=True),
    "Z070000": lambda moment: _offset(moment, "", zulu=True, seconds=True),
    "Z07:00": lambda moment: _offset(moment, ":", zulu=True),
    "Z0700": lambda moment: _offset(moment, "", zulu=True),
    "Z07": lambda moment: _offset(moment, "", zulu=True, minutes=False),
}
# "Jan" and "Mon" count only where no lower-case letter follows ("Janet" is no month), and "_2006" is
# an underscore and a year. A fraction is zeros or nines behind a point, and no digit follows.
_ALTERNATIVES = "|".join(re.escape(token) + ("(?![a-z])" if token in ("Jan", "Mon") else "")
                         for token in sorted(_TOKENS, key=len, reverse=True) if token != "_2")
_PATTERN = re.compile(rf"(?P<fraction>[.,](?:0+|9+)(?![0-9]))|(?P<token>_2(?!006)|{_ALTERNATIVES})")


def format_by_template(moment: datetime, template: str) -> str:
    """Return an aware datetime as the template shows it."""
    def replaced(match: re.Match[str]) -> str:
        fraction = match["fraction"]
        if fraction is None:
            return _TOKENS[match["token"]](moment)
        digits = f"{moment.microsecond:06d}000"[: len(fraction) - 1]
        if fraction[1] == "9":
            digits = digits.rstrip("0")
        return fraction[0] + digits if digits else ""

    return _PATTERN.sub(replaced, template)
