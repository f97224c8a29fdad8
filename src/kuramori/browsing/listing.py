"""``ls``: what a snapshot holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kuramori.browsing.walk import ErrorHandler, WalkedNode, walk_tree
from kuramori.ids import Id
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter, resolve_tree


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """What to list of a snapshot."""

    folders: tuple[bytes, ...] = ()
    """Absolute paths inside the snapshot (or its subfolder): these and what lies directly in
    them. Empty for everything."""
    recursive: bool = False
    """With :attr:`folders`: everything below them, too."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A snapshot's listing."""

    snapshot: StoredSnapshot
    tree: Id
    """The tree that the paths begin at: the snapshot's, or that of the subfolder."""
    subfolder: bytes
    """Path of that tree in the snapshot; empty for its root."""
    nodes: Iterator[WalkedNode]
    """The entries, a folder before what it holds. Paths begin at :attr:`tree`."""


def list_snapshot(repository: Repository, snapshot: str, options: ListingOptions | None = None,
                  snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT, *,
                  on_error: ErrorHandler | None = None) -> Listing:
    """List a snapshot; the index must be loaded.

    Args:
        snapshot: ``latest``, an id or its beginning; ``:subfolder`` may follow.
        snapshot_filter: which snapshots ``latest`` looks at.
        on_error: takes folders that cannot be read; without it their errors are raised.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError, NoSuchPathError, NotADirectoryInSnapshotError: at
            once.
        DamagedError, StorageError: at once for the subfolder, else while iterating.
    """
    options = options or ListingOptions()
    stored, tree, subfolder = resolve_tree(repository, snapshot, snapshot_filter)
    return Listing(stored, tree, subfolder, list_tree(repository, tree, options, on_error=on_error))


def list_tree(repository: Repository, tree: Id, options: ListingOptions, *,
              on_error: ErrorHandler | None = None) -> Iterator[WalkedNode]:
    """Yield the chosen entries below a tree.

    Raises:
        DamagedError, StorageError: a folder cannot be read and there is no ``on_error``.
    """
    folders = [_cleaned(folder) for folder in options.folders]
    if not folders:
        yield from walk_tree(repository, tree, on_error=on_error)
        return

    def enter(walked: WalkedNode) -> bool:
        if options.recursive and _is_within_any(walked.path, folders):
            return True
        return any(_has_prefix(folder, walked.path) for folder in folders)

    for walked in walk_tree(repository, tree, enter=enter, on_error=on_error):
        if _is_within_any(walked.path, folders):
            yield walked


def _cleaned(folder: bytes) -> bytes:
    return b"".join(b"/" + part for part in folder.split(b"/") if part not in (b"", b"."))


def _is_within_any(path: bytes, folders: list[bytes]) -> bool:
    return any(_has_prefix(path, folder) for folder in folders)


def _has_prefix(path: bytes, folder: bytes) -> bool:
    """Tell whether ``path`` is ``folder`` or lies in it."""
    return path.startswith(folder) and (len(path) == len(folder) or path[len(folder)] == 0x2F)
