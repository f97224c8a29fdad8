"""``diff``: what differs between two snapshots, as restic tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from kuramori.browsing.walk import ErrorHandler, WalkedNode, checked_name, subtree_of, walk_tree
from kuramori.errors import KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_nanoseconds
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter, resolve_tree


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How to compare."""

    metadata: bool = False
    """Also tell of entries of which only times, owner, mode and the like changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    path: bytes
    """Ends with a slash if it is a folder (in the second snapshot, where it is in both)."""
    modifier: str
    """``+`` added, ``-`` removed, ``M`` content changed, ``T`` type changed, ``U`` metadata
    changed, ``?`` content changed and nothing else (perhaps a failing disk); several may stand
    together."""


@dataclass(slots=True)
class DiffCounts:
    """What one side has and the other has not."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    bytes: int = 0
    """Plain bytes of these blobs."""

    def count(self, node: Node) -> None:
        """Count one entry."""
        if node.type == "file":
            self.files += 1
        elif node.type == "dir":
            self.dirs += 1
        else:
            self.others += 1


@dataclass(slots=True)
class DiffStatistics:
    """The sums; right once all changes were taken."""

    changed_files: int = 0
    added: DiffCounts = field(default_factory=DiffCounts)
    removed: DiffCounts = field(default_factory=DiffCounts)


_Blob = tuple[BlobType, Id]


@dataclass(frozen=True, slots=True)
class DiffResult:
    """Two snapshots compared."""

    first: StoredSnapshot
    second: StoredSnapshot
    changes: Iterator[Change]
    """The differences, in the order of names. May be taken once."""
    statistics: DiffStatistics
    """Filled in when :attr:`changes` is exhausted."""


def diff_snapshots(repository: Repository, first: str, second: str, options: DiffOptions | None = None,
                   snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT, *,
                   on_error: ErrorHandler | None = None) -> DiffResult:
    """Compare two snapshots, or subfolders of them (``ID:subfolder``); the index must be loaded.

    Memory: the ids of all blobs of both, and the trees of one path.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError, NoSuchPathError, NotADirectoryInSnapshotError: at
            once.
        DamagedError, StorageError: while iterating, if there is no ``on_error``.
    """
    options = options or DiffOptions()
    first_stored, first_tree, _ = resolve_tree(repository, first, snapshot_filter)
    second_stored, second_tree, _ = resolve_tree(repository, second, snapshot_filter)
    comparison = _Comparison(repository, options, on_error)
    return DiffResult(first_stored, second_stored, comparison.run(first_tree, second_tree),
                      comparison.statistics)


class _Comparison:
    def __init__(self, repository: Repository, options: DiffOptions, on_error: ErrorHandler | None) -> None:
        self.statistics = DiffStatistics()
        self._repository = repository
        self._options = options
        self._on_error = on_error
        self._before: set[_Blob] = set()
        self._after: set[_Blob] = set()
        self._common: set[_Blob] = set()

    def run(self, first: Id, second: Id) -> Iterator[Change]:
        self._before.add((BlobType.TREE, first))
        self._after.add((BlobType.TREE, second))
        if first != second:
            yield from self._compare_trees(b"", first, second)
        common = (self._before & self._after) | self._common
        self._sum_up(self.statistics.removed, self._before - common)
        self._sum_up(self.statistics.added, self._after - common)

    def _sum_up(self, counts: DiffCounts, blobs: set[_Blob]) -> None:
        for blob_type, blob_id in blobs:
            if blob_type is BlobType.DATA:
                counts.data_blobs += 1
            else:
                counts.tree_blobs += 1
            counts.bytes += self._repository.index.plain_length(blob_type, blob_id) or 0

    def _compare_trees(self, path: bytes, first: Id, second: Id) -> Iterator[Change]:
        # The stack holds the rest of each folder on the path: recursion would end at its limit.
        stack = [self._pairs(path, first, second)]
        while stack:
            pair = next(stack[-1], None)
            if pair is None:
                stack.pop()
                continue
            below, before, after = pair
            if before is not None and after is not None:
                yield from self._compare_nodes(below, before, after)
                inner = self._enter(below, before, after)
                if inner is not None:
                    stack.append(inner)
            elif before is not None:
                yield from self._one_sided(below, before, "-", self.statistics.removed, self._before)
            elif after is not None:
                yield from self._one_sided(below, after, "+", self.statistics.added, self._after)

    def _pairs(self, path: bytes, first: Id, second: Id) -> Iterator[tuple[bytes, Node | None, Node | None]]:
        before = self._nodes_by_name(path, first)
        after = self._nodes_by_name(path, second)
        for name in sorted(before.keys() | after.keys()):
            yield path + b"/" + name, before.get(name), after.get(name)

    def _nodes_by_name(self, path: bytes, tree: Id) -> dict[bytes, Node]:
        nodes: dict[bytes, Node] = {}
        try:
            found = self._repository.load_tree(tree).nodes
        except KuramoriError as error:
            self._report(path, error)
            return nodes
        for node in found:
            try:
                nodes[checked_name(path, node)] = node
            except KuramoriError as error:
                self._report(path, error)
        return nodes

    def _compare_nodes(self, path: bytes, before: Node, after: Node) -> Iterator[Change]:
        _add_blobs(self._before, before)
        _add_blobs(self._after, after)
        modifier = "T" if before.type != after.type else ""
        if before.type == after.type == "file" and before.content != after.content:
            modifier += "M"
            self.statistics.changed_files += 1
            if _comparable(before, with_content=False) == _comparable(after, with_content=False):
                modifier += "?"
        elif self._options.metadata and before != after and _comparable(before) != _comparable(after):
            modifier += "U"
        if modifier:
            yield Change(path + (b"/" if after.type == "dir" else b""), modifier)

    def _enter(self, path: bytes, before: Node,
               after: Node) -> Iterator[tuple[bytes, Node | None, Node | None]] | None:
        if before.type != "dir" or after.type != "dir":
            return None
        try:
            first, second = subtree_of(path, before), subtree_of(path, after)
        except KuramoriError as error:
            self._report(path, error)
            return None
        if first != second:
            return self._pairs(path, first, second)
        self._collect(path, first)
        return None

    def _collect(self, path: bytes, tree: Id) -> None:
        """Take in the blobs of a folder that is the same in both."""

        def is_new(walked: WalkedNode) -> bool:
            subtree = walked.node.subtree
            if subtree is None or subtree not in entered:
                entered.add(subtree or "")
                return True
            return False

        entered: set[str] = set()
        for walked in walk_tree(self._repository, tree, path, enter=is_new, on_error=self._on_error):
            _add_blobs(self._common, walked.node)

    def _one_sided(self, path: bytes, node: Node, modifier: str, counts: DiffCounts,
                   blobs: set[_Blob]) -> Iterator[Change]:
        folder = node.type == "dir"
        yield Change(path + (b"/" if folder else b""), modifier)
        counts.count(node)
        _add_blobs(blobs, node)
        if not folder:
            return
        try:
            tree = subtree_of(path, node)
        except KuramoriError as error:
            self._report(path, error)
            return
        for walked in walk_tree(self._repository, tree, path, on_error=self._on_error):
            yield Change(walked.path + (b"/" if walked.node.type == "dir" else b""), modifier)
            counts.count(walked.node)
            _add_blobs(blobs, walked.node)

    def _report(self, path: bytes, error: KuramoriError) -> None:
        if self._on_error is None:
            raise error
        self._on_error(path, error)


def _add_blobs(blobs: set[_Blob], node: Node) -> None:
    texts: list[str] = []
    kind = BlobType.DATA
    if node.type == "file":
        texts = node.content_ids
    elif node.type == "dir" and node.subtree is not None:
        texts, kind = [node.subtree], BlobType.TREE
    for text in texts:
        try:
            blobs.add((kind, parse_id(text)))
        except ValueError:
            continue  # no blob can have that id


def _comparable(node: Node, with_content: bool = True) -> tuple[object, ...]:
    """Return what restic compares: times as instants, extended attributes in any order."""
    attributes = sorted((entry.name, entry.value or b"") for entry in node.extended_attributes or ())
    plain = msgspec.structs.replace(
        node, mtime="", atime="", ctime="", extended_attributes=None,
        content=node.content if with_content else None)
    return (plain, attributes, *(_instant(text) for text in (node.mtime, node.atime, node.ctime)))


def _instant(text: str) -> object:
    try:
        return parse_nanoseconds(text)
    except ValueError:
        return text
