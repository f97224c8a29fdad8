"""Folders in which nothing changed since the parent snapshot, found out for all their entries at once.

Most folders are such, and most of a daily backup is looking at them. What is not plainly as the parent has it is left
to :mod:`kuramori.archiving.tree_builder`, which looks entry by entry and comes to the same result, more slowly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kuramori.archiving.metadata import OwnerNames
from kuramori.model.node import Node, to_go_mode
from kuramori.model.times import format_nanoseconds


@dataclass(slots=True)
class UnchangedContent:
    """What lies in a folder whose entries are those of the parent."""

    folders: dict[str, os.stat_result] = field(default_factory=dict)
    """Folders in it, by their names: what is in them is not known yet."""
    files: int = 0
    size: int = 0
    """Bytes of the files."""


class FolderComparer:
    """Compares whole folders with the parent. Used by one thread."""

    def __init__(self, names: OwnerNames, has_all: Callable[[list[str]], bool] | None) -> None:
        """Overlook nothing.

        Args:
            names: of the owners; they are in the nodes, too.
            has_all: tells whether the index knows all of some blobs (their ids, hexadecimal); None where that is known.
        """
        self._has_all = has_all
        self._names = names
        self._kinds: dict[int, tuple[str, int]] = {}
        """``st_mode`` -> type of the node and mode in it."""

    def compare(self, nodes: dict[str, Node], entries: Sequence[os.DirEntry[str]]) -> UnchangedContent | None:
        """Return what lies in a folder if it is just what the parent has: the same names, files and folders only,
        every file with the same metadata and with all its blobs in the index. None says nothing.

        Raises:
            OSError: an entry cannot be looked at.
        """
        if len(entries) != len(nodes):
            return None
        found = UnchangedContent()
        kinds, user, group = self._kinds, self._names.user, self._names.group
        content: list[str] = []
        for entry in entries:
            name = entry.name
            node = nodes.get(name)
            # A backslash in a node's name begins an escape: it may be that of another name.
            if node is None or "\\" in name:
                return None
            status = entry.stat(follow_symlinks=False)
            mode = status.st_mode
            kind = kinds.get(mode) or kinds.setdefault(mode, to_go_mode(mode))
            if kind[0] == "dir" and node.type == "dir":
                found.folders[name] = status
                continue
            if kind != ("file", node.mode) or node.type != "file":
                return None
            changed, modified = status.st_ctime_ns, status.st_mtime_ns
            mtime = format_nanoseconds(modified)
            if not (node.inode == status.st_ino and node.size == status.st_size and node.mtime == mtime
                    and node.ctime == (mtime if changed == modified else format_nanoseconds(changed))
                    and node.device_id == status.st_dev and node.links == status.st_nlink
                    and node.uid == status.st_uid and node.gid == status.st_gid
                    and node.user == user(status.st_uid) and node.group == group(status.st_gid)
                    and node.error == "" and isinstance(node.content, list)):
                return None
            content += node.content
            found.files += 1
            found.size += status.st_size
        return found if self._has_all is None or self._has_all(content) else None
