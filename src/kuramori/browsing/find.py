"""``find``: entries of snapshots by pattern, or by the id of a blob, a tree or a pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kuramori.browsing.walk import ErrorHandler, WalkedNode, subtree_of, walk_tree
from kuramori.errors import AmbiguousIdError, DamagedError, NoSuchObjectError, UsageError
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_nanoseconds
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter, find_snapshot, load_snapshots
from kuramori.sources.patterns import PatternList


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What to look for, and where."""

    patterns: tuple[bytes, ...] = ()
    """restic's patterns; one that begins with a slash matches whole paths. Any may match."""
    ignore_case: bool = False
    oldest: int | None = None
    """Leave out entries modified before this (nanoseconds since 1970 UTC)."""
    newest: int | None = None
    """Leave out entries modified after this (nanoseconds since 1970 UTC)."""
    snapshots: tuple[str, ...] = ()
    """Look only into these (ids, beginnings of ids, ``latest``); empty for all that the filter
    matches."""
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    blobs: tuple[str, ...] = ()
    """Ids, or beginnings of ids, of data blobs."""
    trees: tuple[str, ...] = ()
    """Ids, or beginnings of ids, of trees."""
    packs: tuple[str, ...] = ()
    """Ids, or beginnings of ids, of packs: everything that refers to a blob of theirs."""


@dataclass(frozen=True, slots=True)
class FoundEntries:
    """The entries of one snapshot that match; iterate them before the next snapshot is taken."""

    snapshot: StoredSnapshot
    entries: Iterator[WalkedNode]


@dataclass(frozen=True, slots=True)
class FoundObject:
    """A place in a snapshot that refers to a blob or tree."""

    type: BlobType
    id: Id
    path: bytes
    """The file, or the folder (empty for the snapshot's root)."""
    parent_tree: Id | None
    """The tree that holds the file's node; None for a tree."""
    snapshot: StoredSnapshot


def chosen_snapshots(repository: Repository, names: tuple[str, ...],
                     snapshot_filter: SnapshotFilter) -> list[StoredSnapshot]:
    """Return the snapshots that are named, in that order, or all that the filter matches, the
    newest first.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError
    """
    if names:
        return [find_snapshot(repository, name, snapshot_filter) for name in names]
    matching = [stored for stored in load_snapshots(repository) if snapshot_filter.matches(stored.snapshot)]
    matching.reverse()
    return matching


def find(repository: Repository, options: FindOptions, *,
         on_error: ErrorHandler | None = None) -> Iterator[FoundEntries]:
    """Yield for each snapshot, the newest first, its entries that match a pattern.

    Raises:
        UsageError: there is no pattern, or one is malformed.
        NoSuchSnapshotError, AmbiguousIdError: a snapshot that was named.
        DamagedError, StorageError: a folder cannot be read and there is no ``on_error``.
    """
    patterns = PatternList(options.patterns, options.ignore_case)
    if not patterns:
        raise UsageError(detail="there is no pattern to look for")
    for stored in chosen_snapshots(repository, options.snapshots, options.snapshot_filter):
        yield FoundEntries(stored, _matching(repository, stored, patterns, options, on_error))


def _matching(repository: Repository, stored: StoredSnapshot, patterns: PatternList, options: FindOptions,
              on_error: ErrorHandler | None) -> Iterator[WalkedNode]:
    def enter(walked: WalkedNode) -> bool:
        return patterns.may_match_child(walked.path)

    tree = parse_id(stored.snapshot.tree)
    for walked in walk_tree(repository, tree, enter=enter, on_error=on_error):
        if patterns.matches(walked.path) and _in_time(walked, options):
            yield walked


def _in_time(walked: WalkedNode, options: FindOptions) -> bool:
    if options.oldest is None and options.newest is None:
        return True
    try:
        modified = parse_nanoseconds(walked.node.mtime)
    except ValueError:
        return False
    if options.oldest is not None and modified < options.oldest:
        return False
    return options.newest is None or modified <= options.newest


# --- by id ---------------------------------------------------------------------------------------


def find_objects(repository: Repository, options: FindOptions, *,
                 on_error: ErrorHandler | None = None) -> Iterator[FoundObject]:
    """Yield every file and folder of the snapshots that refers to a wanted blob, tree or pack.

    Raises:
        NoSuchObjectError, AmbiguousIdError: an id that is not in the index.
        NoSuchSnapshotError: a snapshot that was named.
        DamagedError, StorageError: a folder cannot be read and there is no ``on_error``.
    """
    wanted = _WantedObjects(repository, options)
    for stored in chosen_snapshots(repository, options.snapshots, options.snapshot_filter):
        root = parse_id(stored.snapshot.tree)
        if root in wanted.trees:
            yield FoundObject(BlobType.TREE, root, b"", None, stored)
        for walked in walk_tree(repository, root, on_error=on_error):
            yield from wanted.found_in(walked, stored)


class _WantedObjects:
    def __init__(self, repository: Repository, options: FindOptions) -> None:
        self.blobs = {_resolve(repository, BlobType.DATA, text) for text in options.blobs}
        self.trees = {_resolve(repository, BlobType.TREE, text) for text in options.trees}
        packs = {_resolve_pack(repository, text) for text in options.packs}
        if packs:
            for blob in repository.index.blobs():
                if blob.pack in packs:
                    (self.blobs if blob.type is BlobType.DATA else self.trees).add(blob.id)

    def found_in(self, walked: WalkedNode, stored: StoredSnapshot) -> Iterator[FoundObject]:
        node = walked.node
        if node.type == "dir" and self.trees:
            tree = _tree_or_none(walked.path, node)
            if tree in self.trees and tree is not None:
                yield FoundObject(BlobType.TREE, tree, walked.path, None, stored)
        elif node.type == "file" and self.blobs:
            for blob_id in _content(node):
                if blob_id in self.blobs:
                    yield FoundObject(BlobType.DATA, blob_id, walked.path, walked.tree, stored)


def _tree_or_none(path: bytes, node: Node) -> Id | None:
    try:
        return subtree_of(path, node)
    except DamagedError:
        return None  # the walk reports it when it goes in


def _content(node: Node) -> Iterator[Id]:
    seen: set[str] = set()
    for text in node.content_ids:
        if text in seen:
            continue
        seen.add(text)
        try:
            yield parse_id(text)
        except ValueError:
            continue


def _resolve(repository: Repository, blob_type: BlobType, text: str) -> Id:
    ids = {blob.id for blob in repository.index.blobs() if blob.type is blob_type and blob.id.hex().startswith(text)}
    return _only(ids, f"{blob_type.value} blob", text)


def _resolve_pack(repository: Repository, text: str) -> Id:
    return _only({pack for pack in repository.index.pack_ids() if pack.hex().startswith(text)}, "pack", text)


def _only(ids: set[Id], kind: str, text: str) -> Id:
    if not ids or not text:
        raise NoSuchObjectError(kind=kind, name=text)
    if len(ids) > 1:
        raise AmbiguousIdError(name=text, count=len(ids))
    return ids.pop()
