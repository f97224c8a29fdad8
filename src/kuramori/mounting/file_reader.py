"""Reading files of a snapshot at any offset: blobs are kept for a while, and read ahead."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from kuramori.errors import N_, DamagedError, KuramoriError, MissingBlobError, Phrase
from kuramori.ids import ID_LENGTH, Id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.names import display_text
from kuramori.mounting.bounded_cache import BoundedCache
from kuramori.mounting.repository_view import RepositoryView

_READ_AHEAD = 4 * 1024 * 1024
"""Plain bytes that are read ahead of a reader; less where the cache is small."""
_READ_AHEAD_SHARE = 4
_SLACK = 1024 * 1024
"""Bytes between two reads that still count as one after the other."""
_OBJECT_BYTES = 200


class BlobStore:
    """Data blobs by their ids, verified, up to a number of bytes in memory. May be used by several
    threads."""

    def __init__(self, view: RepositoryView, capacity: int) -> None:
        """Begin empty.

        Args:
            capacity: bytes of plain blobs that are kept.
        """
        self._view = view
        self.cache: BoundedCache[Id, bytes] = BoundedCache(capacity)
        self.window = min(_READ_AHEAD, capacity // _READ_AHEAD_SHARE)
        """Plain bytes that a reader asks for ahead."""
        self._threads = ThreadPoolExecutor(2, "kuramori-read-ahead")
        self._queued = 0
        self._guard = Lock()

    def length(self, blob_id: Id) -> int | None:
        """Return a blob's length, or None if no index names it."""
        return self._view.plain_length(blob_id)

    def load(self, blob_id: Id) -> bytes:
        """Return a blob.

        Raises:
            MissingBlobError, DamagedError, StorageError
        """
        def read() -> tuple[bytes, int]:
            plain = self._view.load_blob(BlobType.DATA, blob_id)
            return plain, len(plain) + _OBJECT_BYTES

        return self.cache.obtain(blob_id, read)

    def read_ahead(self, blob_ids: Sequence[Id], size: int) -> None:
        """Begin to read blobs that will probably be wanted; return at once. What goes wrong is only
        found out by who asks for them.

        Args:
            size: their plain bytes.
        """
        with self._guard:
            # More would only push out of the cache what is wanted now.
            if size > self.cache.capacity // 2 or (self._queued and self._queued + size > 2 * self.window):
                return
            self._queued += size
        claimed = self.cache.claim(blob_ids)
        try:
            self._threads.submit(self._read_claimed, claimed, size)
        except RuntimeError as error:  # it was closed meanwhile
            for blob_id in claimed:
                self.cache.fail(blob_id, error)

    def close(self) -> None:
        """End the threads. May be called more than once."""
        self._threads.shutdown(wait=True, cancel_futures=False)

    def _read_claimed(self, claimed: Sequence[Id], size: int) -> None:
        by_pack: defaultdict[Id, list[PackedBlob]] = defaultdict(list)
        waiting = set(claimed)
        try:
            for blob_id in claimed:
                for copy in self._view.copies(blob_id)[:1]:
                    by_pack[copy.pack].append(copy)
            for pack, blobs in by_pack.items():
                for blob, plain in self._view.repository.read_blobs(pack, blobs):
                    if isinstance(plain, bytes):
                        waiting.discard(blob.id)
                        self.cache.settle(blob.id, plain, len(plain) + _OBJECT_BYTES)
        finally:
            for blob_id in waiting:
                self._read_alone(blob_id)
            with self._guard:
                self._queued -= size

    def _read_alone(self, blob_id: Id) -> None:
        """Read one that the quick way did not bring: perhaps there is another copy."""
        try:
            plain = self._view.load_blob(BlobType.DATA, blob_id)
        except KuramoriError as error:
            self.cache.fail(blob_id, error)
        except BaseException as error:
            self.cache.fail(blob_id, error)
            raise
        else:
            self.cache.settle(blob_id, plain, len(plain) + _OBJECT_BYTES)


class FileReader:
    """One file, open for reading. May be used by several threads."""

    def __init__(self, store: BlobStore, content: bytes, size: int, path: bytes) -> None:
        """Look up where its blobs begin and end; nothing of it is read.

        Args:
            content: the ids of its blobs, 32 bytes each.
            size: of the file, in bytes.
            path: for errors.

        Raises:
            DamagedError: its blobs do not have that size.
        """
        self._store = store
        self._content = content
        self._path = path
        self.size = size
        self._ends = array("Q")
        self._position = self._asked = 0
        end = 0
        count = len(content) // ID_LENGTH
        for number in range(count):
            length = store.length(self._blob_id(number))
            if length is None:
                return  # what lies before it can be read
            end += length
            self._ends.append(end)
        if end != size:
            raise DamagedError(what=display_text(path), detail=Phrase(
                N_("it should have {size} bytes, and its blobs have {found}"), size=size, found=end))

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer only at the end of the file.

        Raises:
            MissingBlobError, DamagedError, StorageError: they cannot be had.
        """
        size = min(size, self.size - offset)
        if size <= 0 or offset < 0:
            return b""
        number = bisect_right(self._ends, offset)
        self._look_ahead(offset, size)
        parts = []
        while size > 0:
            begin = self._ends[number - 1] if number else 0
            blob = memoryview(self._load(number, begin))
            part = blob[offset - begin : offset - begin + size]
            parts.append(part)
            offset += len(part)
            size -= len(part)
            number += 1
        return b"".join(parts)

    def _load(self, number: int, begin: int) -> bytes:
        if number >= len(self._ends):
            raise MissingBlobError(kind="data", blob=self._blob_id(number).hex())
        blob = self._store.load(self._blob_id(number))
        if len(blob) != self._ends[number] - begin:
            raise DamagedError(what=display_text(self._path), detail=N_("the index is wrong about its size"))
        return blob

    def _look_ahead(self, offset: int, size: int) -> None:
        """Read ahead for who reads on where the last read ended; for who begins or jumps, nothing."""
        end = offset + size
        sequential = offset > 0 and abs(offset - self._position) <= _SLACK  # the kernel asks out of order
        self._position = end
        if not sequential:
            self._asked = 0
            return
        number = first = max(self._asked, bisect_right(self._ends, end - 1) + 1)
        limit = min(len(self._ends), bisect_right(self._ends, end + self._store.window) + 1)
        if number >= limit:
            return
        begin = self._ends[number - 1]
        if self._ends[limit - 1] - begin < self._store.window // 2 and limit < len(self._ends):
            return  # enough was asked for already
        self._asked = limit
        self._store.read_ahead([self._blob_id(number) for number in range(first, limit)], self._ends[limit - 1] - begin)

    def _blob_id(self, number: int) -> Id:
        return Id(self._content[number * ID_LENGTH : (number + 1) * ID_LENGTH])
