"""A repository as one tree of folders and files, to be shown by the kernel or over the network.

Everything is found by its path: bytes that begin with a slash and have none at their end (the root is
empty). Snapshots do not change, so only the menus above them are looked up again; folders and blobs
are kept up to a number of bytes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from kuramori.errors import (
    N_,
    KuramoriError,
    NoSuchEntryError,
    NotAFolderError,
    Phrase,
    UnreadableEntryError,
    UsageError,
)
from kuramori.ids import Id
from kuramori.model.names import display_text
from kuramori.model.snapshot import StoredSnapshot
from kuramori.mounting.bounded_cache import BoundedCache
from kuramori.mounting.entries import Entry, Folder, folder_of_menu, folder_of_tree, menu_entry
from kuramori.mounting.file_reader import BlobStore, FileReader
from kuramori.mounting.layout import Layout, Menu, NameBook, build_menus
from kuramori.mounting.repository_view import RepositoryView
from kuramori.progress import NoProgress, Progress
from kuramori.repository.repository import Repository, parse_tree
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter

_PLACES_KEPT = 10_000
_REPORTS_KEPT = 1_000
SMALLEST_CACHE = 1024 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """What is shown, and how much memory it may take.

    Raises:
        UsageError: the cache is too small.
    """

    layout: Layout = field(default_factory=Layout)
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT
    owner: tuple[int, int] = (0, 0)
    """Numbers of the user and the group to whom the folders above the snapshots belong."""
    owner_root: bool = False
    """Everything belongs to root, whomever it belonged to when it was saved."""
    cache_bytes: int = 192 * 1024 * 1024
    """Memory for what was read: two thirds for content, one for folders."""
    refresh_seconds: float = 2.0
    """After how long a look at the menus looks for new snapshots."""

    def __post_init__(self) -> None:
        if self.cache_bytes < SMALLEST_CACHE:
            raise UsageError(detail=Phrase(N_("the cache has at least {size} bytes"), size=SMALLEST_CACHE))


class Located(NamedTuple):
    """An entry where it was found."""

    entry: Entry
    inode: int
    """A number that hard links of a snapshot share, and nothing else."""


class _Place(NamedTuple):
    """A folder at a path."""

    inode: int
    snapshot: bytes
    """The tree of the snapshot that it is in; empty above."""
    tree: Id | None
    menu: Menu | None


class VirtualTree:
    """What is shown. May be used by several threads."""

    def __init__(self, repository: Repository, options: TreeOptions | None = None,
                 progress: Progress | None = None) -> None:
        """Read the snapshots and the index.

        Args:
            progress: gets a warning for what cannot be read, once for each path.

        Raises:
            StorageError, DamagedError: the snapshots or the index cannot be read.
        """
        self.options = options or TreeOptions()
        self._progress = progress or NoProgress()
        self._clock = repository.clock
        self._reported: OrderedDict[tuple[bytes, str], None] = OrderedDict()
        self._report_guard = threading.Lock()
        self._view = RepositoryView(repository, self.options.snapshot_filter, patience=self.options.refresh_seconds,
                                    on_error=lambda error: self.report(b"", error))
        self._book = NameBook()
        self._folders: BoundedCache[Id, Folder] = BoundedCache(self.options.cache_bytes // 3)
        self._blobs = BlobStore(self._view, self.options.cache_bytes - self.options.cache_bytes // 3)
        self._places: OrderedDict[bytes, _Place] = OrderedDict()
        self._places_guard = threading.Lock()
        self._refresh_guard = threading.Lock()
        self._menu_owner = (0, 0) if self.options.owner_root else self.options.owner
        self._snapshots: list[StoredSnapshot] = []
        self._menus = Menu()
        self._menu_folders: dict[Menu, Folder] = {}
        self._looked_at = 0.0
        self._look()

    def close(self) -> None:
        """End what runs in the background. May be called more than once."""
        self._blobs.close()

    @property
    def held_bytes(self) -> int:
        """Memory that the caches take, about."""
        return self._folders.weight + self._blobs.cache.weight

    # --- finding -------------------------------------------------------------------------------

    def find(self, path: bytes) -> Located:
        """Return what is at a path.

        Raises:
            NoSuchEntryError, NotAFolderError: there is nothing.
            UnreadableEntryError: a folder on the way cannot be read.
        """
        if not path:
            self._refresh()
            return Located(menu_entry(self._menus, self._menu_owner), _ROOT_INODE)
        above = path.rpartition(b"/")[0]
        place = self._place(above)
        entry = self._entry(place, above, path)
        return Located(entry, _inode(place, entry))

    def find_entry(self, path: bytes) -> Entry:
        """Return what :meth:`find` returns, without its number; that is quicker.

        Raises:
            NoSuchEntryError, NotAFolderError, UnreadableEntryError
        """
        if not path:
            return self.find(path).entry
        above = path.rpartition(b"/")[0]
        return self._entry(self._place(above), above, path)

    def _entry(self, place: _Place, above: bytes, path: bytes) -> Entry:
        entry = self._load(place, above).get(path[len(above) + 1 :])
        if entry is None:
            raise NoSuchEntryError(path=display_text(path))
        return entry

    def list_folder(self, path: bytes) -> Iterator[Located]:
        """Yield the entries of a folder, in the order of their names.

        Raises:
            NoSuchEntryError, NotAFolderError: there is none.
            UnreadableEntryError: it cannot be read.
        """
        place = self._place(path)
        folder = self._load(place, path)
        return (Located(entry, _inode(place, entry)) for entry in folder.values())

    def open_file(self, path: bytes) -> FileReader:
        """Open a file for reading.

        Raises:
            NoSuchEntryError, NotAFolderError: there is none.
            UnreadableEntryError: it is no file, or is damaged.
        """
        entry = self.find_entry(path)
        if not entry.is_file:
            raise UnreadableEntryError(path=display_text(path), detail=N_("it is no file"))
        try:
            if entry.problem is not None:
                raise entry.problem
            return FileReader(self._blobs, entry.content, entry.size, path)
        except KuramoriError as error:
            raise self.report(path, error) from None

    def report(self, path: bytes, error: KuramoriError) -> UnreadableEntryError:
        """Tell the progress that something cannot be read, the first time; return the error that says
        so with its path."""
        found = UnreadableEntryError(path=display_text(path) or "/", detail=error)
        with self._report_guard:
            key = (path, str(error))
            if key not in self._reported:
                self._reported[key] = None
                if len(self._reported) > _REPORTS_KEPT:
                    self._reported.popitem(last=False)
                self._progress.warning(found if path else error)
        return found

    # --- folders -------------------------------------------------------------------------------

    def _place(self, path: bytes) -> _Place:
        """Return the folder at a path, from the longest part of it that is remembered."""
        known, rest = path, []
        while known:
            with self._places_guard:
                place = self._places.get(known)
                if place is not None:
                    self._places.move_to_end(known)
                    break
            known, _, name = known.rpartition(b"/")
            rest.append(name)
        else:
            self._refresh()
            place = _Place(_ROOT_INODE, b"", None, self._menus)
        for name in reversed(rest):
            place = self._enter(place, known, name)
            known += b"/" + name
            if place.tree is None:
                continue  # a menu may change
            with self._places_guard:
                self._places[known] = place
                if len(self._places) > _PLACES_KEPT:
                    self._places.popitem(last=False)
        return place

    def _enter(self, place: _Place, above: bytes, name: bytes) -> _Place:
        path = above + b"/" + name
        entry = self._entry(place, above, path)
        if not entry.is_folder:
            raise NotAFolderError(path=display_text(path))
        if entry.problem is not None:
            raise self.report(path, entry.problem)
        return _Place(_inode(place, entry), place.snapshot or entry.tree or b"", entry.tree, entry.menu)

    def _load(self, place: _Place, path: bytes) -> Folder:
        if place.menu is not None:
            return self._load_menu(place.menu)
        tree = place.tree
        assert tree is not None

        def read() -> tuple[Folder, int]:
            nodes = parse_tree(self._view.folder_document(tree), tree)
            folder = folder_of_tree(nodes, path, self.report)
            if self.options.owner_root:
                for entry in folder.values():
                    entry.uid = entry.gid = 0
            return folder, sum(entry.weight for entry in folder.values())

        try:
            return self._folders.obtain(tree, read)
        except KuramoriError as error:
            raise self.report(path, error) from None

    # --- menus ---------------------------------------------------------------------------------

    def _load_menu(self, menu: Menu) -> Folder:
        """Return the entries of a menu, made once until the menus are others: ``ls -l`` asks for each."""
        folder = self._menu_folders.get(menu)
        if folder is None:
            folder = self._menu_folders[menu] = folder_of_menu(menu, self._menu_owner)
        return folder

    def _refresh(self) -> None:
        """Look for new snapshots, if that is some time ago. Others need not wait for it."""
        if self._clock.monotonic() - self._looked_at < self.options.refresh_seconds:
            return
        if not self._refresh_guard.acquire(blocking=False):
            return
        try:
            self._look()
        except KuramoriError as error:
            self.report(b"", error)
            self._looked_at = self._clock.monotonic()
        finally:
            self._refresh_guard.release()

    def _look(self) -> None:
        snapshots = self._view.snapshots()
        if snapshots != self._snapshots:
            self._menus, self._menu_folders = build_menus(snapshots, self.options.layout, self._book), {}
            self._snapshots = snapshots
        self._looked_at = self._clock.monotonic()


_ROOT_INODE = 1


def _inode(place: _Place, entry: Entry) -> int:
    if entry.link is not None:
        what = b"link %d %d" % entry.link + place.snapshot
    else:
        what = place.inode.to_bytes(8, "big") + entry.name
    # The numbers 0 and 1 mean something to the kernel.
    return int.from_bytes(blake2b(what, digest_size=8).digest(), "big") | 2

