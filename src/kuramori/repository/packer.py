"""Gathers sealed blobs into packs (format section 1.6)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from kuramori.crypto.master_key import MasterKey
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackEntry
from kuramori.repository.pack_header import MAXIMUM_HEADER, encode_header
from kuramori.storage.backend import Backend, FileType, Handle, StagedFile

DEFAULT_PACK_SIZE = 16 * 1024 * 1024
MINIMUM_PACK_SIZE = 4 * 1024 * 1024
MAXIMUM_PACK_SIZE = 128 * 1024 * 1024
_WRITE_SIZE = 256 * 1024
_MAXIMUM_BLOBS = MAXIMUM_HEADER // 41 - 1
_BITS_AT_ONCE = 512

PackStored = Callable[[Id, BlobType, list[PackEntry]], None]
"""Called with every pack that is durable: its id, and its blobs in file order."""


class _OpenPack:
    """A pack that is being written."""

    def __init__(self, staged: StagedFile) -> None:
        self.staged = staged
        self.hash = hashlib.sha256()
        self.blobs: list[PackEntry] = []
        self.size = 0
        self._waiting: list[bytes | bytearray | memoryview] = []
        self._waiting_bytes = 0

    def add(self, blob_id: Id, sealed: bytes | bytearray | memoryview, uncompressed_length: int) -> None:
        self._waiting.append(sealed)
        self._waiting_bytes += len(sealed)
        if self._waiting_bytes >= _WRITE_SIZE:
            self.write_out()
        self.blobs.append(PackEntry(blob_id, self.size, len(sealed), uncompressed_length))
        self.size += len(sealed)

    def write_out(self) -> None:
        """Write what is waiting: many small blobs in one call."""
        if not self._waiting:
            return
        waiting = b"".join(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting, self._waiting_bytes = [], 0
        self.hash.update(waiting)
        self.staged.write([waiting])


class Packer:
    """Writes packs of one type of blob. Used by one thread; packs are made durable in another.

    Two packs are open at a time and each blob goes into one of them by chance, so that the sizes
    of chunks cannot be read off a pack's neighbours (see "Chunk-size fingerprinting" in
    docs/format.md).
    """

    def __init__(self, backend: Backend, key: MasterKey, blob_type: BlobType, stored: PackStored,
                 pack_size: int = DEFAULT_PACK_SIZE) -> None:
        """Begin with no pack open.

        Args:
            stored: called from :meth:`add`, :meth:`collect` and :meth:`flush`, in the calling
                thread, for every pack that became durable.
            pack_size: bytes of blobs at which a pack is closed.
        """
        self._backend = backend
        self._key = key
        self._type = blob_type
        self._stored = stored
        self._pack_size = pack_size
        self._open: list[_OpenPack] = []
        self._bits: list[str] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="kuramori-pack")
        self._committing: list[tuple[Future[Id], _OpenPack]] = []

    def add(self, blob_id: Id, sealed: bytes | bytearray | memoryview, uncompressed_length: int) -> None:
        """Append a sealed blob to one of the open packs.

        Raises:
            StorageError: writing failed; :meth:`discard` is all that is left to do.
        """
        pack = self._choose()
        pack.add(blob_id, sealed, uncompressed_length)
        if pack.size >= self._pack_size or len(pack.blobs) >= _MAXIMUM_BLOBS:
            self._commit(pack)
            self.collect(leave=1)

    def _choose(self) -> _OpenPack:
        if not self._bits:  # asking the system for each single bit takes longer than storing a small blob
            self._bits = list(format(secrets.randbits(_BITS_AT_ONCE), f"0{_BITS_AT_ONCE}b"))
        slot = int(self._bits.pop())
        if slot < len(self._open):
            return self._open[slot]
        self._open.append(_OpenPack(self._backend.stage()))
        return self._open[-1]

    def _commit(self, pack: _OpenPack) -> None:
        """Close a pack and hand it to the other thread; from then on it is no longer among the open ones, which
        :meth:`discard` drops."""
        header = encode_header(self._key, self._type, pack.blobs)
        pack.write_out()
        pack.staged.write([header])
        pack.hash.update(header)
        pack_id = Id(pack.hash.digest())
        self._open.remove(pack)
        self._committing.append((self._executor.submit(_make_durable, pack.staged, pack_id), pack))

    def collect(self, leave: int = 0) -> None:
        """Wait until at most ``leave`` packs are on their way to the disk, and report the others."""
        while len(self._committing) > leave:
            self._report_first()
        while self._committing and self._committing[0][0].done():
            self._report_first()

    def _report_first(self) -> None:
        future, pack = self._committing[0]
        pack_id = future.result()
        del self._committing[0]
        self._stored(pack_id, self._type, pack.blobs)

    def flush(self) -> None:
        """Close the open packs (small ones become one) and return when all are durable."""
        if len(self._open) == 2 and sum(pack.size for pack in self._open) < self._pack_size:
            first, second = sorted(self._open, key=lambda pack: pack.size, reverse=True)
            _merge(first, second)
            self._open = [first]
        while self._open:
            self._commit(self._open[0])
        self.collect()

    def discard(self) -> None:
        """Drop what is not durable and end. May be called more than once, and after errors."""
        self._executor.shutdown(wait=True)
        for pack in [*self._open, *(pack for _, pack in self._committing)]:
            pack.staged.discard()
        self._open, self._committing = [], []


def _make_durable(staged: StagedFile, pack_id: Id) -> Id:
    staged.commit(Handle(FileType.PACK, pack_id.hex()))
    return pack_id


def _merge(target: _OpenPack, other: _OpenPack) -> None:
    other.write_out()
    content = memoryview(other.staged.read_back())
    for blob in other.blobs:
        target.add(blob.id, content[blob.offset : blob.offset + blob.length], blob.uncompressed_length)
    other.staged.discard()
