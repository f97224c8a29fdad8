"""Putting restored things where they belong without losing what stands there, and taking that back.

Where the system can, two names change places in one step, so that at every instant either the old
or the new is there. Where it cannot (NFS, some FAT), there is an instant with neither, and the
journal knows where the old one is.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from kuramori.errors import N_, UndoError
from kuramori.manager.exchange import exchange, move
from kuramori.manager.swap_journal import (
    EXCHANGED,
    NEW,
    NO_MARK,
    REMOVED,
    SQLITE,
    Swap,
    mark_of,
)
from kuramori.restoring.sqlite_replacement import copy_database, replace_database
from kuramori.storage import durable_file

SQLITE_MAGIC = b"SQLite format 3\0"
SIDECARS = ("-wal", "-shm", "-journal")


# --- planning --------------------------------------------------------------------------------


def plan_swaps(staged: str, target: str, kept: str, live_databases: frozenset[str]) -> Iterator[Swap]:
    """Yield the swaps that put ``staged`` at ``target``.

    A folder changes places as a whole, unless live databases lie in it: those are replaced through
    SQLite, so that whoever has them open sees the restored rows, and the folders that lead to them
    stay; everything else in these changes places one by one.

    Args:
        staged: the restored file or folder, on the file system of ``target``.
        target: where it is to be.
        kept: where what is there now is to be kept.
        live_databases: paths of databases that are there now and that were restored too.
    """
    inside = any(path.startswith(target + "/") for path in live_databases)
    if target in live_databases:
        yield Swap(SQLITE, target, staged, kept, mark_of(target), mark_of(staged))
    elif not os.path.lexists(target):
        yield Swap(NEW, target, staged, kept, new=mark_of(staged))
    elif not inside or not _is_folder(target) or not _is_folder(staged):
        yield Swap(EXCHANGED, target, staged, kept, mark_of(target), mark_of(staged))
    else:
        yield from _plan_inside(staged, target, kept, live_databases)


def _plan_inside(staged: str, target: str, kept: str, live_databases: frozenset[str]) -> Iterator[Swap]:
    restored = set(os.listdir(staged))
    for name in sorted(restored | set(os.listdir(target))):
        path = os.path.join(target, name)
        if any(path == database + sidecar for database in live_databases for sidecar in SIDECARS):
            continue  # SQLite's own affair
        if name in restored:
            yield from plan_swaps(os.path.join(staged, name), path, os.path.join(kept, name), live_databases)
        else:
            yield Swap(REMOVED, path, "", os.path.join(kept, name), mark_of(path))


def is_live_database(path: str) -> bool:
    """Tell whether an SQLite database stands at a path."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.read(fd, len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


# --- doing -----------------------------------------------------------------------------------


def do_swap(swap: Swap, busy_timeout: float) -> None:
    """Do one swap; the journal must be on disk.

    Args:
        busy_timeout: seconds to wait for somebody who holds a database.

    Raises:
        OSError: it failed, and the old is where it was, or where the journal says.
        KuramoriError: a database could not be replaced; it is as it was.
    """
    if swap.kind == SQLITE:
        _make_folder_of(swap.kept)
        copy_database(Path(swap.target), Path(swap.kept), busy_timeout=busy_timeout)
        replace_database(Path(swap.staged), Path(swap.target), busy_timeout=busy_timeout)
        return
    if swap.kind == NEW:
        _move_sidecars(swap.target, swap.kept)
        move(swap.staged, swap.target)
    elif swap.kind == REMOVED:
        _make_folder_of(swap.kept)
        move(swap.target, swap.kept)
    else:
        _make_folder_of(swap.kept)
        _move_sidecars(swap.target, swap.kept)
        if exchange(swap.staged, swap.target):
            move(swap.staged, swap.kept)
        else:
            move(swap.target, swap.kept)
            move(swap.staged, swap.target)
    sync_folders_of(swap.target, swap.kept)


def _move_sidecars(target: str, kept: str) -> None:
    """Take the log and the journal of a database that is gone, or is none any more, away from where
    another will stand: SQLite would play them into it."""
    for sidecar in SIDECARS:
        if not _is_folder(target) and os.path.isfile(target + sidecar):
            move(target + sidecar, kept + sidecar)


def _make_folder_of(path: str) -> None:
    durable_file.make_folders(os.path.dirname(path), 0o700)


def sync_folders_of(*paths: str) -> None:
    """Make the names of files durable; empty paths are left out."""
    for folder in dict.fromkeys(os.path.dirname(path) for path in paths if path):
        durable_file.sync_folder(folder)


# --- taking back -----------------------------------------------------------------------------


def undo_swap(swap: Swap, undone: str, busy_timeout: float, *, done: bool) -> None:
    """Bring back what a swap replaced; what it had put there is kept at ``undone``. May be called again
    after it was broken off anywhere.

    Args:
        undone: where the restored thing goes.
        busy_timeout: seconds to wait for somebody who holds a database.
        done: the restore came to its end, so that what stands at the target is what it put there, or
            what somebody made of that since.

    Raises:
        OSError: it failed; the journal still says where everything is.
        UndoError: the old one is nowhere to be found.
    """
    if swap.kind == SQLITE:
        _undo_database(swap, undone, busy_timeout, done)
        return
    if swap.kind == NEW:
        if (done or mark_of(swap.target) == swap.new) and os.path.lexists(swap.target):
            _make_folder_of(undone)
            move(swap.target, undone)
        _bring_back_sidecars(swap)
        sync_folders_of(swap.target)
        return
    place = _find_old(swap, done)
    _make_folder_of(undone)
    if place == swap.target:
        # It was never replaced, or is back already and only the other one is not out of the way yet.
        _set_aside(swap.kept, swap, undone)
    elif os.path.lexists(swap.target) and exchange(place, swap.target):
        move(place, undone)
    else:
        if os.path.lexists(swap.target):
            move(swap.target, undone)
        move(place, swap.target)
    _bring_back_sidecars(swap)
    sync_folders_of(swap.target, swap.kept)


def _undo_database(swap: Swap, undone: str, busy_timeout: float, done: bool) -> None:
    """Bring back the rows of a database. Its copy was made before anything was replaced: where there is
    none, nothing was. The copy stays until all else is brought back."""
    if not os.path.lexists(swap.kept):
        if done:
            raise UndoError(path=swap.target, detail=N_("what was kept of it is not there any more"))
        return
    _make_folder_of(undone)
    if os.path.lexists(swap.target):
        copy_database(Path(swap.target), Path(undone), busy_timeout=busy_timeout)
    replace_database(Path(swap.kept), Path(swap.target), busy_timeout=busy_timeout)


def _find_old(swap: Swap, done: bool) -> str:
    """Return the path where the old one is now."""
    for path in (swap.target, swap.kept, swap.staged):
        if path and mark_of(path) == swap.old:
            return path
    # Some file systems number their files anew when they are mounted.
    if os.path.lexists(swap.kept) and (done or not os.path.lexists(swap.staged)):
        return swap.kept
    if not done and os.path.lexists(swap.target):
        return swap.target
    raise UndoError(path=swap.target, detail=N_("what was kept of it is not there any more"))


def _set_aside(path: str, swap: Swap, undone: str) -> None:
    if path and os.path.lexists(path) and swap.new != NO_MARK and mark_of(path) == swap.new:
        move(path, undone)


def _bring_back_sidecars(swap: Swap) -> None:
    for sidecar in SIDECARS:
        if os.path.lexists(swap.kept + sidecar) and not os.path.lexists(swap.target + sidecar):
            move(swap.kept + sidecar, swap.target + sidecar)


def remove_kept(path: str) -> None:
    """Remove what was kept at a path, whatever it is; nothing is fine.

    Raises:
        OSError: it cannot be removed.
    """
    for each in (path, *(path + sidecar for sidecar in SIDECARS)):
        if _is_folder(each):
            shutil.rmtree(each)
        elif os.path.lexists(each):
            os.unlink(each)
