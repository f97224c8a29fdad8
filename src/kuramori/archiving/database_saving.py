"""Saves databases: the part of a worker's work that needs SQLite."""

from __future__ import annotations

import os
from collections.abc import Callable

import apsw
import msgspec

from kuramori.archiving.databases import DatabaseSettings, NotSaved, SavedImage
from kuramori.archiving.storing import Chunk, ChunkStore
from kuramori.chunking.page_aligned import chunk_bounds
from kuramori.clock import Clock
from kuramori.errors import N_, Interrupted
from kuramori.ids import Id, hash_id
from kuramori.model.databases import DatabaseRecord
from kuramori.processors import available_processors
from kuramori.sources.sqlite_facts import examine_connection, examine_image
from kuramori.sources.sqlite_files import is_database_header, owner_of_sibling
from kuramori.sources.sqlite_image import read_image
from kuramori.sources.sqlite_reading import (
    OutOfTimeError,
    Patience,
    Reading,
    SourceChangingError,
    StoppedError,
    read_database,
)
from kuramori.sources.sqlite_side_check import SideCheck
from kuramori.sources.sqlite_stream import ImageError

_BATCH_BYTES = 1024 * 1024
_KEPT_BYTES = 64 * 1024 * 1024
"""An image up to this size is kept in memory where its writers have to wait for readers: they need not wait
for compression, the storage and the check too."""
_LOOK_SECONDS = 0.1
_PATIENCE_OF_WRITERS = 4.0
"""Seconds that the writers of a larger one may be kept waiting by its check too: most are patient for five. Where
reading and checking it take longer, it is checked as it is stored."""


class DatabaseSaver:
    """Saves images of databases. Used by one thread of a process that does nothing else with them."""

    def __init__(self, store: ChunkStore, settings: DatabaseSettings, clock: Clock, stop: Callable[[], bool]) -> None:
        """Keep the chunks in ``store``.

        Args:
            stop: asked often; True ends the work with :class:`kuramori.errors.Interrupted`.
        """
        self._store = store
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._patience = Patience(clock, settings.busy_timeout, stop)
        self._unreadable: set[tuple[int, int]] = set()

    def leaves_out(self, name: bytes, directory: int) -> bool:
        """Tell whether a file belongs to a database that is saved as an image, which contains
        what is in it.

        Args:
            directory: a descriptor of its directory.
        """
        owner = owner_of_sibling(name)
        if owner is None:
            return False
        try:
            status, header = _look_at(owner, directory)
        except OSError:
            return False
        if not is_database_header(header):
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in self._unreadable:
            return False
        why = self._read(owner, directory, lambda reading: None)
        if why is not None and not why.busy:
            self._unreadable.add(identity)
            return False
        return True

    def save(self, name: bytes, directory: int) -> SavedImage | NotSaved:
        """Save the image of a database.

        Nobody in this process may have its file open.

        Raises:
            Interrupted
            StorageError, SealVerificationError: from storing.
        """
        found: list[SavedImage] = []

        def read(reading: Reading) -> None:
            found[:] = [self._save_from(reading)]

        why = self._read(name, directory, read)
        if why is not None:
            if not why.busy:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                self._unreadable.add((status.st_dev, status.st_ino))
            return why
        return found[0]

    def _read(self, name: bytes, directory: int, read: Callable[[Reading], None]) -> NotSaved | None:
        try:
            read_database(name, directory, self._patience, read)
        except StoppedError:
            raise Interrupted from None
        except (apsw.BusyError, apsw.LockedError):
            return NotSaved(f"{self._patience.seconds:g}", busy=True)
        except UnicodeDecodeError:
            return NotSaved(N_("its name is not UTF-8"), busy=False)
        except (apsw.Error, ImageError, SourceChangingError, OSError) as error:
            return NotSaved(str(error), busy=False)
        return None

    def _save_from(self, reading: Reading) -> SavedImage:
        began = self._clock.monotonic()
        facts = examine_connection(reading.connection, "", check=False)
        if reading.blocks_writers and facts.page_size * facts.page_count <= _KEPT_BYTES:
            return self._save_quickly(reading, facts)
        # With a log readers keep nobody waiting, so the instant that was saved can be looked at as it is.
        deadline = began + _PATIENCE_OF_WRITERS if reading.blocks_writers else None
        beside = None
        if self._settings.check and reading.is_in_its_file and reading.is_in_memory and available_processors() > 1:
            beside = SideCheck(reading)
        try:
            collector = _Collector(self._store)
            size = read_image(reading, collector.take)
            collector.finish()
            record = None if beside is None else self._wait_for(beside, deadline)
        finally:
            if beside is not None:
                beside.stop()
        if record is not None:
            record = msgspec.structs.replace(record, path="")
        elif self._settings.check:
            record = self._examine_in_time(reading, deadline)
        return SavedImage(size, collector.content(), record or facts, unchecked=self._settings.check and record is None)

    def _wait_for(self, beside: SideCheck, deadline: float | None) -> DatabaseRecord | None:
        while not beside.wait(_LOOK_SECONDS):
            self._patience.check()
            if deadline is not None and self._clock.monotonic() >= deadline:
                return None
        return beside.record

    def _examine_in_time(self, reading: Reading, deadline: float | None) -> DatabaseRecord | None:
        try:
            with self._patience.until(reading.connection, deadline):
                return examine_connection(reading.connection, "")
        except OutOfTimeError:
            return None

    def _save_quickly(self, reading: Reading, facts: DatabaseRecord) -> SavedImage:
        """Read the image, let writers go on, and only then store and check it."""
        copy = bytearray(facts.page_size * facts.page_count)

        def take(offset: int, chunk: bytearray | memoryview) -> None:
            copy[offset : offset + len(chunk)] = chunk

        read_image(reading, take)
        reading.end()
        collector = _Collector(self._store)
        start = 0
        with memoryview(copy) as view:
            while start < len(copy):
                _, end = chunk_bounds(start, facts.page_size)
                collector.take(start, view[start:end])
                start = end
            collector.finish()
        record = self._examine_copy(copy, facts) if self._settings.check else facts
        return SavedImage(len(copy), collector.content(), record, unchecked=False)

    def _examine_copy(self, copy: bytearray, facts: DatabaseRecord) -> DatabaseRecord:
        def read(amount: int, offset: int) -> bytes:
            return bytes(copy[offset : offset + amount])

        try:
            return examine_image(read, len(copy), "", self._stop)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            return msgspec.structs.replace(facts, integrity=str(error))


class _Collector:
    """Hands chunks to the store, many at a time, and remembers which they were."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store
        self._ids: dict[int, str] = {}
        self._waiting: list[Chunk] = []
        self._waiting_ids: list[Id] = []
        self._waiting_bytes = 0

    def take(self, offset: int, chunk: Chunk) -> None:
        blob_id = hash_id(chunk)
        self._ids[offset] = blob_id.hex()
        self._waiting.append(chunk)
        self._waiting_ids.append(blob_id)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes >= _BATCH_BYTES:
            self.finish()

    def finish(self) -> None:
        """Store what is waiting."""
        if self._waiting:
            self._store.store(self._waiting_ids, self._waiting)
        self._waiting, self._waiting_ids, self._waiting_bytes = [], [], 0

    def content(self) -> list[str]:
        """Return the ids of all chunks in order."""
        return [self._ids[offset] for offset in sorted(self._ids)]


def _look_at(name: bytes, directory: int) -> tuple[os.stat_result, bytes]:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.fstat(fd), os.pread(fd, 16, 0)
    finally:
        os.close(fd)
