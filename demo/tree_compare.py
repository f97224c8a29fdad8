"""Reads a folder into plain data and compares two of them: without any code of kuramori."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

Entry = tuple[object, ...]


def read_tree(root: Path) -> dict[str, Entry]:
    """Return everything below ``root``: kind, mode, owner, time to the nanosecond, content."""
    found: dict[str, Entry] = {".": _entry(root)}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            found[str(path.relative_to(root))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    status = path.lstat()
    content = ""
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    links = status.st_nlink if stat.S_ISREG(status.st_mode) else 0
    return (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns,
            links, content)


def describe_difference(expected: dict[str, Entry], found: dict[str, Entry]) -> str:
    """Return what differs first, or an empty string."""
    for path in sorted({*expected, *found}):
        if path not in found:
            return f"{path} is missing"
        if path not in expected:
            return f"{path} should not be there"
        if path != "." and expected[path] != found[path]:
            return f"{path}: {found[path]} instead of {expected[path]}"
    return ""
