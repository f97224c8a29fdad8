"""Where each path of a component's snapshot goes, before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import N_, RestoreTargetError
from kuramori.settings.model import ComponentSettings


@dataclass(frozen=True, slots=True)
class Placement:
    """One path of the snapshot and where it goes."""

    path: str
    """In the snapshot, absolute."""
    target: str
    """Absolute; its folder may be missing."""


def outermost(paths: Sequence[str]) -> list[str]:
    """Return the paths that lie in none of the others, in their order."""
    kept: list[str] = []
    for path in paths:
        above = [other for other in paths if other != path and path.startswith(other.rstrip("/") + "/")]
        if not above and path not in kept:
            kept.append(path)
    return kept


def place_in_folder(paths: Sequence[str], folder: Path, folders: frozenset[str]) -> list[Placement]:
    """Say where a component's paths go in a folder of its own: the content of its one folder right
    into it, everything else by its last name.

    Args:
        folder: the component's folder; it must not be there, or be empty.
        folders: those of the paths that are folders.

    Raises:
        RestoreTargetError: the folder holds something.
    """
    _require_empty(folder)
    chosen = outermost(paths)
    if len(chosen) == 1 and chosen[0] in folders:
        return [Placement(chosen[0], str(folder))]
    taken: set[str] = set()
    placements = []
    for path in chosen:
        name = base = os.path.basename(path) or "root"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        placements.append(Placement(path, str(folder / name)))
    return placements


def _require_empty(folder: Path) -> None:
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RestoreTargetError(path=str(folder), detail=error.strerror or str(error)) from None
    if entries:
        raise RestoreTargetError(path=str(folder), detail=N_("it is not empty; choose a folder that is, or a new one"))


def place_in_place(paths: Sequence[str], component: ComponentSettings | None) -> list[Placement]:
    """Say where a component's paths were, or, where the settings name another place for its one
    source now, where that is.

    Raises:
        RestoreTargetError: a target cannot change places: a mount point, or the root.
    """
    chosen = outermost(paths)
    configured = [os.path.realpath(source) for source in component.sources] if component is not None else []
    placements = []
    for path in chosen:
        target = os.path.normpath(path)
        if target not in configured and len(chosen) == 1 == len(configured):
            target = configured[0]
        # The link stays, and what it leads to is replaced.
        target = os.path.realpath(target)
        if os.path.ismount(target):
            raise RestoreTargetError(path=target, detail=N_("a disk is mounted right there, so it cannot change "
                                                            "places; restore to another folder with --target"))
        placements.append(Placement(path, target))
    return placements
