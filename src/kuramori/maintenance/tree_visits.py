"""Going through the trees of many snapshots, each different tree once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kuramori.errors import N_, DamagedError, KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.tree import Tree
from kuramori.repository.repository import Repository

MAXIMUM_DEPTH = 4096
"""Folders nest no deeper: no system's path holds more components."""


class TreeVisit(NamedTuple):
    """A tree at the first place where it was met."""

    snapshot: StoredSnapshot
    tree_id: Id
    tree: Tree
    names: tuple[str, ...]
    """The quoted names of the folders from the snapshot's root down to this one."""

    def path(self, name: str = "") -> str:
        """Return the path of the folder, or of an entry with this quoted name, for people."""
        return display_path((*self.names, name) if name else self.names)


TreeErrorHandler = Callable[[StoredSnapshot, str, Id, KuramoriError], None]
"""Called with the snapshot, the path, the tree that cannot be read, and why."""


def display_path(names: Iterable[str]) -> str:
    """Return the path that quoted names make. They are shown as they are: damaged names too."""
    return "/" + "/".join(names)


class _Folder(NamedTuple):
    name: str
    tree_id: Id


def visit_trees(repository: Repository, snapshots: Iterable[StoredSnapshot], on_error: TreeErrorHandler,
                on_snapshot: Callable[[StoredSnapshot], None] | None = None) -> Iterator[TreeVisit]:
    """Yield every different tree below the snapshots once.

    Memory: 32 bytes and some for each tree seen, and the folders that wait on one path.

    Args:
        on_error: takes what cannot be read; what lies below is passed over.
        on_snapshot: called after each snapshot.
    """
    seen: set[Id] = set()
    for stored in snapshots:
        yield from _visit_snapshot(repository, stored, seen, on_error)
        if on_snapshot is not None:
            on_snapshot(stored)


def _visit_snapshot(repository: Repository, stored: StoredSnapshot, seen: set[Id],
                    on_error: TreeErrorHandler) -> Iterator[TreeVisit]:
    # Each level: the folders that are still to be entered. ``names`` runs along.
    levels: list[list[_Folder]] = [[_Folder("", Id(bytes.fromhex(stored.snapshot.tree)))]]
    names: list[str] = []
    while levels:
        if not levels[-1]:
            levels.pop()
            if names:
                names.pop()
            continue
        folder = levels[-1].pop()
        if folder.tree_id in seen:
            continue
        seen.add(folder.tree_id)
        here = (*names, folder.name) if len(levels) > 1 else ()
        try:
            if len(levels) > MAXIMUM_DEPTH:
                raise DamagedError(what=N_("the folder"), detail=N_("folders nest too deeply"))
            tree = repository.load_tree(folder.tree_id)
        except KuramoriError as error:
            on_error(stored, display_path(here), folder.tree_id, error)
            continue
        yield TreeVisit(stored, folder.tree_id, tree, here)
        below = _folders(tree.nodes, seen)
        if below:
            if len(levels) > 1:
                names.append(folder.name)
            levels.append(below)


def named_folders(nodes: Iterable[Node]) -> list[tuple[str, bytes]]:
    """Return quoted name and tree of each folder among nodes; those that name no tree are left out."""
    found: list[tuple[str, bytes]] = []
    for node in nodes:
        if node.type != "dir" or node.subtree is None:
            continue
        try:
            found.append((node.name, parse_id(node.subtree)))
        except ValueError:
            continue
    return found


def _folders(nodes: list[Node], seen: set[Id]) -> list[_Folder]:
    """Return the folders among nodes that were not seen yet, the last one first."""
    return [_Folder(name, Id(tree)) for name, tree in reversed(named_folders(nodes)) if tree not in seen]
