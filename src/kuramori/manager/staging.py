"""Bringing a path of a snapshot to a place beside its target, every byte of it verified."""

from __future__ import annotations

import ctypes
import glob
import os
import re
import shutil
from collections.abc import Container
from dataclasses import dataclass

from kuramori.errors import (
    N_,
    DamagedError,
    KuramoriError,
    RestoreError,
    RestoreTargetError,
    StorageError,
    VerificationError,
)
from kuramori.manager.restore_plan import Placement
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from kuramori.restoring.selection import SelectionOptions
from kuramori.storage import durable_file

_SPECIAL = re.compile(rb"([\\*?\[\]])")


@dataclass(slots=True)
class Staged:
    """Something restored that waits beside its target."""

    placement: Placement
    folder: str
    """The staging folder, ours alone."""
    files: int = 0
    size_bytes: int = 0

    @property
    def path(self) -> str:
        """Where it waits."""
        return os.path.join(self.folder, os.path.basename(self.placement.path) or "root")

    def discard(self) -> None:
        """Remove the staging folder and what is left in it. May be called twice."""
        shutil.rmtree(self.folder, ignore_errors=True)


def stage(repository: Repository, snapshot_id: str, placement: Placement, restore_id: str,
          progress: Progress) -> Staged:
    """Restore one path of a snapshot beside its target and read it back.

    Raises:
        RestoreTargetError: nothing can be written there.
        RestoreError: some of it could not be restored; the first of what went wrong.
        DamagedError, StorageError, RepositoryLockedError: the repository.
    """
    target = placement.target
    folder = _staging_prefix(target) + restore_id
    try:
        durable_file.make_folders(os.path.dirname(target), 0o777)
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise RestoreTargetError(path=target, detail=error.strerror or str(error)) from None
    staged = Staged(placement, folder)
    try:
        _restore(repository, snapshot_id, staged, progress)
    except BaseException:
        staged.discard()
        raise
    return staged


def _staging_prefix(target: str) -> str:
    """Return the beginning of the paths of staging folders for a target."""
    return os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:60]}.kuramori-restore-")


def remove_leftovers(target: str, known: Container[str]) -> None:
    """Remove the staging folders of restores to a target that were killed before they replaced
    anything. The job must be held.

    Args:
        known: the staging folders that a journal names: what is in them may be wanted.
    """
    prefix = _staging_prefix(target)
    for path in glob.glob(glob.escape(prefix) + "*", include_hidden=True):
        if path not in known:
            shutil.rmtree(path, ignore_errors=True)


def _restore(repository: Repository, snapshot_id: str, staged: Staged, progress: Progress) -> None:
    above, name = os.path.split(staged.placement.path)
    pattern = b"/" + _SPECIAL.sub(rb"\\\1", os.fsencode(name))
    result = restore(repository, f"{snapshot_id}:{above}", RestoreOptions(
        target=os.fsencode(staged.folder), selection=SelectionOptions(includes=(pattern,)), verify=True), progress)
    if result.errors:
        raise result.errors[0]
    if not os.path.lexists(staged.path):
        raise RestoreError(path=staged.placement.path, detail=N_("the snapshot does not hold it"))
    staged.files, staged.size_bytes = result.files_verified, result.bytes_restored


def repository_is_to_blame(error: KuramoriError) -> bool:
    """Tell whether another repository may do better: what was read was damaged or could not be read."""
    if isinstance(error, (DamagedError, StorageError, VerificationError)):
        return True
    detail = error.fields.get("detail")
    return isinstance(error, RestoreError) and isinstance(detail, (DamagedError, StorageError))


def sync_everything(path: str) -> None:
    """Return when all that was written to the file system of ``path`` is on the disk.

    Raises:
        OSError: it may not be there.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        os.sync()
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
