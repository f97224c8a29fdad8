"""A restore: from a snapshot to a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from kuramori.errors import N_, HostileNameError, KuramoriError, Phrase, RestoreError
from kuramori.ids import Id
from kuramori.model.names import are_plain, display_text, name_problem
from kuramori.model.node import Node
from kuramori.model.times import parse_nanoseconds
from kuramori.progress import NoProgress, Progress
from kuramori.repository.locks import hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import resolve_tree
from kuramori.restoring.file_writer import FileWriter
from kuramori.restoring.jobs import FileJob, Overwrite, RestoreOptions, RestoreResult
from kuramori.restoring.metadata import MetadataApplier
from kuramori.restoring.selection import Selection
from kuramori.restoring.target import TargetFolder, clear_at, existing_folder, join
from kuramori.restoring.verify import verify_files

_WINDOW_FILES = 8192
_WINDOW_BLOBS = 65536
MAXIMUM_DEPTH = 10_000
_NODE_KINDS = {"chardev": stat.S_IFCHR, "dev": stat.S_IFBLK}


def restore(repository: Repository, snapshot: str, options: RestoreOptions,
            progress: Progress | None = None) -> RestoreResult:
    """Restore ``ID[:subfolder]``.

    Takes a shared lock and reads the index. Errors of single items do not stop it: they are in
    the result.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError, NoSuchPathError, UsageError: the request.
        RepositoryLockedError, DamagedError, StorageError: the repository.
        RestoreError: the target cannot be opened.
    """
    progress = progress or NoProgress()
    selection = Selection(options.selection)
    if options.no_lock:
        return _Restore(repository, options, selection, progress).run(snapshot)
    with hold_lock(repository, retry_seconds=options.retry_lock_seconds, reading=True,
                   waiting=options.lock_waiting):
        return _Restore(repository, options, selection, progress).run(snapshot)


class _Folder:
    """A folder of the snapshot on its way to the target."""

    __slots__ = ("depth", "fresh", "made", "node", "outer", "path", "target", "tree_id")

    def __init__(self, outer: _Folder | None, path: bytes, target: bytes, tree_id: Id, node: Node | None) -> None:
        self.outer = outer
        self.path = path
        self.target = target
        self.tree_id = tree_id
        self.node = node
        self.made = False
        self.fresh = False
        self.depth: int = outer.depth + 1 if outer is not None else 0


class _Left:
    """A folder whose whole content was dealt with; what else is in it may go, if any of it was selected."""

    __slots__ = ("folder", "names")

    def __init__(self, folder: _Folder, names: set[bytes]) -> None:
        self.folder = folder
        self.names = names


class _Restore:
    """One restore."""

    def __init__(self, repository: Repository, options: RestoreOptions, selection: Selection,
                 progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._selection = selection
        self._progress = progress
        self._result = RestoreResult()
        self._applier = MetadataApplier()
        self._target: TargetFolder | None = None
        self._preview: TargetFolder | None = None
        """In a dry run: the target, if it is there, to see what would change."""
        self._looker: FileWriter | None = None
        """What compares in a dry run."""
        self._finished_folders: list[tuple[bytes, Node, bool]] = []
        self._links: dict[tuple[int, int], bytes | None] = {}
        """First name of each inode that has several; None if it was left standing."""
        self._left_standing: set[bytes] = set()
        self._later_links: list[tuple[_Folder, bytes, bytes, bytes]] = []

    def run(self, snapshot: str) -> RestoreResult:
        """Do it."""
        started = self._repository.clock.monotonic()
        self._repository.load_index(self._progress)
        stored, tree_id, _ = resolve_tree(self._repository, snapshot, self._options.snapshot_filter)
        self._result.snapshot_id = stored.id
        self._progress.start("restore")
        if not self._options.dry_run:
            self._target = self._open_target()
        else:
            self._preview = existing_folder(self._options.target)
        try:
            self._restore_all(tree_id)
            if self._options.verify and self._target is not None:
                verify_files(self._repository, self._target, self._selection, tree_id, self._left_standing,
                             self._result, self._progress)
        finally:
            self._progress.finish()
            for folder in (self._target, self._preview):
                if folder is not None:
                    folder.close()
        self._result.seconds = self._repository.clock.monotonic() - started
        return self._result

    def _open_target(self) -> TargetFolder:
        try:
            return TargetFolder(self._options.target)
        except OSError as error:
            raise RestoreError(path=display_text(self._options.target), detail=error.strerror or str(error)) from None

    def _restore_all(self, tree_id: Id) -> None:
        writer = None
        if self._target is not None:
            writer = FileWriter(self._repository, self._target, self._result, self._progress,
                                sparse=self._options.sparse, threads=self._options.threads)
        try:
            self._restore_windows(tree_id, writer)
        finally:
            if writer is not None:
                writer.close()
        self._make_links(writer.failed if writer is not None else set())
        self._finish_folders()

    def _restore_windows(self, tree_id: Id, writer: FileWriter | None) -> None:
        """Restore all regular files, some thousands at a time, so that memory stays bounded."""
        window: list[FileJob] = []
        blobs = 0
        for job in self._walk(tree_id):
            if writer is None:
                self._foresee(job)
                continue
            window.append(job)
            blobs += len(job.node.content_ids)
            if len(window) >= _WINDOW_FILES or blobs >= _WINDOW_BLOBS:
                writer.restore(window)
                window, blobs = [], 0
        if writer is not None:
            writer.restore(window)
            writer.finish()

    def _foresee(self, job: FileJob) -> None:
        """Count and name in a dry run what would become of a file."""
        size = job.node.size
        if self._preview is not None and not job.fresh_folder:
            if self._looker is None:
                self._looker = FileWriter(self._repository, self._preview, self._result, self._progress,
                                          sparse=False, threads=1)
            if self._looker.would_keep(job):
                self._leave_standing(join(job.folder, job.name), job.path, size)
                return
        self._progress.item("updated" if job.replaces else "restored", display_text(job.path), size)
        self._result.items_restored += 1
        self._result.bytes_restored += size

    # --- walking -----------------------------------------------------------------------------

    def _walk(self, tree_id: Id) -> Iterator[FileJob]:
        """Make folders and special files; yield the regular files that must be written."""
        stack: list[_Folder | _Left] = [_Folder(None, b"", b"", tree_id, None)]
        while stack:
            folder = stack.pop()
            if isinstance(folder, _Left):
                if folder.folder.made:
                    self._delete_unknown(folder.folder, folder.names)
                continue
            try:
                tree = self._repository.load_tree(folder.tree_id)
            except KuramoriError as error:
                self._report(RestoreError(path=display_text(folder.path or b"/"), detail=error))
                continue
            names = self._safe_names(folder, tree.nodes)
            inner: list[_Folder] = []
            for name, node in zip(names, tree.nodes, strict=True):
                job = self._take(folder, name, node, inner) if name is not None else None
                if job is not None:
                    yield job
            if self._options.delete:
                stack.append(_Left(folder, {name for name in names if name is not None}))
            stack.extend(reversed(inner))

    def _safe_names(self, folder: _Folder, nodes: list[Node]) -> list[bytes | None]:
        """Return the names of a folder's nodes, None for each that must not reach the file system."""
        quoted = [node.name for node in nodes]
        if are_plain(quoted) and len(set(quoted)) == len(quoted):
            return [node.name_bytes for node in nodes]
        known: set[bytes] = set()
        return [self._safe_name(folder, node, known) for node in nodes]

    def _safe_name(self, folder: _Folder, node: Node, names: set[bytes]) -> bytes | None:
        shown = display_text(folder.path) + "/" + node.name
        try:
            name = node.name_bytes
        except ValueError as error:
            self._report(HostileNameError(path=shown, detail=str(error)))
            return None
        problem = name_problem(name)
        if problem is None and name in names:
            problem = N_("its folder has the name twice")
        if problem is not None:
            self._report(HostileNameError(path=shown, detail=problem))
            return None
        names.add(name)
        return name

    def _take(self, folder: _Folder, name: bytes, node: Node, inner: list[_Folder]) -> FileJob | None:
        """Make a folder or a special file, if it is selected; return what is to be done for a regular one."""
        path = folder.path + b"/" + name
        is_folder = node.type == "dir"
        selected, inside = self._selection.select(path, is_folder)
        try:
            if is_folder:
                if selected or inside:
                    self._take_folder(folder, name, path, node, selected, inner)
            elif selected and node.type == "file":
                return self._take_file(folder, name, path, node)
            elif selected:
                self._take_special(folder, name, path, node)
        except (OSError, OverflowError, ValueError) as error:
            detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._report(RestoreError(path=display_text(path), detail=detail))
        return None

    def _take_folder(self, folder: _Folder, name: bytes, path: bytes, node: Node, selected: bool,
                     inner: list[_Folder]) -> None:
        if folder.depth >= MAXIMUM_DEPTH:
            raise ValueError(f"it is more than {MAXIMUM_DEPTH} folders deep")
        if node.subtree is None or len(node.subtree) != 64:
            raise ValueError("the folder has no tree")
        new = _Folder(folder, path, join(folder.target, name), Id(bytes.fromhex(node.subtree)), node)
        if selected:
            self._make(new)
        inner.append(new)

    def _make(self, folder: _Folder) -> None:
        """Make a folder and those above it that are not there yet."""
        missing = []
        current: _Folder | None = folder
        while current is not None and not current.made:
            missing.append(current)
            current = current.outer
        for one in reversed(missing):
            if one.node is None:  # the target itself
                one.made = True
                continue
            outer, _, name = one.target.rpartition(b"/")
            if self._target is not None:
                one.fresh = self._target.make_folder(outer, name)
            else:
                one.fresh = not self._is_there(outer, name)
            one.made = True
            self._finished_folders.append((one.target, one.node, one.fresh))
            self._result.items_total += 1
            self._result.items_restored += 1
            self._progress.advance(1, 0)
            self._progress.item("restored", display_text(one.path))

    def _is_there(self, outer: bytes, name: bytes) -> bool:
        """Tell in a dry run whether a folder of the target is there."""
        if self._preview is None:
            return False
        try:
            status = self._preview.status(outer, name)
        except OSError:
            return False
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _take_file(self, folder: _Folder, name: bytes, path: bytes, node: Node) -> FileJob | None:
        self._make(folder)
        place = join(folder.target, name)
        inode = (node.inode, node.device_id) if node.links > 1 and node.inode else None
        second = inode is not None and inode in self._links
        size = 0 if second else node.size  # a second name costs nothing
        self._result.items_total += 1
        self._result.bytes_total += size
        # Where its first name stands, a second name is made again: restic does the same, and the link
        # that somebody broke is whole again.
        checked = not second or self._options.overwrite in (Overwrite.IF_NEWER, Overwrite.NEVER)
        if checked and not folder.fresh and not self._may_replace(folder, name, node):
            self._leave_standing(place, path, size)
            if inode is not None:
                equal = self._options.overwrite is Overwrite.IF_CHANGED
                self._links.setdefault(inode, place if equal else None)
            return None
        if inode is not None:
            first = self._links.setdefault(inode, place)
            if first is None:  # what stands there is not what the snapshot has: link nothing to it
                self._links[inode] = place
            elif first != place:
                self._later_links.append((folder, name, path, first))
                return None
        return FileJob(folder.target, name, path, node, folder.fresh)

    def _leave_standing(self, place: bytes, path: bytes, size: int) -> None:
        self._result.items_skipped += 1
        self._result.bytes_skipped += size
        if self._options.verify:
            self._left_standing.add(place)
        self._progress.item("unchanged", display_text(path), size)

    def _may_replace(self, folder: _Folder, name: bytes, node: Node) -> bool:
        """Tell by ``--overwrite`` whether what stands at a name may be touched."""
        overwrite = self._options.overwrite
        target = self._target or self._preview
        if overwrite is Overwrite.ALWAYS or target is None:
            return True
        status = target.status(folder.target, name)
        if status is None:
            return True
        if overwrite is Overwrite.NEVER:
            return False
        modified = parse_nanoseconds(node.mtime)
        if overwrite is Overwrite.IF_NEWER:
            return modified > status.st_mtime_ns
        same = stat.S_ISREG(status.st_mode) and status.st_size == node.size and status.st_mtime_ns == modified
        return not same

    def _take_special(self, folder: _Folder, name: bytes, path: bytes, node: Node) -> None:
        if node.type not in ("symlink", "fifo", "dev", "chardev"):
            if node.type != "socket":
                raise ValueError(f"its type {node.type[:40]!r} is unknown")
            return
        self._make(folder)
        self._result.items_total += 1
        if not folder.fresh and not self._may_replace(folder, name, node):
            self._leave_standing(join(folder.target, name), path, 0)
            return
        if self._target is not None:
            with self._target.folder(folder.target) as fd:
                clear_at(name, fd)
                _make_special(name, node, fd)
                self._applier.apply_to_name(name, fd, node)
        self._result.items_restored += 1
        self._progress.advance(1, 0)
        self._progress.item("restored", display_text(path))

    # --- the end -----------------------------------------------------------------------------

    def _make_links(self, failed: set[tuple[bytes, bytes]]) -> None:
        for folder, name, path, first in self._later_links:
            outer, _, first_name = first.rpartition(b"/")
            if (outer, first_name) in failed:  # an older file may stand there: it is not what was asked for
                detail = Phrase(N_("it is a second name of {path!s}, which failed"), path=display_text(b"/" + first))
                self._report(RestoreError(path=display_text(path), detail=detail))
                continue
            try:
                if self._target is not None:
                    with self._target.folder(outer) as source, self._target.folder(folder.target) as fd:
                        clear_at(name, fd)
                        os.link(first_name, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                self._report(RestoreError(path=display_text(path), detail=error.strerror or str(error)))
                continue
            self._result.items_restored += 1
            self._progress.advance(1, 0)
            self._progress.item("restored", display_text(path))

    def _finish_folders(self) -> None:
        """Apply the metadata of folders, the innermost first: what is made in one changes its time."""
        if self._target is None:
            return
        for path, node, fresh in reversed(self._finished_folders):
            try:
                with self._target.folder(path) as fd:
                    self._applier.apply_to_open(fd, node, new=fresh)
            except (OSError, OverflowError, ValueError) as error:
                detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
                self._report(RestoreError(path=display_text(b"/" + path), detail=detail))

    def _delete_unknown(self, folder: _Folder, names: set[bytes]) -> None:
        """Remove what is in a folder of the target but not in the snapshot, where it is selected;
        in a dry run only name it."""
        target = self._target or self._preview
        if target is None:
            return
        try:
            with target.folder(folder.target) as fd:
                present = {name: stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
                           for name in map(os.fsencode, os.listdir(fd))}
        except OSError as error:
            if target is not self._preview:  # in a preview: it is not there, or a link that would be replaced
                self._report(RestoreError(path=display_text(folder.path or b"/"), detail=error.strerror or str(error)))
            return
        for name in sorted(present.keys() - names):
            path = folder.path + b"/" + name
            if not self._selection.select(path, present[name])[0]:
                continue
            try:
                paths = target.tree_below if target is self._preview else target.remove_tree
                for removed in paths(folder.target, name):
                    self._result.items_deleted += 1
                    self._progress.item("deleted", display_text(b"/" + removed))
            except OSError as error:
                self._report(RestoreError(path=display_text(path), detail=error.strerror or str(error)))

    def _report(self, error: KuramoriError) -> None:
        self._result.errors.append(error)
        self._progress.warning(error)


def _make_special(name: bytes, node: Node, fd: int) -> None:
    if node.type == "symlink":
        os.symlink(node.target_bytes, name, dir_fd=fd)
    elif node.type == "fifo":
        os.mkfifo(name, 0o600, dir_fd=fd)
    else:
        os.mknod(name, 0o600 | _NODE_KINDS[node.type], node.device, dir_fd=fd)
