"""Everything about a folder that a backup has to keep, as plain data; without any code of kuramori."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, fields, replace
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """One file, folder, link or whatever."""

    kind: int
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    size: int
    content: str
    """SHA-256 of a file, target of a link, number of a device; both as hex or text."""
    attributes: tuple[tuple[str, bytes], ...]
    same_file: tuple[bytes, ...]
    """All names in the folder that are hard links to this regular file, if there are several. (Of
    linked symlinks, devices and FIFOs the format keeps no such thing.)"""


def tree_facts(root: str | bytes | Path) -> dict[bytes, Facts]:
    """Return the facts of ``root`` (as ``b"."``) and everything below it; sockets are left out."""
    base = os.fsencode(root)
    found: dict[bytes, Facts] = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    inodes: dict[bytes, tuple[int, int]] = {}
    pending = [b""]
    while pending:
        relative = pending.pop()
        path = base + relative
        status = os.lstat(path)
        if stat.S_ISSOCK(status.st_mode):
            continue
        name = relative[1:] or b"."
        found[name] = _facts(path, status)
        if stat.S_ISDIR(status.st_mode):
            pending += [relative + b"/" + entry for entry in os.listdir(path)]
        elif stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            inodes[name] = (status.st_dev, status.st_ino)
            names.setdefault(inodes[name], []).append(name)
    for name, inode in inodes.items():
        if len(names[inode]) > 1:
            found[name] = replace(found[name], same_file=tuple(sorted(names[inode])))
    return found


def _facts(path: bytes, status: os.stat_result) -> Facts:
    kind = stat.S_IFMT(status.st_mode)
    content, size = "", 0
    if kind == stat.S_IFREG:
        size = status.st_size
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path).hex()
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        content = str(status.st_rdev)
    attributes = [(name, os.getxattr(path, name, follow_symlinks=False))
                  for name in sorted(os.listxattr(path, follow_symlinks=False))]
    return Facts(kind, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), status.st_mtime_ns, size,
                 content, tuple(attributes), ())


def assert_same_tree(expected: dict[bytes, Facts], found: dict[bytes, Facts]) -> None:
    """Compare two folders.

    Raises:
        AssertionError: they differ; it says in what.
    """
    problems = [f"missing: {name!r}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected: {name!r}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        for field in fields(Facts):
            wanted, got = getattr(expected[name], field.name), getattr(found[name], field.name)
            if wanted != got:
                problems.append(f"{name!r}: {field.name} is {got!r}, not {wanted!r}")
    assert not problems, "\n".join(problems[:40])
