"""What words on the command line mean: durations, sizes, times, paths."""

from __future__ import annotations

import os
import re
from datetime import datetime

from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError
from kuramori.settings.quantities import parse_bytes, parse_seconds

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}.*)?")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m``, ``1h30m``.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_seconds(text)
    except ValueError:
        raise UsageError(detail=_("a duration looks like 30s, 10m or 1h30m, not {text}").format(text=text)) from None


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``500``, ``10K``, ``2G``.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_bytes(text)
    except ValueError:
        raise UsageError(detail=_("a size looks like 500, 10K or 2G, not {text}").format(text=text)) from None


def parse_moment(text: str) -> datetime:
    """Return the aware datetime that a text such as ``2026-11-23 02:00:00`` means, in the local
    zone if it names none.

    Raises:
        UsageError: it is none.
    """
    try:
        if _MOMENT.fullmatch(text) is None:
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError):
        raise UsageError(detail=_("a time looks like 2026-11-23 02:00:00, not {text}").format(text=text)) from None


def encode_argument(text: str) -> bytes:
    """Return an argument of the command line as the bytes it was."""
    return os.fsencode(text)
