"""A backup: from paths or a stream to a snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from kuramori.archiving.blob_writing import BlobWriter
from kuramori.archiving.databases import DatabaseOptions, DatabaseSettings, DatabaseWatch
from kuramori.archiving.file_processor import FileOutcome
from kuramori.archiving.folder import FileTask, Folder
from kuramori.archiving.folder_scouts import FolderScouts, count_scouts
from kuramori.archiving.parent import ParentOptions, ParentReader, check_parent_options, choose_parent, seems_new
from kuramori.archiving.stream import StreamSource, save_stream, store_stream_trees, stream_roots
from kuramori.archiving.targets import absolute_paths, arrange_targets
from kuramori.archiving.tree_builder import TreeBuilder
from kuramori.errors import (
    N_,
    Interrupted,
    KuramoriError,
    NothingToBackUpError,
    RepositoryLockedError,
    SourceError,
    SourceMissingError,
    UsageError,
)
from kuramori.model.databases import DatabaseRecord
from kuramori.model.json import replace_undecodable
from kuramori.model.names import display_text
from kuramori.model.snapshot import Snapshot, SnapshotSummary, StoredSnapshot
from kuramori.model.times import format_datetime
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.locks import Lock, hold_lock, withdraw_unless_held
from kuramori.repository.packer import DEFAULT_PACK_SIZE, MAXIMUM_PACK_SIZE, MINIMUM_PACK_SIZE
from kuramori.repository.process_identity import current_identity
from kuramori.repository.repository import Repository
from kuramori.repository.retention import extend_retention
from kuramori.repository.snapshots import save_snapshot
from kuramori.repository.transfers import is_remote
from kuramori.sources.excludes import ExcludeOptions, Excluder
from kuramori.storage.backend import FileType

_LEFTOVER_SECONDS = 24 * 3600.0


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What to back up and how."""

    paths: tuple[bytes, ...] = ()
    """Files and folders, absolute or relative to the working directory."""
    stream: StreamSource | None = None
    """Instead of paths: one file made of a stream. The snapshot records its path, as restic does."""
    streams: tuple[StreamSource, ...] = ()
    """Instead of paths: several files made of streams, which are read one after the other. If one fails there
    is no snapshot. The snapshot records the paths of what lies at its root."""
    excludes: ExcludeOptions = field(default_factory=ExcludeOptions)
    parent: ParentOptions = field(default_factory=ParentOptions)
    databases: DatabaseOptions | None = None
    """How SQLite databases are saved; None to treat them as any file (as restic does: what is saved
    while somebody writes may be damaged)."""
    tags: tuple[str, ...] = ()
    hostname: str = ""
    """Empty for this machine's name."""
    time: datetime | None = None
    """Aware; None for now."""
    with_atime: bool = False
    dry_run: bool = False
    """Read and compute everything, write nothing, take no lock."""
    skip_if_unchanged: bool = False
    """Make no snapshot if its tree is the parent's."""
    compression: Compression = Compression.AUTO
    pack_size: int = DEFAULT_PACK_SIZE
    """Bytes, 4 to 128 MiB."""
    workers: int | None = None
    """Processes that read and seal at most; None for as many as processors."""
    no_lock: bool = False
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""
    program_version: str = "kuramori"
    before_snapshot: Callable[[SnapshotSummary], None] | None = None
    """Asked when all is stored, before the snapshot is written; what it raises ends the backup without one."""
    cancelled: Callable[[], bool] = _never
    """Asked often; True ends the backup with :class:`kuramori.errors.Interrupted`, what was stored
    is kept for the next run."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What came of it."""

    snapshot_id: str | None
    """None if none was written (dry run, or unchanged)."""
    snapshot: Snapshot
    parent: StoredSnapshot | None
    summary: SnapshotSummary
    errors: tuple[KuramoriError, ...]
    """What could not be saved or changed meanwhile; the snapshot holds the rest."""
    seconds: float
    data_added_trees: int = 0
    """Plain bytes of new trees, contained in ``summary.data_added``."""
    databases: tuple[DatabaseRecord, ...] = ()
    """What was found out about the databases in the snapshot, if ``options.databases`` asked for
    it: those that were read, and those that are unchanged and known. Sorted by path."""


def back_up(repository: Repository, options: BackupOptions, progress: Progress | None = None) -> BackupResult:
    """Make a snapshot.

    Takes a shared lock, reads the index, and writes packs, then the index, then the snapshot, in
    this order. Errors of single files do not stop it.

    Raises:
        NothingToBackUpError: not one item could be saved; there is no snapshot.
        SourceCommandError, or what a stream's verdict says: a command failed, or a stream was not
            whole; there is no snapshot.
        RepositoryLockedError, LockLostError, StorageError, DamagedError: there is no snapshot.
        Interrupted: ``options.cancelled`` said so.
    """
    progress = progress or NoProgress()
    if not options.paths and options.stream is None and not options.streams:
        raise UsageError(detail=N_("nothing to back up was named"))
    if not MINIMUM_PACK_SIZE <= options.pack_size <= MAXIMUM_PACK_SIZE:
        raise UsageError(detail=N_("the pack size must lie between 4 and 128 MiB"))
    check_parent_options(options.parent)
    if options.dry_run:
        repository = repository.without_writes()
    if options.dry_run or options.no_lock:
        return _Backup(repository, options, progress, None).run()
    with hold_lock(repository, retry_seconds=options.retry_lock_seconds, confirm=False,
                   waiting=options.lock_waiting) as lock:
        return _Backup(repository, options, progress, lock).run()


class _Backup:
    """One run."""

    def __init__(self, repository: Repository, options: BackupOptions, progress: Progress, lock: Lock | None) -> None:
        self._repository = repository
        self._options = options
        self._progress = progress
        self._lock = lock
        self._clock = repository.clock
        self._missing: list[KuramoriError] = []
        self._databases: DatabaseWatch | None = None
        start = self._clock.now()
        self._started = self._clock.monotonic()
        self._summary = SnapshotSummary(backup_start=format_datetime(start), backup_end="")
        self._snapshot = self._describe(start)

    def _describe(self, start: datetime) -> Snapshot:
        options = self._options
        identity = current_identity()
        if options.stream is not None:
            paths = [options.stream.snapshot_path()]
        elif options.streams:
            paths = stream_roots(options.streams)
        else:
            paths = absolute_paths(self._existing())
        excludes = [*options.excludes.patterns, *options.excludes.case_insensitive_patterns]
        return Snapshot(
            time=format_datetime(options.time or start), tree="",
            paths=[path.decode("utf-8", "replace") for path in paths],
            hostname=replace_undecodable(options.hostname or identity.hostname),
            username=replace_undecodable(identity.username), uid=identity.uid, gid=identity.gid,
            excludes=[text.decode("utf-8", "replace") for text in excludes] or None,
            tags=[replace_undecodable(tag) for tag in options.tags] or None,
            program_version=options.program_version,
        )

    def _existing(self) -> list[bytes]:
        found = []
        for path in self._options.paths:
            try:
                os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                self._missing.append(SourceMissingError(path=display_text(path)))
            except (OSError, ValueError) as error:
                self._missing.append(SourceError(path=display_text(path), detail=str(error)))
            else:
                found.append(path)
        if not found:
            raise NothingToBackUpError(detail=tuple(self._missing[:5]))
        return found

    def run(self) -> BackupResult:
        """Do it."""
        for error in self._missing:
            self._progress.warning(error)
        parent = None
        if self._options.parent.snapshot or not seems_new(self._repository):
            parent = choose_parent(self._repository, self._options.parent, self._snapshot, self._progress)
            self._repository.load_index(self._progress)
        self._repository.distrust_damaged()
        if self._lock is not None:
            if is_remote(self._repository.backend):
                self._lock.confirm_meanwhile()  # BlobWriter sends no pack before it is known
            else:
                self._lock.confirm()  # on a disk of this machine workers write packs by themselves, and ask nobody
            self._repository.backend.remove_leftovers(_LEFTOVER_SECONDS)
        builder: TreeBuilder | None = None

        def done(task: FileTask, outcomes: list[FileOutcome]) -> None:
            assert builder is not None
            builder.task_done(task, outcomes)

        def saved(task: FileTask, nodes: list[bytes], sizes: list[int]) -> None:
            assert builder is not None
            builder.task_saved(task, nodes, sizes)

        writer = BlobWriter(
            self._repository, compression=self._options.compression, pack_size=self._options.pack_size,
            workers=self._options.workers, with_atime=self._options.with_atime, done=done, saved=saved,
            check=self._check, check_lock=self._assure_lock,
            databases=self._database_settings(),
        )
        scouts: FolderScouts[Folder] = FolderScouts(count_scouts(self._options.workers), self._options.with_atime)
        try:
            self._progress.start("backup")
            reader = ParentReader(self._repository, self._options.parent, self._progress, parent)
            if self._options.databases is not None:
                self._databases = DatabaseWatch(self._options.databases, reader)
                self._databases.begin(parent.snapshot if parent is not None else None)
            builder = self._builder(writer, reader, scouts)
            tree, errors = self._save(writer, builder, parent)
            writer.finish()
            errors += self._check_databases()
            return self._conclude(writer, parent, tree, errors)
        except (Interrupted, KeyboardInterrupt):
            writer.rescue()
            raise
        finally:
            scouts.close()
            writer.close()
            self._progress.finish()

    def _database_settings(self) -> DatabaseSettings | None:
        options = self._options.databases
        return None if options is None else DatabaseSettings(options.busy_timeout, options.check)

    def _check_databases(self) -> list[KuramoriError]:
        """Check the images that are to be read from where they are stored now."""
        if self._databases is None or self._options.dry_run:
            return []
        complaints = self._databases.check_stored(self._repository, self._check)
        for complaint in complaints:
            self._progress.warning(complaint)
        return complaints

    def _builder(self, writer: BlobWriter, reader: ParentReader, scouts: FolderScouts[Folder]) -> TreeBuilder:
        return TreeBuilder(
            excluder=Excluder(self._options.excludes), parent=reader, store_tree=writer.store_tree,
            submit=writer.submit, progress=self._progress, summary=self._summary,
            with_atime=self._options.with_atime, databases=self._databases, scouts=scouts,
        )

    def _check(self) -> None:
        if self._options.cancelled():
            raise Interrupted
        self._check_lock()

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _assure_lock(self) -> None:
        """Before anything is written: wait until nobody else can have a lock that excludes ours."""
        if self._lock is not None:
            self._lock.confirm()
            self._lock.check()

    def _save(self, writer: BlobWriter, builder: TreeBuilder,
              parent: StoredSnapshot | None) -> tuple[str, list[KuramoriError]]:
        streams = self._options.streams if self._options.stream is None else (self._options.stream,)
        if streams:
            return self._save_streams(writer, streams), []
        missing = {str(error.fields["path"]) for error in self._missing}
        root, unlisted = arrange_targets([p for p in self._options.paths if display_text(p) not in missing])
        for failure in unlisted:
            error = SourceError(path=display_text(failure.path), detail=failure.error.strerror or str(failure.error))
            self._missing.append(error)
            self._progress.warning(error)
        for _ in builder.walk(root, parent.snapshot.tree if parent is not None else None):
            self._check()
            writer.step()
        writer.drain()
        errors = [*self._missing, *builder.errors]
        if builder.saved_items == 0 or builder.root_id is None:
            raise NothingToBackUpError(detail=tuple(errors[:5]) or N_("every item was excluded"))
        return builder.root_id, errors

    def _save_streams(self, writer: BlobWriter, streams: tuple[StreamSource, ...]) -> str:
        now = self._clock.now_nanoseconds()
        saved = []
        for source in streams:
            node = save_stream(source, writer.processor, now, check=self._check,
                               advance=lambda count: self._progress.advance(0, count))
            self._progress.advance(1)
            self._summary.files_new += 1
            self._summary.total_files_processed += 1
            self._summary.total_bytes_processed += node.size
            saved.append((source, node))
        return store_stream_trees(saved, writer.store_tree, now)

    def _conclude(self, writer: BlobWriter, parent: StoredSnapshot | None, tree: str,
                  errors: list[KuramoriError]) -> BackupResult:
        data, trees = writer.data_counts(), writer.tree_counts
        summary, snapshot = self._summary, self._snapshot
        summary.data_blobs, summary.tree_blobs = data.blobs, trees.blobs
        summary.data_added = data.plain_bytes + trees.plain_bytes
        summary.data_added_packed = data.stored_bytes + trees.stored_bytes
        summary.backup_end = format_datetime(self._clock.now())
        snapshot.tree = tree
        snapshot.parent = parent.id if parent is not None else None
        snapshot.summary = summary
        snapshot_id: str | None = None
        unchanged = parent is not None and parent.snapshot.tree == tree
        if self._options.before_snapshot is not None:
            self._options.before_snapshot(summary)
        if not self._options.dry_run and not (unchanged and self._options.skip_if_unchanged):
            self._check()
            self._assure_lock()
            snapshot_id = save_snapshot(self._repository, snapshot)
            withdraw_unless_held(self._repository, FileType.SNAPSHOT, snapshot_id, self._check_lock)
            if self._repository.complete_snapshots is not None:
                self._repository.complete_snapshots.note(
                    snapshot_id, self._repository.index_names | set(writer.index_names), snapshot.parent)
        if not self._options.dry_run:
            extend_retention(self._repository, self._progress)
        return BackupResult(snapshot_id, snapshot, parent, summary, tuple(errors),
                            self._clock.monotonic() - self._started, trees.plain_bytes,
                            self._databases.records() if self._databases is not None else ())
