"""The snapshot that a backup compares with (format section 5.1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from kuramori.errors import N_, KuramoriError, Phrase, UsageError
from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.times import format_nanoseconds, parse_nanoseconds
from kuramori.progress import Progress
from kuramori.repository.repository import Repository, parse_tree
from kuramori.repository.snapshots import find_snapshot, load_snapshots
from kuramori.repository.transfers import is_remote
from kuramori.storage.backend import FileType

_GROUPS = ("host", "paths", "tags")


@dataclass(frozen=True, slots=True)
class ParentOptions:
    """How the parent is chosen and compared with."""

    snapshot: str = ""
    """A snapshot by id, prefix or ``latest``; empty for the newest that fits."""
    force: bool = False
    """Read everything again; no parent."""
    group_by: tuple[str, ...] = ("host", "paths")
    """What the parent must have in common: of ``host``, ``paths``, ``tags``."""
    ignore_inode: bool = False
    """Do not compare inode numbers, nor ctimes."""
    ignore_ctime: bool = False


def check_parent_options(options: ParentOptions) -> None:
    """Raise if the options make no sense.

    Raises:
        UsageError: a group that does not exist.
    """
    unknown = [group for group in options.group_by if group not in _GROUPS]
    if unknown:
        raise UsageError(
            detail=Phrase(N_("snapshots are grouped by host, paths or tags, not by {name}"), name=unknown[0]))


def choose_parent(repository: Repository, options: ParentOptions, snapshot: Snapshot,
                  progress: Progress) -> StoredSnapshot | None:
    """Return the newest snapshot of the same host and of (at least) the same paths that is not
    newer than ``snapshot``; None if there is none or it is not wanted.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError: the snapshot that was asked for.
    """
    if options.force:
        return None
    if options.snapshot:
        return find_snapshot(repository, options.snapshot)
    limit = snapshot.time_nanoseconds
    for candidate in reversed(load_snapshots(repository, progress)):
        if candidate.snapshot.time_nanoseconds <= limit and _fits(candidate.snapshot, snapshot, options.group_by):
            return candidate
    return None


def seems_new(repository: Repository) -> bool:
    """Tell whether the store lists neither a snapshot nor an index file of a repository far away of which this machine
    knows no snapshot. An empty listing is believed only where a second one agrees; here it is the one of another kind
    of file. If both were wrong, all is stored again, and nothing is lost.

    Raises:
        StorageError: a listing failed.
    """
    if not is_remote(repository.backend) or repository.ledger is None or repository.ledger.compare(set()).known:
        return False
    return not any(repository.backend.list(FileType.SNAPSHOT)) and not any(repository.backend.list(FileType.INDEX))


def _fits(candidate: Snapshot, snapshot: Snapshot, group_by: Sequence[str]) -> bool:
    if "host" in group_by and candidate.hostname != snapshot.hostname:
        return False
    if "paths" in group_by and not set(snapshot.paths) <= set(candidate.paths):
        return False
    return "tags" not in group_by or set(candidate.tags or ()) == set(snapshot.tags or ())


class ParentFolder:
    """A folder of the parent snapshot: its nodes by their (quoted) names."""

    __slots__ = ("nodes", "tree_id")

    def __init__(self, tree_id: str, nodes: dict[str, Node]) -> None:
        """Keep them; ``tree_id`` is hexadecimal."""
        self.tree_id = tree_id
        self.nodes = nodes


class ParentReader:
    """Reads the parent's folders, and tells which files are unchanged."""

    def __init__(self, repository: Repository, options: ParentOptions, progress: Progress,
                 parent: StoredSnapshot | None) -> None:
        """Read from ``repository``, whose index is loaded; ``parent`` is where the folders come from."""
        self._repository = repository
        self._progress = progress
        self._ignore_inode = options.ignore_inode
        self._ignore_ctime = options.ignore_ctime or options.ignore_inode
        self.compares_ctime = not self._ignore_ctime
        self.compares_all = not (self._ignore_ctime or self._ignore_inode)
        """Whether nothing is to be overlooked."""
        notes = repository.complete_snapshots
        self.is_complete = (notes is not None and parent is not None and not repository.distrusted
                            and notes.is_complete(parent.id, repository.index_names))
        """Whether it is known that the index knows all blobs of the parent."""

    def folder(self, tree_id: str | None, path: bytes) -> ParentFolder | None:
        """Return a folder by its tree's hexadecimal id. One that cannot be read is warned of and
        treated as if there were none."""
        document = self.document(tree_id, path)
        return None if document is None or tree_id is None else self.parse(tree_id, document, path)

    def document(self, tree_id: str | None, path: bytes) -> bytes | None:
        """Return the tree of a folder as it is stored. One that cannot be read is warned of and treated as if there
        were none."""
        if tree_id is None:
            return None
        try:
            return self._repository.load_blob(BlobType.TREE, Id(bytes.fromhex(tree_id)))
        except (KuramoriError, ValueError) as error:
            self._warn(path, error)
            return None

    def parse(self, tree_id: str, document: bytes, path: bytes) -> ParentFolder | None:
        """Return the folder whose tree was read; as :meth:`folder` does."""
        try:
            tree = parse_tree(document, Id(bytes.fromhex(tree_id)))
        except KuramoriError as error:
            self._warn(path, error)
            return None
        return ParentFolder(tree_id, {node.name: node for node in tree.nodes})

    def _warn(self, path: bytes, error: Exception) -> None:
        self._progress.warning(KuramoriError(
            detail=Phrase(N_("the parent's folder {path} cannot be read: {error}"),
                          path=display_text(path), error=error)))

    def is_unchanged(self, node: Node | None, status: os.stat_result, changed: int | None = None, *,
                     any_size: bool = False) -> bool:
        """Tell whether a regular file is as the parent has it: equal size, mtime, ctime and inode,
        and every blob of it in the index (so that lost ones are healed by reading again).

        Args:
            changed: nanoseconds to compare instead of the ctime.
            any_size: do not compare the size.
        """
        if node is None or node.type != "file" or (node.size != status.st_size and not any_size):
            return False
        if not self._ignore_inode and node.inode != status.st_ino:
            return False
        if not _same_instant(node.mtime, status.st_mtime_ns):
            return False
        ctime = status.st_ctime_ns if changed is None else changed
        equal = ctime == status.st_mtime_ns and node.ctime == node.mtime
        if not self._ignore_ctime and not equal and not _same_instant(node.ctime, ctime):
            return False
        if not isinstance(node.content, list):
            return False
        return self.has_all(node.content)

    def has_all(self, content: list[str]) -> bool:
        """Tell whether the index knows all these data blobs of the parent; they are named in hexadecimal."""
        if self.is_complete:
            return True
        has = self._repository.has_sound if self._repository.distrusted else self._repository.index.has
        try:
            return all(has(BlobType.DATA, bytes.fromhex(blob_id)) for blob_id in content)
        except ValueError:
            return False


def same_metadata(node: Node, status: os.stat_result, ctime_compared: bool) -> bool:
    """Tell whether the metadata of an unchanged file is as the node has it, so that the node can be
    kept as it is. An equal ctime means that attributes are the same too.

    Args:
        ctime_compared: True if :meth:`ParentReader.is_unchanged` did that already.
    """
    return (
        node.device_id == status.st_dev and node.links == status.st_nlink
        and node.uid == status.st_uid and node.gid == status.st_gid
        and node.permissions == (status.st_mode & 0o7777) and node.inode == status.st_ino
        and (ctime_compared or _same_instant(node.ctime, status.st_ctime_ns)) and node.error == ""
    )


def _same_instant(text: str, nanoseconds: int) -> bool:
    if text == format_nanoseconds(nanoseconds):
        return True
    try:
        return parse_nanoseconds(text) == nanoseconds
    except ValueError:
        return False
