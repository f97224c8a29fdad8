"""Databases among the files of a backup: what is asked for, and what the main process knows of them.

The files themselves are opened in workers only, never here: see :mod:`kuramori.sources.sqlite_files`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from kuramori.archiving.parent import ParentReader
from kuramori.chunking.page_aligned import chunk_bounds
from kuramori.errors import DatabaseUnsoundError, KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.model.databases import DatabaseRecord
from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.snapshot import Snapshot
from kuramori.model.times import parse_nanoseconds
from kuramori.repository.repository import Repository
from kuramori.sources.sqlite_files import newest_change, owner_of_sibling, sibling_statuses

_SMALLEST_PAGE = 512
_CACHED_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """How SQLite databases are saved.

    Each one that is met (told by its first bytes) is saved as an image of one instant, while others
    write to it, and its ``-wal``, ``-shm`` and ``-journal`` are left out. All files of the backup are
    then read by worker processes, so that a caller who has a database open keeps its locks.
    """

    busy_timeout: float = 60.0
    """Seconds to wait for somebody who holds a database exclusively."""
    check: bool = True
    """Check each image (integrity_check, foreign_key_check), count rows, hash the schema."""
    required: frozenset[bytes] = frozenset()
    """Absolute paths that must be databases: :class:`kuramori.errors.NotADatabaseError` otherwise."""
    known: tuple[DatabaseRecord, ...] = ()
    """What is known of the databases of the parent snapshot (its ``BackupResult.databases``). The
    records of those that are unchanged are taken over. An unchanged one that is required and not
    known is read again."""


class DatabaseSettings(msgspec.Struct):
    """What of the options a worker needs."""

    busy_timeout: float
    check: bool


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image whose chunks are stored."""

    size: int
    content: list[str]
    record: DatabaseRecord
    unchecked: bool


@dataclass(frozen=True, slots=True)
class NotSaved:
    """Why there is no image."""

    problem: str
    busy: bool
    """True if somebody held the database: then its file is not fit to be saved either."""


class SavedDatabase(NamedTuple):
    """A database that was saved."""

    path: bytes
    record: DatabaseRecord
    content: Sequence[str]
    """Ids of its chunks, hexadecimal; empty once it was checked."""


class DatabaseWatch:
    """Tells which databases are unchanged, and collects what becomes of the others."""

    def __init__(self, options: DatabaseOptions, parent: ParentReader) -> None:
        """Compare with ``parent``."""
        self._options = options
        self._parent = parent
        self._since: int | None = None
        self._known = {record.path: record for record in options.known}
        self.saved: list[SavedDatabase] = []
        self.unchanged: list[DatabaseRecord] = []

    def begin(self, snapshot: Snapshot | None) -> None:
        """Take note of the parent snapshot before its nodes are compared with files."""
        if snapshot is not None:
            started = snapshot.summary.backup_start if snapshot.summary is not None else snapshot.time
            self._since = parse_nanoseconds(started)

    def is_required(self, path: bytes) -> bool:
        """Tell whether a path must be a database."""
        return path in self._options.required

    def is_unchanged(self, node: Node, status: os.stat_result, name: bytes, directory: int, path: bytes,
                     snapshot_path: bytes) -> bool:
        """Tell whether a file that may be a database, or belong to one, is as the parent has it.

        The saved ctime of a database is the newest of its own and those of its log and journal, so
        a commit to the log counts. What was written to after the parent's backup began is read
        again: it may have been written to twice within one tick of the file system's clock.

        Args:
            directory: a descriptor of its directory.
            path: where it is, absolute.
            snapshot_path: where it is in the snapshot.
        """
        owner = owner_of_sibling(name)
        if owner is not None and _is_there(owner, directory):
            return False  # whether it is saved depends on what the database is now
        if status.st_size % _SMALLEST_PAGE:
            return self._parent.is_unchanged(node, status)
        siblings = sibling_statuses(name, directory)
        newest = newest_change(status, siblings)
        if self._since is None or newest >= self._since or (siblings and not self._parent.compares_ctime):
            return False
        # An image with what is in the log may be longer than the file.
        if not self._parent.is_unchanged(node, status, newest, any_size=bool(siblings)):
            return False
        record = self._known.get(display_text(snapshot_path))
        if record is not None and not record.sound:
            return False  # it is told of each time
        if record is None:
            return path not in self._options.required
        self.unchanged.append(record)
        return True

    def take(self, path: bytes, snapshot_path: bytes, record: DatabaseRecord,
             content: Sequence[str]) -> KuramoriError | None:
        """Take in what a worker saved; return what is to be said of it.

        Args:
            content: ids of its chunks if it is still to be checked, as it is stored.
        """
        record = msgspec.structs.replace(record, path=display_text(snapshot_path))
        self.saved.append(SavedDatabase(path, record, content))
        return _complaint(path, record)

    def take_empty(self, snapshot_path: bytes) -> None:
        """Take in an empty file that must be a database: it is one, without tables."""
        self.unchanged.append(DatabaseRecord(display_text(snapshot_path), "sqlite", integrity="ok", foreign_keys="ok"))

    def records(self) -> tuple[DatabaseRecord, ...]:
        """Return all records, sorted by path."""
        found = [*self.unchanged, *(saved.record for saved in self.saved)]
        return tuple(sorted(found, key=lambda record: record.path))

    def check_stored(self, repository: Repository, stop: Callable[[], None]) -> list[KuramoriError]:
        """Check the images that are still unchecked as they are stored; return what is to be said
        of them.

        Args:
            repository: its index has all their blobs.
            stop: called often; raises to end the backup.
        """
        complaints = []
        for number, saved in enumerate(self.saved):
            if not saved.content:
                continue
            record = _examine_stored(repository, saved, stop)
            self.saved[number] = saved._replace(record=record, content=())
            complaint = _complaint(saved.path, record)
            if complaint is not None:
                complaints.append(complaint)
        return complaints


def _complaint(path: bytes, record: DatabaseRecord) -> KuramoriError | None:
    if record.sound:
        return None
    detail = record.integrity if record.integrity not in ("", "ok") else record.foreign_keys
    return DatabaseUnsoundError(path=display_text(path), detail=detail)


def _is_there(name: bytes, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _examine_stored(repository: Repository, saved: SavedDatabase, stop: Callable[[], None]) -> DatabaseRecord:
    # Lazy: SQLite is loaded only where there are databases.
    import apsw

    from kuramori.sources.sqlite_facts import examine_image

    image = _StoredImage(repository, [parse_id(text) for text in saved.content], saved.record.page_size)

    def asked() -> bool:
        stop()
        return False

    try:
        return examine_image(image.read, saved.record.page_size * saved.record.page_count, saved.record.path, asked)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return msgspec.structs.replace(saved.record, integrity=str(error))


class _StoredImage:
    """Reads an image from its blobs, some of which are kept."""

    def __init__(self, repository: Repository, content: Sequence[Id], page_size: int) -> None:
        self._repository = repository
        self._page_size = page_size
        self._chunks: dict[int, Id] = {}
        offset = 0
        for blob_id in content:
            self._chunks[offset] = blob_id
            _, offset = chunk_bounds(offset, page_size)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0

    def read(self, amount: int, offset: int) -> bytes:
        """Return up to ``amount`` bytes; SQLite never asks across pages."""
        start, _ = chunk_bounds(offset, self._page_size)
        chunk = self._kept.get(start)
        if chunk is None:
            blob_id = self._chunks.get(start)
            if blob_id is None:
                return b""
            chunk = self._kept[start] = self._repository.load_blob(BlobType.DATA, blob_id)
            self._kept_bytes += len(chunk)
            while self._kept_bytes > _CACHED_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        else:
            self._kept.move_to_end(start)
        return chunk[offset - start : offset - start + amount]
