"""Whether a folder is a good place for backups: tried, not guessed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import N_, Phrase
from kuramori.settings.inspection import device_of
from kuramori.settings.mount_points import find_unmounted


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """What was found out about a place."""

    folder: Path
    faults: tuple[Phrase, ...] = ()
    """Why it cannot be used."""
    doubts: tuple[Phrase, ...] = ()
    """What a person should know before using it."""
    free: int | None = None
    """Bytes; None where the system does not say."""
    existing: bool = False
    """There is a repository already."""


def check_store(folder: Path, sources: Sequence[Path], needed: int) -> StoreFinding:
    """Find out whether backups can be kept in a folder. It need not exist; nothing stays changed.

    Args:
        folder: absolute.
        sources: what would be backed up into it.
        needed: bytes of the sources, as far as that is known.
    """
    faults = [*_faults_by_place(folder, sources)]
    mount_point = find_unmounted(folder)
    if mount_point:
        faults.append(Phrase(N_("/etc/fstab says that a disk belongs on {path!s}, and none is mounted there"),
                             path=mount_point))
    existing = (folder / "config").is_file()
    above = nearest_folder(folder)
    if above is None or (folder.exists() and not folder.is_dir()):
        faults.append(Phrase(N_("{path!s} is no folder"), path=str(folder)))
    elif not faults:
        faults += _faults_by_trying(above)
    if not faults and not existing and folder.is_dir() and any(folder.iterdir()):
        faults.append(Phrase(N_("{path!s} is not empty and holds no repository; choose a new or an empty folder"),
                             path=str(folder)))
    free = None if above is None else _free(above)
    doubts = []
    if free is not None and free < needed and not existing:
        doubts.append(Phrase(N_("only {free} MiB are free there, and the sources have {needed} MiB"),
                             free=free // 1024**2, needed=needed // 1024**2))
    shared = next((source for source in sources if device_of(source) == device_of(folder)), None)
    if shared is not None:
        doubts.append(Phrase(N_("it is on the same disk as {path!s}: if that fails, the backups are gone too"),
                             path=str(shared)))
    return StoreFinding(folder, tuple(faults), tuple(doubts), free, existing)


def nearest_folder(folder: Path) -> Path | None:
    """Return the folder itself or the nearest one above it that exists; None where something else is in the way."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            return place if place.is_dir() else None
    return None


def _faults_by_place(folder: Path, sources: Sequence[Path]) -> list[Phrase]:
    real = folder.resolve()
    for source in sources:
        if source.is_dir() and real.is_relative_to(source.resolve()):
            return [Phrase(N_("it lies inside {path!s}, so the backup would save itself"), path=str(source))]
        if source.resolve().is_relative_to(real):
            return [Phrase(N_("{path!s}, which is to be protected, lies inside it"), path=str(source))]
    return []


def _faults_by_trying(above: Path) -> list[Phrase]:
    try:
        descriptor, name = tempfile.mkstemp(prefix=".kuramori-", dir=above)
    except OSError as error:
        return [Phrase(N_("{path!s} cannot be written to: {detail}"), path=str(above), detail=error.strerror or "")]
    os.close(descriptor)
    os.unlink(name)
    return []


def _free(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
