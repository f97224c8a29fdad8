"""Folders while they are being saved, and what is to be read of them."""

from __future__ import annotations

from dataclasses import dataclass

from kuramori.archiving.parent import ParentFolder
from kuramori.archiving.targets import Target
from kuramori.model.node import Node


class Folder:
    """A folder that is being saved."""

    __slots__ = ("before", "identity", "inner_target", "name", "node", "outer", "parent", "parent_node", "path",
                 "position", "reused", "scanned", "scouted", "slots", "snapshot_path", "unchanged", "unfinished")

    def __init__(self, name: bytes, path: bytes, snapshot_path: bytes, outer: Folder | None, position: int,
                 parent_node: Node | None) -> None:
        """Begin with nothing known of what is in it."""
        self.name = name
        self.path = path
        self.snapshot_path = snapshot_path
        self.outer = outer
        self.position = position
        self.parent_node = parent_node
        self.parent: ParentFolder | None = None
        self.node: Node | None = None
        self.identity: tuple[int, int] | None = None
        """Device and inode that it had when it was found."""
        self.before: bytes | None = None
        """Its tree in the parent, once it was read; empty if that failed."""
        self.scouted = False
        self.unchanged = False
        """Whether it has no folders and is as the parent has it; then there are no slots."""
        self.slots: list[Node | bytes | None] = []
        self.unfinished = 0
        self.reused = 0
        """Slots that hold the very node of the parent."""
        self.scanned = False
        self.inner_target: Target | None = None


@dataclass(slots=True)
class FileTask:
    """Files of one folder that must be read."""

    folder: Folder
    names: list[bytes]
    positions: list[int]
    parents: list[Node | None]
    size: int = 0
    """Sum of their sizes in bytes, as far as known."""
