"""Folders that a disk belongs on: before a repository is made, nobody knows its id, and only the system's table of
file systems tells that the folder is a mount point and its disk is not there."""

from __future__ import annotations

import os
import re
from pathlib import Path

FSTAB = Path("/etc/fstab")
MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def find_unmounted(folder: Path) -> str:
    """Return the mount point of :data:`FSTAB` that a folder lies on or below and on which nothing is mounted; empty if
    there is none, or nobody knows.

    Args:
        folder: absolute; it need not exist.
    """
    mounted = _fields(MOUNTS, 4)
    if not mounted:
        return ""
    places = [os.path.normpath(place) for place in _fields(FSTAB, 1) if place.startswith("/")]
    above = [place for place in places if place != "/" and Path(os.path.realpath(folder)).is_relative_to(place)]
    return next((place for place in sorted(above, key=len, reverse=True) if place not in mounted), "")


def _fields(table: Path, number: int) -> list[str]:
    """Return one field of each line of a table as fstab(5) and proc(5) have them."""
    try:
        lines = table.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [_ESCAPED.sub(lambda match: chr(int(match[1], 8)), found[number]) for found in words if len(found) > number]
