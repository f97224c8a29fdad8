"""Going through the nodes of a snapshot, depth first, as ``restic ls`` orders them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import NamedTuple

from kuramori.errors import N_, DamagedError, HostileNameError, KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.names import are_plain, display_text, name_problem
from kuramori.model.node import Node
from kuramori.repository.repository import Repository

MAXIMUM_DEPTH = 4096
"""Folders nest no deeper: no system's path holds more components, and each level takes memory."""

ErrorHandler = Callable[[bytes, KuramoriError], None]
"""Called with the path of the folder or node that cannot be read, and with what is wrong."""


class WalkedNode(NamedTuple):
    """One entry of a snapshot."""

    path: bytes
    node: Node
    tree: Id
    """The tree that holds the node."""


def walk_tree(repository: Repository, tree: Id, path: bytes = b"", *,
              enter: Callable[[WalkedNode], bool] | None = None,
              on_error: ErrorHandler | None = None) -> Iterator[WalkedNode]:
    """Yield every node below a tree: a folder before what it holds, names in the tree's order.

    Memory holds the trees of one path and nothing else.

    Args:
        tree: where to begin.
        path: the path of that tree; empty for the root.
        enter: asked for each folder, after it was yielded, whether to go into it.
        on_error: takes what cannot be read, which is then passed over. Without it, it is raised.

    Raises:
        DamagedError, StorageError: a tree cannot be read, or a folder has none.
        HostileNameError: a name could leave its folder.
    """
    stack = [_load_entries(repository, tree, path, on_error)]
    while stack:
        walked = next(stack[-1], None)
        if walked is None:
            stack.pop()
            continue
        yield walked
        node = walked.node
        if node.type != "dir" or (enter is not None and not enter(walked)):
            continue
        try:
            subtree = subtree_of(walked.path, node)
            if len(stack) >= MAXIMUM_DEPTH:
                raise DamagedError(what=folder_name(walked.path), detail=N_("folders nest too deeply"))
        except DamagedError as error:
            _report(on_error, walked.path, error)
            continue
        stack.append(_load_entries(repository, subtree, walked.path, on_error))


def subtree_of(path: bytes, node: Node) -> Id:
    """Return the tree of a folder's node.

    Raises:
        DamagedError: it names none.
    """
    if node.subtree is None:
        raise DamagedError(what=folder_name(path), detail=N_("it names no tree"))
    try:
        return parse_id(node.subtree)
    except ValueError as error:
        raise DamagedError(what=folder_name(path), detail=str(error)) from None


def checked_name(path: bytes, node: Node) -> bytes:
    """Return a node's name, safe to be put behind ``path`` and a slash.

    Raises:
        DamagedError: it is malformed.
        HostileNameError: it is no name of a file.
    """
    try:
        name = node.name_bytes
    except ValueError as error:
        raise DamagedError(what=folder_name(path), detail=str(error)) from None
    problem = name_problem(name)
    if problem:
        raise HostileNameError(path=display_text(path + b"/" + name), detail=problem)
    return name


def folder_name(path: bytes) -> str:
    """Return how messages speak of a folder of a snapshot."""
    return f"the folder {display_text(path) or '/'}"


def _load_entries(repository: Repository, tree: Id, path: bytes,
                  on_error: ErrorHandler | None) -> Iterator[WalkedNode]:
    try:
        nodes = repository.load_tree(tree).nodes
    except KuramoriError as error:
        _report(on_error, path, error)
        return iter(())
    names = [node.name for node in nodes]
    if not are_plain(names):
        return _checked_entries(nodes, tree, path, on_error)
    above = path + b"/"
    return map(WalkedNode, [above + name.encode("utf-8", "surrogatepass") for name in names], nodes, repeat(tree))


def _checked_entries(nodes: list[Node], tree: Id, path: bytes, on_error: ErrorHandler | None) -> Iterator[WalkedNode]:
    for node in nodes:
        try:
            name = checked_name(path, node)
        except KuramoriError as error:
            _report(on_error, path, error)
        else:
            yield WalkedNode(path + b"/" + name, node, tree)


def _report(on_error: ErrorHandler | None, path: bytes, error: KuramoriError) -> None:
    if on_error is None:
        raise error
    on_error(path, error)
