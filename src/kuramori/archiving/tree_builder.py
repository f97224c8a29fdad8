"""Walks folders and builds their trees.

The walk is iterative (folders may be nested thousands deep) and cooperative: :meth:`TreeBuilder.walk`
is a generator that yields often, so that one thread can walk, answer the workers and write trees in
turn without fighting over the interpreter lock.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from kuramori import errors
from kuramori.archiving.databases import DatabaseWatch
from kuramori.archiving.file_processor import FileOutcome, open_directory
from kuramori.archiving.folder import FileTask, Folder
from kuramori.archiving.folder_scouts import FolderScouts
from kuramori.archiving.metadata import NodeBuilder, entry_path, read_attributes
from kuramori.archiving.parent import ParentFolder, ParentReader, same_metadata
from kuramori.archiving.scout import FolderAnswer, FolderQuestion
from kuramori.archiving.targets import Target
from kuramori.archiving.unchanged_folders import FolderComparer
from kuramori.errors import (
    N_,
    KuramoriError,
    NotADatabaseError,
    SourceChangedError,
    SourceError,
    SourceMissingError,
)
from kuramori.model.names import display_text, quote_name
from kuramori.model.node import Node, decode_node, encode_node
from kuramori.model.snapshot import SnapshotSummary
from kuramori.model.tree import join_nodes
from kuramori.progress import Progress, wants_items
from kuramori.sources.excludes import Excluder

_BATCH_FILES = 128
_BATCH_BYTES = 8 * 1024 * 1024
_SLICE = 64
_PATIENCE_SECONDS = 0.25
_SMALL_FILE = 64 * 1024
_SMALL_IN_A_ROW = 16
"""After so many small files the others are taken to be as small,"""
_ASKED = 8
"""... but for one of so many."""
_NAME_ENCODING, _NAME_ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


StoreTree = Callable[[bytes], str]
"""Stores a tree blob and returns its hexadecimal id."""


class TreeBuilder:
    """Builds the tree of a snapshot. Used by one thread."""

    def __init__(self, *, excluder: Excluder, parent: ParentReader, store_tree: StoreTree,
                 submit: Callable[[FileTask], None], progress: Progress, summary: SnapshotSummary,
                 with_atime: bool, databases: DatabaseWatch | None = None,
                 scouts: FolderScouts[Folder] | None = None) -> None:
        """Put together what the walk needs.

        Args:
            scouts: look at folders meanwhile; None to do that alone.
            databases: told of those that are met; None to treat them as any file.
            submit: takes files that must be read; :meth:`task_done` must follow for each task.
            summary: is counted up.
        """
        self._excluder = excluder
        self._parent = parent
        self._store_tree = store_tree
        self._submit = submit
        self._progress = progress
        self._summary = summary
        self._databases = databases
        self._nodes = NodeBuilder(with_atime)
        self._comparer = FolderComparer(self._nodes.names, None if parent.is_complete else parent.has_all)
        self._names_items = wants_items(progress)
        self._compares_folders = databases is None and excluder.keeps_all and parent.compares_all
        self._scouts = scouts if self._compares_folders and parent.is_complete and not self._names_items else None
        self._pending: list[Folder] = []
        self._small_in_a_row = 0
        """So many new files, one after the other, were found to be small."""
        self.errors: list[KuramoriError] = []
        """What could not be saved, or changed while it was."""
        self.root_id: str | None = None
        """The hexadecimal id of the root tree, once all is done."""
        self.saved_items = 0

    # --- walking -----------------------------------------------------------------------------

    def walk(self, root: Target, parent_tree: str | None) -> Iterator[None]:
        """Walk everything below ``root``; yields often."""
        folder = Folder(b"", b"", b"", None, 0, None)
        folder.parent = self._parent.folder(parent_tree, b"/")
        self._add_targets(folder, root)
        while self._pending or (self._scouts is not None and self._scouts.busy):
            if self._scouts is not None:
                for seen, answer in self._scouts.collect(0 if self._pending else _PATIENCE_SECONDS):
                    self._take_seen(seen, answer)
                if not self._pending:
                    yield
                    continue
            current = self._pending.pop()
            if current.inner_target is not None:
                self._add_targets(current, current.inner_target)
                yield
            elif not self._send_scout(current):
                yield from self._scan(current)

    def _add_targets(self, folder: Folder, target: Target) -> None:
        """Fill a folder that leads to targets."""
        for name, inner in sorted(target.children.items()):
            self._add_target(folder, name, inner)
        self._scanned(folder)

    def _add_target(self, folder: Folder, name: bytes, target: Target) -> None:
        path = os.path.abspath(target.path)
        if not target.named and target.whole and self._excluder.excludes_path(path):
            return
        try:
            # A folder on the way to a target is followed if it is a link: that is what was named.
            status = os.lstat(path) if target.whole else os.stat(path)
            outer = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            self._problem(SourceMissingError(path=display_text(path)))
            return
        except OSError as error:
            self._problem(SourceError(path=display_text(path), detail=error.strerror or str(error)))
            return
        try:
            if target.whole:
                self._excluder.allow_device(status.st_dev)
                self._take_alone(folder, name, path, status, outer)
            else:
                self._take_passage(folder, name, path, status, target)
        finally:
            os.close(outer)

    def _take_passage(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result, target: Target) -> None:
        inner = self._new_folder(folder, name, path)
        inner.inner_target = target
        inner.node = self._folder_node(name, path, status, path)
        inner.parent = self._parent.folder(inner.parent_node.subtree, path) if inner.parent_node else None
        self._pending.append(inner)

    def _take_alone(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result, outer: int) -> None:
        if stat.S_ISREG(status.st_mode) and os.path.basename(path) != name:
            # Renamed because another target has the name: read it under its real one.
            self._take_renamed(folder, name, path, status)
            return
        task = FileTask(_in_folder(folder, os.path.dirname(path)), [], [], [])
        self._take_entry(folder, name, path, status, outer, task)
        if task.names:
            self._submit(task)

    def _take_renamed(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result) -> None:
        position = self._reserve(folder)
        holder = _in_folder(folder, os.path.dirname(path))
        self._submit(FileTask(holder, [os.path.basename(path)], [position], [None], status.st_size))

    def _scan(self, folder: Folder) -> Iterator[None]:
        """List a folder and take what is in it."""
        try:
            fd = open_directory(folder.path)
        except OSError as error:
            self._drop(folder, SourceError(path=display_text(folder.path), detail=error.strerror or str(error)))
            return
        try:
            status = os.fstat(fd)
            if folder.identity is not None and folder.identity != (status.st_dev, status.st_ino):
                self._drop(folder, SourceChangedError(path=display_text(folder.path),
                                                      detail=N_("another folder took its place")))
                return
            folder.node = self._folder_node(folder.name, folder.path, status, fd)
            before = self._read_before(folder)
            if before and folder.parent_node is not None and folder.parent_node.subtree is not None:
                folder.parent = self._parent.parse(folder.parent_node.subtree, before, folder.path)
                folder.before = b""
            entries = list(os.scandir(fd))
            if not self._take_unchanged(folder, entries):
                # As os.fsencode() does for one; names differ, so entries are never compared.
                names = [entry.name.encode(_NAME_ENCODING, _NAME_ERRORS) for entry in entries]
                take = self._take_all if self._wants_all(folder) else self._take_entries
                yield from take(folder, sorted(zip(names, entries, strict=True)), fd, status.st_dev)
        except OSError as error:
            self._drop(folder, SourceError(path=display_text(folder.path), detail=error.strerror or str(error)))
            return
        finally:
            os.close(fd)
        self._scanned(folder)
        yield

    def _read_before(self, folder: Folder) -> bytes:
        """Return the parent's tree of a folder; empty if there is none, or it cannot be read."""
        if folder.before is None:
            tree_id = folder.parent_node.subtree if folder.parent_node is not None else None
            folder.before = self._parent.document(tree_id, folder.path) or b""
        return folder.before

    def _send_scout(self, folder: Folder) -> bool:
        """Have somebody else look whether a folder is unchanged; return False to do that here."""
        scouts = self._scouts
        if scouts is None or folder.scouted or folder.parent_node is None or not folder.parent_node.subtree:
            return False
        folder.scouted = True
        before = self._read_before(folder)
        if not before or not scouts.has_room(len(before), self._summary.files_unmodified):
            return False
        device, inode = folder.identity or (0, 0)
        scouts.ask(folder, FolderQuestion(folder.path, device, inode, before))
        return True

    def _take_seen(self, folder: Folder, answer: FolderAnswer) -> None:
        """Take what a scout says of a folder."""
        if not answer.node or folder.parent_node is None or not folder.parent_node.subtree:
            self._pending.append(folder)
            return
        if answer.folders:
            folder.parent = self._parent.parse(folder.parent_node.subtree, self._read_before(folder), folder.path)
            if folder.parent is None:
                self._pending.append(folder)
                return
            found = {name: (device, inode) for name, device, inode in answer.folders}
            self._take_as_before(folder, folder.parent, found)
        folder.node = decode_node(answer.node)
        folder.before = b""
        folder.unchanged = not answer.folders
        self._count_unchanged(folder, answer.files, answer.size)
        self._scanned(folder)

    def _take_unchanged(self, folder: Folder, entries: Sequence[os.DirEntry[str]]) -> bool:
        """Take all that is in a folder if it is what the parent has; else take nothing and return False."""
        parent = folder.parent
        if parent is None or not self._compares_folders:
            return False
        try:
            found = self._comparer.compare(parent.nodes, entries)
        except OSError:
            return False  # whoever looks at each entry knows what to do about one
        if found is None:
            return False
        self._take_as_before(folder, parent, {name: (status.st_dev, status.st_ino)
                                              for name, status in found.folders.items()})
        self._count_unchanged(folder, found.files, found.size)
        return True

    def _take_as_before(self, folder: Folder, parent: ParentFolder, folders: dict[str, tuple[int, int]]) -> None:
        """Take what the parent has, and look at the folders in it next."""
        prefix = folder.path if folder.path.endswith(b"/") else folder.path + b"/"
        for node in parent.nodes.values():
            if node.type == "dir":
                name = os.fsencode(node.name)
                inner = self._new_folder(folder, name, prefix + name)
                inner.identity = folders[node.name]
                self._pending.append(inner)
                continue
            folder.slots.append(node)
            if self._names_items:
                self._progress.item("unchanged", display_text(prefix) + node.name, node.size)

    def _count_unchanged(self, folder: Folder, files: int, size: int) -> None:
        folder.reused = files
        self._summary.files_unmodified += files
        self._count_files(files, size)

    def _take_entries(self, folder: Folder, entries: list[tuple[bytes, os.DirEntry[str]]], fd: int,
                      device: int) -> Iterator[None]:
        excluder = self._excluder
        tag = excluder.tag_in([name for name, _ in entries], fd)
        task = FileTask(folder, [], [], [])
        prefix = folder.path if folder.path.endswith(b"/") else folder.path + b"/"
        for number, (name, entry) in enumerate(entries):
            if number % _SLICE == _SLICE - 1:
                yield
            path = prefix + name
            if (tag is not None and name != tag) or (excluder.by_name and excluder.excludes_path(path)):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the folder was listed: it is as if we had come a little later
            except OSError as error:
                self._problem(SourceError(path=display_text(path), detail=error.strerror or str(error)))
                continue
            if excluder.excludes_status(status, device):
                continue
            self._take_entry(folder, name, path, status, fd, task)
            if len(task.names) >= _BATCH_FILES or task.size >= _BATCH_BYTES:
                self._submit(task)
                task = FileTask(folder, [], [], [])
        if task.names:
            self._submit(task)

    def _wants_all(self, folder: Folder) -> bool:
        """Tell whether everything in a folder is new and nothing is left out."""
        return folder.parent is None and self._databases is None and self._excluder.keeps_all

    def _take_all(self, folder: Folder, entries: list[tuple[bytes, os.DirEntry[str]]], fd: int,
                  device: int) -> Iterator[None]:
        """Take a folder of which :meth:`_wants_all` is true.

        Whoever reads a regular file asks for its metadata anyway. All that is wanted here is the size, so that work is
        handed out in even pieces; among many small files the first of each folder and every eighth is asked for it.
        """
        prefix = folder.path if folder.path.endswith(b"/") else folder.path + b"/"
        task, slots = FileTask(folder, [], [], []), folder.slots
        size = 0
        for number, (name, entry) in enumerate(entries):
            if number % _SLICE == _SLICE - 1:
                yield
            try:
                if not entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    self._take_entry(folder, name, prefix + name, status, fd, task)
                    continue
                if self._small_in_a_row < _SMALL_IN_A_ROW or not number % _ASKED:
                    size = entry.stat(follow_symlinks=False).st_size
                    self._small_in_a_row = self._small_in_a_row + 1 if size <= _SMALL_FILE else 0
            except FileNotFoundError:
                continue  # gone since the folder was listed: it is as if we had come a little later
            except OSError as error:
                self._problem(SourceError(path=display_text(prefix + name), detail=error.strerror or str(error)))
                continue
            task.names.append(name)
            task.positions.append(len(slots))  # as _put() does
            task.parents.append(None)
            task.size += size
            slots.append(None)
            folder.unfinished += 1
            if len(task.names) >= _BATCH_FILES or task.size >= _BATCH_BYTES:
                self._submit(task)
                task = FileTask(folder, [], [], [])
        if task.names:
            self._submit(task)

    # --- entries -----------------------------------------------------------------------------

    def _take_entry(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result, fd: int,
                    task: FileTask) -> None:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._take_file(folder, name, path, status, fd, task)
        elif stat.S_ISDIR(mode):
            inner = self._new_folder(folder, name, path)
            inner.identity = (status.st_dev, status.st_ino)
            self._pending.append(inner)
        elif not stat.S_ISSOCK(mode):
            self._take_other(folder, name, path, status, fd)

    def _take_file(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result, fd: int,
                   task: FileTask) -> None:
        parent = folder.parent.nodes.get(quote_name(name)) if folder.parent is not None else None
        if parent is None or not self._is_unchanged(folder, parent, name, path, status, fd):
            self._put(folder, task, name, status.st_size, parent)
            return
        kept: Node | None = parent
        if not (same_metadata(parent, status, self._parent.compares_ctime)
                and parent.user == self._nodes.names.user(status.st_uid)
                and parent.group == self._nodes.names.group(status.st_gid)):
            kept = self._refreshed(name, path, status, fd, parent)
        if kept is None:
            return
        folder.slots.append(kept)
        folder.reused += kept is parent
        self._summary.files_unmodified += 1
        self._count_file(path, "unchanged", status.st_size)

    def _put(self, folder: Folder, task: FileTask, name: bytes, size: int, parent: Node | None) -> None:
        """Have a file read, and keep a place for it in a folder."""
        task.names.append(name)
        task.positions.append(self._reserve(folder))
        task.parents.append(parent)
        task.size += size

    def _is_unchanged(self, folder: Folder, parent: Node, name: bytes, path: bytes, status: os.stat_result,
                      fd: int) -> bool:
        if self._databases is None:
            return self._parent.is_unchanged(parent, status)
        return self._databases.is_unchanged(parent, status, name, fd, path, folder.snapshot_path + b"/" + name)

    def _refreshed(self, name: bytes, path: bytes, status: os.stat_result, fd: int, parent: Node) -> Node | None:
        """Return the node of a file whose content is the parent's, but whose metadata is not."""
        node = self._nodes.build(name, status)
        node.size = parent.size
        node.content = parent.content
        try:
            node.extended_attributes = read_attributes(entry_path(path, name, fd))
        except OSError as error:
            self._problem(SourceError(path=display_text(path), detail=error.strerror or str(error)))
            return None
        return parent if node == parent else node

    def _take_other(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result, fd: int) -> None:
        try:
            node = self._nodes.build_other(name, path, status, fd)
        except SourceError as error:
            self._problem(error)
            return
        parent = folder.parent.nodes.get(node.name) if folder.parent is not None else None
        same = parent == node
        folder.slots.append(parent if same else node)
        folder.reused += same
        self.saved_items += 1
        self._progress.item("unchanged" if same else "changed" if parent else "new", display_text(path))

    def _new_folder(self, outer: Folder, name: bytes, path: bytes) -> Folder:
        parent = outer.parent.nodes.get(quote_name(name)) if outer.parent is not None else None
        if parent is not None and parent.type != "dir":
            parent = None
        return Folder(name, path, outer.snapshot_path + b"/" + name, outer, self._reserve(outer), parent)

    def _folder_node(self, name: bytes, path: bytes, status: os.stat_result, target: bytes | int) -> Node:
        node = self._nodes.build(name, status)
        try:
            node.extended_attributes = read_attributes(target)
        except OSError as error:
            self._problem(SourceError(path=display_text(path), detail=error.strerror or str(error)))
        return node

    def _reserve(self, folder: Folder) -> int:
        position = len(folder.slots)
        folder.slots.append(None)
        folder.unfinished += 1
        return position

    # --- results -----------------------------------------------------------------------------

    def task_done(self, task: FileTask, outcomes: Sequence[FileOutcome]) -> None:
        """Take in what became of the files of a task."""
        folder = task.folder
        target = folder.outer if folder.name == _HOLDER else folder
        assert target is not None
        for name, position, parent, outcome in zip(task.names, task.positions, task.parents, outcomes, strict=True):
            path = os.path.join(folder.path, name)
            if outcome.problem:
                usual = SourceChangedError if outcome.node else SourceError
                kind = getattr(errors, outcome.error) if outcome.error else usual
                self._problem(kind(path=display_text(path), detail=outcome.problem))
            if not outcome.node:
                continue
            if self._databases is not None:
                self._note_database(self._databases, path, target.snapshot_path + b"/" + name, outcome)
            target.slots[position] = outcome.node
            if parent is None or parent.type != "file":
                self._summary.files_new += 1
                self._count_file(path, "new", outcome.size)
            else:
                self._summary.files_changed += 1
                self._count_file(path, "changed", outcome.size)
        target.unfinished -= len(task.names)
        self._finish_if_complete(target)

    def task_saved(self, task: FileTask, nodes: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Take in the nodes and sizes of the files of a task, of which there is no more to say."""
        if self._databases is not None or self._names_items or any(task.parents) or task.folder.name == _HOLDER:
            self.task_done(task, list(map(FileOutcome, nodes, sizes, repeat(""))))
            return
        folder = task.folder
        first, last = task.positions[0], task.positions[-1]
        if last - first == len(nodes) - 1 == len(task.positions) - 1:  # they stand side by side
            folder.slots[first : last + 1] = nodes
        else:
            for position, node in zip(task.positions, nodes, strict=True):
                folder.slots[position] = node
        self._summary.files_new += len(nodes)
        self._count_files(len(nodes), sum(sizes))
        folder.unfinished -= len(nodes)
        self._finish_if_complete(folder)

    def _note_database(self, databases: DatabaseWatch, path: bytes, snapshot_path: bytes, outcome: FileOutcome) -> None:
        problem: KuramoriError | None = None
        if outcome.database is not None:
            problem = databases.take(path, snapshot_path, outcome.database, outcome.content)
        elif databases.is_required(path) and outcome.error == "":
            if outcome.size == 0:
                databases.take_empty(snapshot_path)
            else:
                problem = NotADatabaseError(path=display_text(path))
        if problem is not None:
            self._problem(problem)

    def _count_file(self, path: bytes, action: str, size: int) -> None:
        self._count_files(1, size)
        if self._names_items:
            self._progress.item(action, display_text(path), size)

    def _count_files(self, count: int, size: int) -> None:
        self._summary.total_files_processed += count
        self._summary.total_bytes_processed += size
        self.saved_items += count
        self._progress.advance(count, size)

    def _problem(self, error: KuramoriError) -> None:
        self.errors.append(error)
        self._progress.warning(error)

    def _scanned(self, folder: Folder) -> None:
        folder.scanned = True
        self._finish_if_complete(folder)

    def _drop(self, folder: Folder, error: KuramoriError) -> None:
        """Leave a folder out; what of it is still being read is ignored when it comes."""
        self._problem(error)
        outer = folder.outer
        folder.outer = None
        if outer is not None:
            outer.unfinished -= 1
            self._finish_if_complete(outer)

    def _finish_if_complete(self, folder: Folder) -> None:
        current: Folder | None = folder
        while current is not None and current.scanned and current.unfinished == 0:
            current = self._finish(current)

    def _finish(self, folder: Folder) -> Folder | None:
        """Store a folder's tree, hand its node to the outer folder and return that."""
        tree_id = self._tree_of(folder)
        folder.scanned = False  # done: nothing of it may be finished again
        outer = folder.outer
        if folder.node is None:
            self.root_id = tree_id
            return None
        if outer is None:
            return None  # it was dropped
        node = folder.node
        node.subtree = tree_id
        parent = folder.parent_node
        same = parent is not None and parent == node
        outer.slots[folder.position] = parent if same else node
        outer.reused += same
        outer.unfinished -= 1
        self.saved_items += folder.inner_target is None  # a passage to nothing is nothing
        self._count_folder(folder, tree_id)
        folder.slots = []
        folder.parent = None
        return outer

    def _tree_of(self, folder: Folder) -> str:
        parent = folder.parent
        if folder.unchanged and folder.parent_node is not None and folder.parent_node.subtree:
            return folder.parent_node.subtree
        if parent is not None and folder.reused == len(folder.slots) == len(parent.nodes):
            return parent.tree_id
        return self._store_tree(join_nodes(
            slot if isinstance(slot, bytes) else encode_node(slot) for slot in folder.slots if slot is not None
        ))

    def _count_folder(self, folder: Folder, tree_id: str) -> None:
        parent = folder.parent_node
        if parent is None:
            self._summary.dirs_new += 1
            action = "new"
        elif parent.subtree == tree_id:
            self._summary.dirs_unmodified += 1
            action = "unchanged"
        else:
            self._summary.dirs_changed += 1
            action = "changed"
        self._progress.item(action, display_text(folder.path) + "/")


_HOLDER = b"/"


def _in_folder(folder: Folder, directory: bytes) -> Folder:
    """Return a stand-in for ``folder`` whose files are read in ``directory``."""
    return Folder(_HOLDER, directory, folder.snapshot_path, folder, 0, None)
