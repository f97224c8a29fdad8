"""The local zone with all its changes: an offset alone knows nothing of next summer."""

from __future__ import annotations

import os
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kuramori.clock import Clock

_LOCAL = Path("/etc/localtime")
_FOLDER = "zoneinfo/"


def local_zone(clock: Clock, variable: str = "") -> tzinfo:
    """Return the local zone. Where it cannot be read, the offset that counts now.

    Args:
        clock: says which offset that is.
        variable: what ``TZ`` says; without it ``/etc/localtime`` counts.
    """
    named = variable.removeprefix(":")
    zone = _by_name(named) if named else _of_system()
    return zone or clock.now().tzinfo or ZoneInfo("UTC")


def _by_name(name: str) -> ZoneInfo | None:
    try:
        if name.startswith("/"):
            with open(name, "rb") as file:
                return ZoneInfo.from_file(file, key=name)
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return None


def _of_system() -> ZoneInfo | None:
    target = os.path.realpath(_LOCAL)
    return (_by_name(target.rpartition(_FOLDER)[2]) if _FOLDER in target else None) or _by_name(str(_LOCAL))
