"""A repository as it is at the moment, though others write into it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kuramori.errors import DamagedError, FileNotInStorageError, KuramoriError, MissingBlobError
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import SnapshotFilter, load_each_snapshot
from kuramori.storage.backend import FileType


class RepositoryView:
    """Reads blobs and snapshots, and the index anew where it may have changed. May be used by several
    threads."""

    def __init__(self, repository: Repository, snapshot_filter: SnapshotFilter, *, patience: float,
                 on_error: Callable[[KuramoriError], object]) -> None:
        """Nothing is read yet.

        Args:
            repository: its index is loaded here.
            patience: seconds that must lie between two readings of the index for a blob that is missing.
            on_error: takes snapshots that cannot be read.
        """
        self.repository = repository
        self._filter = snapshot_filter
        self._patience = patience
        self._on_error = on_error
        self._snapshots: dict[str, StoredSnapshot] = {}
        self._unreadable: set[str] = set()
        self._guard = threading.Lock()
        self._indexed_at: float | None = None

    def snapshots(self) -> list[StoredSnapshot]:
        """Return the snapshots that the filter matches, the oldest first. Only new ones are read, and
        the index as well where there are any. One thread at a time may call this.

        Raises:
            StorageError, DamagedError: the snapshots cannot be listed, or the index cannot be read.
        """
        present = {info.name for info in self.repository.backend.list(FileType.SNAPSHOT)}
        for name in set(self._snapshots) - present:
            del self._snapshots[name]
        found = {}
        new = sorted(present - set(self._snapshots) - self._unreadable)
        for name, load in load_each_snapshot(self.repository, new):
            try:
                found[name] = load()
            except FileNotInStorageError:
                continue
            except DamagedError as error:
                self._unreadable.add(name)
                self._on_error(error)
        if found or self._indexed_at is None:
            self._reload()  # what a snapshot names was indexed before it was written
        self._snapshots |= found
        matching = [stored for stored in self._snapshots.values() if self._filter.matches(stored.snapshot)]
        return sorted(matching, key=lambda stored: (stored.snapshot.time_nanoseconds, stored.id))

    def folder_document(self, tree: Id) -> bytes:
        """Return the JSON of a tree.

        Raises:
            MissingBlobError, DamagedError, StorageError
        """
        return self.load_blob(BlobType.TREE, tree)

    def load_blob(self, blob_type: BlobType, blob_id: Id) -> bytes:
        """Return a blob, verified.

        Raises:
            MissingBlobError, DamagedError, StorageError
        """
        try:
            return self.repository.load_blob(blob_type, blob_id)
        except (MissingBlobError, FileNotInStorageError):
            if not self._reload_if_changed():
                raise
        return self.repository.load_blob(blob_type, blob_id)

    def plain_length(self, blob_id: Id) -> int | None:
        """Return a data blob's length, as the index says, or None if it is unknown."""
        length = self.repository.index.plain_length(BlobType.DATA, blob_id)
        if length is None and self._reload_if_changed():
            length = self.repository.index.plain_length(BlobType.DATA, blob_id)
        return length

    def copies(self, blob_id: Id) -> list[PackedBlob]:
        """Return where a data blob lies."""
        return self.repository.index.lookup(BlobType.DATA, blob_id)

    def _reload_if_changed(self) -> bool:
        """Read the index again if it may have changed; tell whether it was read."""
        with self._guard:
            now = self.repository.clock.monotonic()
            if self._indexed_at is not None and now - self._indexed_at < self._patience:
                return False
            self._indexed_at = now
        names = {info.name for info in self.repository.backend.list(FileType.INDEX)}
        if names == self.repository.index_names:
            return False
        self._reload()
        return True

    def _reload(self) -> None:
        self.repository.load_index()
        self._indexed_at = self.repository.clock.monotonic()



