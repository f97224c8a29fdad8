"""Durations and sizes as people write them: ``1h30m``, ``10G``."""

from __future__ import annotations

import re

from kuramori.errors import N_

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,12})?(?:ms|[smhd]))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhd])")
_SIZE = re.compile(r"([0-9]{1,18})([kmgt]?)(?:i?b)?")
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m``, ``1h30m``.

    Raises:
        ValueError: it is none.
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError(N_("a duration looks like 30s, 10m or 1h30m"))
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``500``, ``10K``, ``2G``.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(N_("a size looks like 500, 10K or 2G"))
    return int(match[1]) * _SIZE_UNITS[match[2]]


def size_text(size: int | float) -> str:
    """Return a number of bytes as people read it: ``1.234 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3f} {unit}"
        value /= 1024
    return f"{value:.3f} TiB"
