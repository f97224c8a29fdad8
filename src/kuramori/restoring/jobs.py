"""Files that are to be restored, and the options and results of a restore."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kuramori.errors import KuramoriError, RepositoryLockedError
from kuramori.model.node import Node
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter
from kuramori.restoring.selection import SelectionOptions


class Overwrite(enum.Enum):
    """What happens to a file that is there already; the names are restic's."""

    ALWAYS = "always"
    """Compare its content, replace it if it differs."""
    IF_CHANGED = "if-changed"
    """As always, but believe size and mtime where both are equal."""
    IF_NEWER = "if-newer"
    """Replace it if the snapshot's mtime is newer."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What to restore, where to and how."""

    target: bytes
    """The folder to restore into; it is made if it is not there."""
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    overwrite: Overwrite = Overwrite.ALWAYS
    delete: bool = False
    """Remove what is in restored folders of the target but not in the snapshot."""
    sparse: bool = False
    """Leave holes where blobs begin with zeros."""
    verify: bool = False
    """Read everything back and compare it with the snapshot."""
    dry_run: bool = False
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    """For ``latest``."""
    threads: int | None = None
    """Packs read at once; None for what suits the machine."""
    no_lock: bool = False
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None


@dataclass(slots=True)
class RestoreResult:
    """What came of it."""

    snapshot_id: str = ""
    items_total: int = 0
    """Files, folders and everything else that was selected."""
    items_restored: int = 0
    items_skipped: int = 0
    """Left as they were, by ``overwrite``."""
    items_deleted: int = 0
    bytes_total: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0
    files_verified: int = 0
    seconds: float = 0.0
    errors: list[KuramoriError] = field(default_factory=list)
    """What could not be restored. No file named here is left half written under its name."""


class FileJob:
    """A regular file whose content is to be written."""

    __slots__ = ("created", "error", "folder", "fresh_folder", "guard", "identity", "name", "node", "path",
                 "pieces", "remaining", "replaces", "size", "written_name")

    def __init__(self, folder: bytes, name: bytes, path: bytes, node: Node, fresh_folder: bool) -> None:
        """Begin with nothing written.

        Args:
            folder: path of its folder in the target.
            path: its path in the snapshot, for messages.
            fresh_folder: the folder was made by this restore.
        """
        self.folder = folder
        self.name = name
        self.path = path
        self.node = node
        self.fresh_folder = fresh_folder
        self.replaces = False
        """Something stands at its name that stays until the new file is whole."""
        self.written_name = name
        self.created = False
        self.identity = (0, 0)
        """Device and inode of the file we made: what has another is not ours to write to."""
        self.pieces = 0
        """Blobs that are to be written."""
        self.remaining = 0
        self.size = 0
        self.error: KuramoriError | None = None
        self.guard = threading.Lock()
