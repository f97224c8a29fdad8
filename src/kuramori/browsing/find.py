"""``find``: entries of snapshots by pattern, or by the id of a blob, a tree or a pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kuramori.browsing.walk import ErrorHandler, WalkedNode, walk_tree
from kuramori.errors import N_, AmbiguousIdError, NoSuchObjectError, UsageError
from kuramori.ids import Id, is_hex_id, parse_id
from kuramori.model.blob import BlobType
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
        raise UsageError(detail=N_("there is no pattern to look for"))
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
        NoSuchObjectError, AmbiguousIdError: a pack that the index does not name.
        NoSuchSnapshotError: a snapshot that was named.
        DamagedError, StorageError: a folder cannot be read and there is no ``on_error``.
    """
    wanted = _WantedObjects(repository, options)
    for stored in chosen_snapshots(repository, options.snapshots, options.snapshot_filter):
        root = parse_id(stored.snapshot.tree)
        if root.hex() in wanted.trees:
            yield FoundObject(BlobType.TREE, root, b"", None, stored)
        for walked in walk_tree(repository, root, on_error=on_error):
            yield from wanted.found_in(walked, stored)


class _WantedIds:
    """Whole ids and beginnings of ids, looked up in the text of nodes."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.whole = {text for text in texts if is_hex_id(text)}
        self.beginnings = tuple(text.lower() for text in texts if text and text not in self.whole)

    def __bool__(self) -> bool:
        return bool(self.whole or self.beginnings)

    def __contains__(self, text: str) -> bool:
        return text in self.whole or (bool(self.beginnings) and text.startswith(self.beginnings))


class _WantedObjects:
    def __init__(self, repository: Repository, options: FindOptions) -> None:
        self.blobs = _WantedIds(options.blobs)
        self.trees = _WantedIds(options.trees)
        packs = {_resolve_pack(repository, text) for text in options.packs}
        if packs:
            for blob in repository.index.blobs():
                if blob.pack in packs:
                    (self.blobs if blob.type is BlobType.DATA else self.trees).whole.add(blob.id.hex())

    def found_in(self, walked: WalkedNode, stored: StoredSnapshot) -> Iterator[FoundObject]:
        node = walked.node
        if node.type == "dir" and self.trees:
            if node.subtree is not None and node.subtree in self.trees:
                yield from _found(BlobType.TREE, node.subtree, walked.path, None, stored)
        elif node.type == "file" and self.blobs:
            for text in dict.fromkeys(node.content_ids):
                if text in self.blobs:
                    yield from _found(BlobType.DATA, text, walked.path, walked.tree, stored)


def _found(blob_type: BlobType, text: str, path: bytes, parent: Id | None,
           stored: StoredSnapshot) -> Iterator[FoundObject]:
    try:
        yield FoundObject(blob_type, parse_id(text), path, parent, stored)
    except ValueError:
        return  # no id at all: the walk, or a check, reports it


def _resolve_pack(repository: Repository, text: str) -> Id:
    found = {pack for pack in repository.index.pack_ids() if text and pack.hex().startswith(text)}
    if not found:
        raise NoSuchObjectError(kind="pack", name=text)
    if len(found) > 1:
        raise AmbiguousIdError(name=text, count=len(found))
    return found.pop()
