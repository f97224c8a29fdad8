"""Plain folder backups, as the guide's own code made them before.

Each is a folder with ``backup_info.json`` and, beside it, a copy of each component under its name.
They are only read here: nothing of them is ever changed or removed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kuramori.clock import Clock
from kuramori.errors import N_, FolderBackupError

INFO_NAME = "backup_info.json"
_LARGEST_INFO = 16 * 1024 * 1024
_REPOSITORY_SIGNS = ("config", "keys")


@dataclass(frozen=True, slots=True)
class FolderBackup:
    """One of them."""

    name: str
    path: Path
    created: datetime
    """Aware."""
    info: dict[str, Any]
    """What ``backup_info.json`` says; what is known of the folder where there is none."""
    size_bytes: int

    def component_path(self, component: str) -> Path:
        """Return where the copy of a component lies.

        Raises:
            FolderBackupError: it has none, or the name leads out of the folder.
        """
        path = self.path / component
        if component in ("", ".", "..", INFO_NAME) or "/" in component or "\0" in component or path.is_symlink() \
                or not path.exists():
            raise FolderBackupError(name=self.name, detail=N_("it holds no such component"))
        return path

    def components(self) -> list[str]:
        """Return the names of the components that are there, sorted."""
        return sorted(entry.name for entry in os.scandir(self.path)
                      if entry.name != INFO_NAME and not entry.is_symlink())

    def source_of(self, component: str) -> str:
        """Return where a component came from; empty where nobody knows."""
        described = self.info.get("components")
        entry = described.get(component) if isinstance(described, dict) else None
        source = entry.get("source_path") if isinstance(entry, dict) else None
        return source if isinstance(source, str) else ""


def find_folder_backups(folder: Path, clock: Clock) -> list[FolderBackup]:
    """Return the folder backups in ``folder``, the newest first. A folder without ``backup_info.json``
    is none, nor is a repository. Nothing of what is in there is trusted.

    Raises:
        OSError: the folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    found = []
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) and (path / INFO_NAME).is_file() \
                and not all((path / sign).exists() for sign in _REPOSITORY_SIGNS):
            found.append(_read(path, clock))
    return sorted(found, key=lambda backup: (backup.created, backup.name), reverse=True)


def _read(path: Path, clock: Clock) -> FolderBackup:
    info = _info(path / INFO_NAME)
    created = _instant(info.get("created_at"), clock)
    if created is None:
        created = datetime.fromtimestamp(path.stat().st_mtime, clock.now().tzinfo)
    return FolderBackup(path.name, path, created, info, _size(path))


def _info(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST_INFO))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _instant(text: object, clock: Clock) -> datetime | None:
    """The guide wrote local times without an offset."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.replace(tzinfo=clock.now().tzinfo)
    except (ValueError, OverflowError):
        return None


def _size(path: Path) -> int:
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            total += status.st_size
    return total
