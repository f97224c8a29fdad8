"""``stats``: how much snapshots hold, counted in restic's four ways."""

from __future__ import annotations

import abc
import enum
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kuramori.browsing.find import chosen_snapshots
from kuramori.browsing.walk import ErrorHandler, WalkedNode, walk_tree
from kuramori.errors import MissingBlobError
from kuramori.ids import ID_LENGTH, Id, join_ids, parse_id
from kuramori.model.blob import SEALED_OVERHEAD, BlobType
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter

_MARKED_TOGETHER = 4096
"""Ids of blobs that are looked up at once."""


class StatisticsMode(enum.Enum):
    """What to count; the names are restic's."""

    RESTORE_SIZE = "restore-size"
    """Bytes that a restore of each snapshot would write; hard links once per snapshot."""
    FILES_BY_CONTENTS = "files-by-contents"
    """Bytes of files, each different content once."""
    RAW_DATA = "raw-data"
    """Bytes in the repository, each blob once."""
    BLOBS_PER_FILE = "blobs-per-file"
    """Bytes of the different blobs of each file, each different content once."""


@dataclass(frozen=True, slots=True)
class StatisticsOptions:
    """What to count, and where."""

    mode: StatisticsMode = StatisticsMode.RESTORE_SIZE
    snapshots: tuple[str, ...] = ()
    """Ids, beginnings of ids, ``latest``; empty for all that the filter matches."""
    snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT


@dataclass(slots=True)
class Statistics:
    """The sums. Those that do not belong to the mode stay 0."""

    snapshots: int = 0
    total_size: int = 0
    """Bytes; in raw-data as they are stored."""
    total_file_count: int = 0
    """In restore-size: entries of any type."""
    total_blob_count: int = 0
    total_uncompressed_size: int = 0
    """raw-data of a repository of version 2: bytes if nothing were compressed."""
    compressed_blobs_size: int = 0
    """raw-data: stored bytes of the blobs that are compressed ..."""
    compressed_blobs_uncompressed_size: int = 0
    """... and what they would take otherwise."""

    @property
    def compression_ratio(self) -> float:
        """How many times larger the compressed blobs were; 0 if there are none."""
        if not self.compressed_blobs_size:
            return 0.0
        return self.compressed_blobs_uncompressed_size / self.compressed_blobs_size

    @property
    def compression_progress(self) -> float:
        """Per cent of the bytes that are stored in compressed form."""
        if not self.total_uncompressed_size:
            return 0.0
        return self.compressed_blobs_uncompressed_size / self.total_uncompressed_size * 100

    @property
    def compression_space_saving(self) -> float:
        """Per cent of the bytes that compression saves."""
        if not self.total_uncompressed_size:
            return 0.0
        return (1 - self.total_size / self.total_uncompressed_size) * 100


def count_statistics(repository: Repository, options: StatisticsOptions | None = None,
                     progress: Progress | None = None, *, on_error: ErrorHandler | None = None) -> Statistics:
    """Count; the index must be loaded.

    Memory: in restore-size the hard links of a snapshot; in raw-data a byte for each blob of the index; otherwise
    32 bytes and some for each different file.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError: a snapshot that was named.
        MissingBlobError: a blob that a file names is not in the index (blobs-per-file, raw-data).
        DamagedError, StorageError: a folder cannot be read and there is no ``on_error``.
    """
    options = options or StatisticsOptions()
    progress = progress or NoProgress()
    snapshots = chosen_snapshots(repository, options.snapshots, options.snapshot_filter)
    statistics = Statistics(snapshots=len(snapshots))
    progress.start("stats", len(snapshots))
    counters: dict[StatisticsMode, Callable[[Repository, Statistics], _Counter]] = {
        StatisticsMode.RESTORE_SIZE: _RestoreSize, StatisticsMode.FILES_BY_CONTENTS: _FilesByContents,
        StatisticsMode.RAW_DATA: _RawData, StatisticsMode.BLOBS_PER_FILE: _BlobsPerFile,
    }
    counter = counters[options.mode](repository, statistics)
    for stored in snapshots:
        counter.begin(stored)
        tree = parse_id(stored.snapshot.tree)
        for walked in walk_tree(repository, tree, enter=counter.enter, on_error=on_error):
            counter.count(walked)
        progress.advance(1)
    counter.finish()
    progress.finish()
    return statistics


class _Counter(abc.ABC):
    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        self.repository = repository
        self.statistics = statistics

    def begin(self, stored: StoredSnapshot) -> None:  # noqa: B027  (not every way to count cares)
        """A snapshot begins."""

    def enter(self, walked: WalkedNode) -> bool:
        """Tell whether to look into a folder."""
        return True

    @abc.abstractmethod
    def count(self, walked: WalkedNode) -> None:
        """Count one entry."""

    def finish(self) -> None:  # noqa: B027
        """All was counted."""


class _RestoreSize(_Counter):
    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        super().__init__(repository, statistics)
        self._links: set[tuple[int, int]] = set()

    def begin(self, stored: StoredSnapshot) -> None:
        self._links.clear()

    def count(self, walked: WalkedNode) -> None:
        node = walked.node
        self.statistics.total_file_count += 1
        if node.links != 1 and node.type != "dir" and node.inode:
            link = (node.inode, node.device_id)
            if link in self._links:
                return
            self._links.add(link)
        self.statistics.total_size += node.size


def _content_key(node: Node) -> bytes:
    """Return what tells files of different contents apart; all else counts as one empty file."""
    return hashlib.sha256("".join(node.content_ids).encode()).digest()


class _FilesByContents(_Counter):
    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        super().__init__(repository, statistics)
        self._seen: set[bytes] = set()

    def is_new(self, node: Node) -> bool:
        key = _content_key(node)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def count(self, walked: WalkedNode) -> None:
        if self.is_new(walked.node):
            self.statistics.total_size += walked.node.size
            self.statistics.total_file_count += 1


class _BlobsPerFile(_FilesByContents):
    """As restic counts: a path that comes again with other contents (in another snapshot) adds
    only the blobs that it did not have."""

    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        super().__init__(repository, statistics)
        self._blobs: dict[bytes, set[Id]] = {}

    def count(self, walked: WalkedNode) -> None:
        if not walked.node.content_ids or not self.is_new(walked.node):
            return
        known = self._blobs.get(walked.path)
        if known is None:
            known = self._blobs[walked.path] = set()
            self.statistics.total_file_count += 1
        for blob_id in _parsed(walked.node.content_ids):
            if blob_id in known:
                continue
            length = self.repository.index.plain_length(BlobType.DATA, blob_id)
            if length is None:
                raise MissingBlobError(kind="data", blob=blob_id.hex())
            known.add(blob_id)
            self.statistics.total_size += length
            self.statistics.total_blob_count += 1


class _RawData(_Counter):
    """Marks blobs in a byte for each of the index, many at a time."""

    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        super().__init__(repository, statistics)
        self._marks = bytearray(repository.index.record_count)
        self._waiting: list[str] = []

    def begin(self, stored: StoredSnapshot) -> None:
        self._mark(BlobType.TREE, [stored.snapshot.tree])

    def enter(self, walked: WalkedNode) -> bool:
        return self._mark(BlobType.TREE, [walked.node.subtree or ""])

    def count(self, walked: WalkedNode) -> None:
        if walked.node.type == "file":
            self._waiting += walked.node.content_ids
            if len(self._waiting) > _MARKED_TOGETHER:
                self._mark(BlobType.DATA, self._waiting)
                self._waiting.clear()

    def _mark(self, blob_type: BlobType, texts: list[str]) -> bool:
        """Mark blobs; return whether one of them was not marked."""
        joined = join_ids(texts)
        if joined is None:
            joined = b"".join(_parsed(texts))
        numbers = self.repository.index.numbers(blob_type, joined)
        new = False
        for place, number in enumerate(numbers):
            if number < 0:
                missing = joined[place * ID_LENGTH : (place + 1) * ID_LENGTH]
                raise MissingBlobError(kind=blob_type.value, blob=missing.hex())
            new |= not self._marks[number]
            self._marks[number] = 1
        return new

    def finish(self) -> None:
        self._mark(BlobType.DATA, self._waiting)
        compressible = self.repository.version >= 2
        for own, (number, record) in enumerate(self.repository.index.records()):
            if own == number and self._marks[number]:
                self._add(record[4], record[5], compressible)

    def _add(self, length: int, uncompressed_length: int, compressible: bool) -> None:
        statistics = self.statistics
        statistics.total_blob_count += 1
        statistics.total_size += length
        if not compressible:
            return
        plain = uncompressed_length + SEALED_OVERHEAD if uncompressed_length else length
        statistics.total_uncompressed_size += plain
        if uncompressed_length:
            statistics.compressed_blobs_size += length
            statistics.compressed_blobs_uncompressed_size += plain


def _parsed(texts: Iterable[str]) -> Iterable[Id]:
    for text in texts:
        try:
            yield parse_id(text)
        except ValueError:
            continue  # no blob can have that id; check reports it
