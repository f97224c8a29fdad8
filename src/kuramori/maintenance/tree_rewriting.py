"""Making new trees from old ones: the walk that ``rewrite`` and ``repair snapshots`` share.

What is not changed stays byte for byte: nodes are taken over as they are encoded, and a tree of
which nothing changed keeps its id, whatever program wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from kuramori.errors import (
    N_,
    DamagedError,
    FileNotInStorageError,
    KuramoriError,
    LossyTreeError,
    Phrase,
    ShortReadError,
)
from kuramori.ids import Id, parse_id
from kuramori.maintenance.tree_store import TreeStore
from kuramori.maintenance.tree_visits import MAXIMUM_DEPTH
from kuramori.model.blob import BlobType
from kuramori.model.names import display_text
from kuramori.model.node import Node, decode_node, encode_node
from kuramori.model.tree import EMPTY_TREE, encode_tree, join_nodes, split_nodes
from kuramori.repository.repository import Repository

_NO_TIME = "0001-01-01T00:00:00Z"
_NO_OWNER = 2**64 - 1


class Rewritten(NamedTuple):
    """What became of a tree."""

    tree: Id | None
    """The new tree, or the old one where nothing changed; None if nothing takes its place."""
    files: int = 0
    """Files in it and below, each counted wherever it stands."""
    bytes: int = 0


class Place(NamedTuple):
    """Where a tree was met first."""

    snapshot: str
    """The first digits of its id."""
    path: str


class TreePolicy:
    """Decides what becomes of what is in trees. This one changes nothing."""

    by_path = False
    """Whether the same tree may become different ones in different places."""
    exact = False
    """Whether every tree must be one that our encoder would write just so. What it cannot say would
    be lost otherwise."""

    def entry(self, node: Node, path: bytes) -> Node | None:
        """Return what takes a node's place: itself if it stays as it is, another one, or None."""
        return node

    def unreadable(self, path: bytes, error: KuramoriError) -> bool:
        """Decide about a tree that cannot be read: True to put an empty one in its place, False to
        leave its folder out.

        Args:
            path: of the folder; empty for the root.

        Raises:
            KuramoriError: to end it all.
        """
        raise error

    def keeps_empty(self, path: bytes) -> bool:
        """Tell whether a folder stays in which nothing is."""
        return True

    def again(self, path: bytes, first: Place) -> None:
        """Take note of a tree that has changed and was met before, at ``first``."""


def is_damage(error: KuramoriError) -> bool:
    """Tell whether something that could not be read is gone for good. What a network or a disk
    refuses now may be there tomorrow, and nothing may be given up because of it."""
    return isinstance(error, (DamagedError, FileNotInStorageError, ShortReadError))


class _Folder:
    """A folder that is being gone through."""

    def __init__(self, tree_id: Id, path: bytes, entries: list[tuple[bytes, Node]]) -> None:
        self.tree_id = tree_id
        self.path = path
        self.waiting: Iterator[tuple[bytes, Node]] = iter(entries)
        self.changed = False
        self.parts: list[bytes] = []
        self.files = self.bytes = 0
        self.entered: tuple[bytes, Node, Node] | None = None
        """The folder in it that is being gone through: encoded, as it was, as it shall be."""

    def take(self, encoded: bytes, old: Node, new: Node) -> None:
        """Take what takes a node's place."""
        if new is not old:
            encoded = encode_node(_complete(new))
            self.changed = True
        self.parts.append(encoded)
        if new.type == "file":
            self.files += 1
            self.bytes += new.size

    def take_entered(self, below: Rewritten) -> None:
        """Take the folder that was gone through."""
        assert self.entered is not None
        encoded, old, new = self.entered
        self.entered = None
        self.files += below.files
        self.bytes += below.bytes
        if below.tree is None:
            self.changed = True
            return
        if new.subtree != below.tree.hex():
            new = msgspec.structs.replace(new, subtree=below.tree.hex())
        self.take(encoded, old, new)


class TreeRewriter:
    """Rewrites the trees of snapshots, each different one once. Used by one thread."""

    def __init__(self, repository: Repository, store: TreeStore, policy: TreePolicy) -> None:
        """Read from ``repository``, whose index is loaded, and write into ``store``."""
        self._repository = repository
        self._store = store
        self._policy = policy
        self._known: dict[tuple[Id, bytes], tuple[Rewritten, Place]] = {}
        self._snapshot = ""

    def rewrite(self, root: Id, snapshot: str) -> Rewritten:
        """Rewrite a tree and all below.

        Args:
            snapshot: the first digits of the id of the snapshot whose root it is.

        Raises:
            LossyTreeError: the policy is exact, and a tree says more than our encoder can.
            DamagedError, StorageError: a tree cannot be read, and the policy did not accept that.
        """
        self._snapshot = snapshot
        folders: list[_Folder] = []
        finished = self._enter(root.hex(), b"", folders)
        while folders:
            folder = folders[-1]
            if finished is not None:
                folder.take_entered(finished)
            finished = self._go_on(folder, folders)
        assert finished is not None
        return finished

    def _go_on(self, folder: _Folder, folders: list[_Folder]) -> Rewritten | None:
        """Go on in a folder until one below must be entered (None), or to its end."""
        for encoded, node in folder.waiting:
            path = folder.path + b"/" + name_or_text(node)
            new = self._policy.entry(node, path)
            if new is None:
                folder.changed = True
            elif new.type != "dir":
                folder.take(encoded, node, new)
            else:
                folder.entered = encoded, node, new
                finished = self._enter(new.subtree, path, folders)
                if finished is None:
                    return None
                folder.take_entered(finished)
        folders.pop()
        return self._finish(folder)

    def _enter(self, tree: str | None, path: bytes, folders: list[_Folder]) -> Rewritten | None:
        """Return what became of a tree, or begin with it and return None."""
        try:
            tree_id = _tree_id(tree)
            known = self._known.get((tree_id, path if self._policy.by_path else b""))
            if known is not None:
                if known[0].tree != tree_id:
                    self._policy.again(path, known[1])
                return known[0]
            if len(folders) >= MAXIMUM_DEPTH:
                raise DamagedError(what=N_("the folder"), detail=N_("folders nest too deeply"))
            folders.append(_Folder(tree_id, path, self._load(tree_id, path)))
        except KuramoriError as error:
            if not is_damage(error):
                raise
            return Rewritten(self._store.store(EMPTY_TREE) if self._policy.unreadable(path, error) else None)
        return None

    def _load(self, tree_id: Id, path: bytes) -> list[tuple[bytes, Node]]:
        document = self._repository.load_blob(BlobType.TREE, tree_id)
        try:
            entries = [(encoded, decode_node(encoded)) for encoded in split_nodes(document)]
            if self._policy.exact:
                for _, node in entries:
                    node.name_bytes  # noqa: B018 - raises for a malformed name
        except (msgspec.DecodeError, ValueError) as error:
            raise DamagedError(what=Phrase(N_("tree {id}"), id=tree_id.hex()), detail=str(error)) from None
        if self._policy.exact and encode_tree(node for _, node in entries) != document:
            raise LossyTreeError(path=display_text(path or b"/"), snapshot=self._snapshot, tree=tree_id.hex())
        return entries

    def _finish(self, folder: _Folder) -> Rewritten:
        if not folder.parts and not self._policy.keeps_empty(folder.path):
            return Rewritten(None)
        tree_id = self._store.store(join_nodes(folder.parts)) if folder.changed else folder.tree_id
        finished = Rewritten(tree_id, folder.files, folder.bytes)
        place = Place(self._snapshot, display_text(folder.path or b"/"))
        self._known[folder.tree_id, folder.path if self._policy.by_path else b""] = finished, place
        return finished


def name_or_text(node: Node) -> bytes:
    """Return the name of a node, or what stands there where that is malformed."""
    try:
        return node.name_bytes
    except ValueError:
        return node.name.encode("utf-8", "surrogatepass")


def _tree_id(text: str | None) -> Id:
    try:
        return parse_id(text or "")
    except ValueError:
        raise DamagedError(what=N_("the folder"), detail=N_("it names no tree")) from None


def _complete(node: Node) -> Node:
    """Return a node that is to be encoded anew with the fields that restic always writes."""
    return msgspec.structs.replace(
        node,
        mtime=_NO_TIME if node.mtime.endswith(" ") else node.mtime,
        atime=_NO_TIME if node.atime.endswith(" ") else node.atime,
        ctime=_NO_TIME if node.ctime.endswith(" ") else node.ctime,
        uid=0 if node.uid == _NO_OWNER else node.uid,
        gid=0 if node.gid == _NO_OWNER else node.gid,
        content=None if node.content is msgspec.UNSET else node.content,
    )
