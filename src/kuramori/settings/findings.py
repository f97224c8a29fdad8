"""What there is on this machine that is worth protecting, and where it could be kept: for ``kuramori setup``.

Everything looks at a bounded number of names, so that it answers at once on the slowest card.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.settings.inspection import has_sqlite_header
from kuramori.settings.model import ComponentKind

_MOST_ENTRIES = 20_000
_MOST_SUGGESTIONS = 12
_DATABASE_ENDINGS = (".db", ".db3", ".sqlite", ".sqlite3")
_FOLDERS = ("planter", "smart_planter", "smart-planter", "images", "Documents", "Pictures", "書類", "ドキュメント",
            "画像", "ピクチャ", "data")
_MOUNT_PARENTS = ("/media/", "/run/media/", "/mnt/")
_KEPT_ON_DISKS = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "vfat", "exfat", "ntfs", "ntfs3",
                            "fuseblk", "hfsplus", "nfs", "nfs4", "cifs"))


@dataclass(frozen=True, slots=True)
class SourceFinding:
    """What a path is that somebody wants to protect."""

    path: Path
    kind: ComponentKind
    """``SQLITE`` or ``FILES``."""
    folder: bool
    files: int = 1
    size: int = 0
    """Bytes; with ``files``, what was seen until the bound."""
    whole: bool = True
    """False where there is more than was looked at."""
    databases: tuple[Path, ...] = ()
    """Files inside that begin like SQLite databases and are named like some."""


def examine_source(path: Path) -> SourceFinding | None:
    """Return what a path is; None where there is nothing, or nothing that can be read."""
    try:
        status = path.stat()
        if not path.is_dir():
            with path.open("rb"):
                pass
    except OSError:
        return None
    if not path.is_dir():
        kind = ComponentKind.SQLITE if has_sqlite_header(path) else ComponentKind.FILES
        return SourceFinding(path, kind, False, 1, status.st_size)
    files, size, databases, whole = 0, 0, [], True
    for number, entry in enumerate(_walk(path)):
        if number >= _MOST_ENTRIES:
            whole = False
            break
        files += 1
        size += _size(entry)
        if entry.name.endswith(_DATABASE_ENDINGS) and has_sqlite_header(Path(entry.path)):
            databases.append(Path(entry.path))
    return SourceFinding(path, ComponentKind.FILES, True, files, size, whole, tuple(sorted(databases)))


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the regular files below a folder; what cannot be read is left out."""
    waiting = [str(folder)]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # it went meanwhile
        return 0


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def suggest_sources(places: Sequence[Path]) -> list[Path]:
    """Return what people often want to protect, as far as it is there: databases that lie in one of
    the places, and well-known folders in them."""
    found: dict[Path, None] = {}
    for place in places:
        found.update(dict.fromkeys(_databases_in(place)))
        found.update({place / name: None for name in _FOLDERS if (place / name).is_dir()})
    return list(found)[:_MOST_SUGGESTIONS]


def _databases_in(folder: Path) -> list[Path]:
    named = [entry.path for entry in _entries(str(folder)) if entry.name.endswith(_DATABASE_ENDINGS)]
    return [Path(path) for path in sorted(named)[:_MOST_SUGGESTIONS] if has_sqlite_header(Path(path))]


def find_servers(run: Path = Path("/run")) -> list[ComponentKind]:
    """Return the kinds of database servers that listen on this machine."""
    found = []
    if any((run / "postgresql").glob(".s.PGSQL.[0-9]*")):
        found.append(ComponentKind.POSTGRES)
    if (run / "mysqld" / "mysqld.sock").exists():
        found.append(ComponentKind.MYSQL)
    return found


def find_disks(mounts: Path = Path("/proc/self/mounts")) -> list[Path]:
    """Return where further disks are mounted, such as a USB disk."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split(" ")
        # Spaces and the like are octal escapes in this file (proc(5)).
        path = words[1].encode("utf-8", "surrogateescape").decode("unicode_escape").encode(
            "latin-1").decode("utf-8", "surrogateescape") if len(words) > 2 else ""
        if path.startswith(_MOUNT_PARENTS) and words[2] in _KEPT_ON_DISKS:
            found.append(Path(path))
    return found
