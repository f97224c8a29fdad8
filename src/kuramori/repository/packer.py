"""Gathers sealed blobs into packs (format section 1.6)."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import compress

from kuramori.crypto.master_key import MasterKey
from kuramori.ids import Id, split_ids
from kuramori.model.blob import BlobType
from kuramori.repository.pack_commits import PackCommits, wait_for_some
from kuramori.repository.pack_description import PackDescription, describe_in_order
from kuramori.repository.pack_header import encode_header
from kuramori.storage.backend import Backend, Buffer, StagedFile
from kuramori.storage.cache import CacheBackend

DEFAULT_PACK_SIZE = 16 * 1024 * 1024
MINIMUM_PACK_SIZE = 4 * 1024 * 1024
MAXIMUM_PACK_SIZE = 128 * 1024 * 1024
_WRITE_SIZE = 256 * 1024
_MAXIMUM_BLOBS = 16_384
"""A pack is closed with so many blobs, though it be small: each takes memory until an index has the pack. A header
could hold 400,000."""
_BITS_AT_ONCE = 512
_LOOK_SECONDS = 0.25
"""How often somebody who waits for the store looks whether to go on waiting."""

PackStored = Callable[[PackDescription], None]
"""Called with every pack that is durable: its blobs are in file order."""


def _keep_waiting() -> None:
    pass


class _OpenPack:
    """A pack that is being written."""

    def __init__(self, staged: StagedFile) -> None:
        self.staged = staged
        self.hash = hashlib.sha256()
        self.size = 0
        self._ids = bytearray()
        self._lengths = array("I")
        self._uncompressed_lengths = array("I")
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0

    @property
    def count(self) -> int:
        return len(self._lengths)

    def add(self, blob_id: bytes, sealed: Buffer, uncompressed_length: int) -> None:
        self._ids += blob_id
        self._lengths.append(len(sealed))
        self._uncompressed_lengths.append(uncompressed_length)
        self._append([sealed], len(sealed))

    def add_all(self, ids: Iterable[bytes], sealed: Sequence[Buffer], uncompressed_lengths: Iterable[int]) -> None:
        lengths = list(map(len, sealed))
        self._ids += b"".join(ids)
        self._lengths.extend(lengths)
        self._uncompressed_lengths.extend(uncompressed_lengths)
        self._append(sealed, sum(lengths))

    def _append(self, sealed: Sequence[Buffer], length: int) -> None:
        self.size += length
        self._waiting += sealed
        self._waiting_bytes += length
        if self._waiting_bytes >= _WRITE_SIZE:
            self.write_out()

    def take_over(self, other: _OpenPack) -> None:
        """Append all blobs of another pack, and drop that."""
        other.write_out()
        self.write_out()  # or what is read back would be joined with it, and held twice
        self._ids += other._ids
        self._lengths += other._lengths
        self._uncompressed_lengths += other._uncompressed_lengths
        self._append([other.staged.read_back()], other.size)
        other.staged.discard()

    def seal_header(self, key: MasterKey, blob_type: BlobType) -> bytes:
        return encode_header(key, blob_type, split_ids(self._ids), self._lengths, self._uncompressed_lengths)

    def describe(self, pack: Id, blob_type: BlobType) -> PackDescription:
        """Return its blobs as a pack of that id has them."""
        return describe_in_order(pack, blob_type, self._ids, self._lengths, self._uncompressed_lengths)

    def write_out(self) -> None:
        """Write what is waiting: many small blobs in one call."""
        if not self._waiting:
            return
        waiting = b"".join(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting, self._waiting_bytes = [], 0
        self.hash.update(waiting)
        self.staged.write([waiting])


class Packer:
    """Writes packs of one type of blob. Used by one thread; packs are made durable in others, one where the store is a
    disk of this machine, else several. What is written faster than it is sent waits in :meth:`add`, so no more packs
    are open than a few.

    Two packs are open at a time and each blob goes into one of them by chance, so that the sizes
    of chunks cannot be read off a pack's neighbours (see "Chunk-size fingerprinting" in
    docs/format.md).
    """

    def __init__(self, backend: Backend, key: MasterKey, blob_type: BlobType, stored: PackStored,
                 pack_size: int = DEFAULT_PACK_SIZE, *, commits: PackCommits | None = None,
                 waiting: Callable[[], None] = _keep_waiting) -> None:
        """Begin with no pack open.

        Args:
            stored: called from :meth:`add`, :meth:`collect`, :meth:`flush` and :meth:`rescue`, in the calling
                thread, for every pack that became durable.
            pack_size: bytes of blobs at which a pack is closed.
            commits: threads to share with other packers of ``backend``; closed by whoever made them.
            waiting: called again and again while the store is waited for; what it raises ends that.
        """
        self._backend = backend
        self._key = key
        self._type = blob_type
        self._stored = stored
        self._pack_size = pack_size
        self._open: list[_OpenPack] = []
        self._bits: list[int] = []
        self._commits = commits or PackCommits(backend)
        self._closes_commits = commits is None
        self._waiting = waiting
        self._committing: list[tuple[Future[Id], _OpenPack]] = []

    def add(self, blob_id: Id, sealed: Buffer, uncompressed_length: int) -> None:
        """Append a sealed blob to one of the open packs.

        Raises:
            StorageError: writing failed; :meth:`discard` is all that is left to do.
        """
        if not self._bits:  # asking the system for each single bit takes longer than storing a small blob
            self._bits = _draw_bits(_BITS_AT_ONCE)
        pack = self._pack_of(self._bits.pop())
        pack.add(blob_id, sealed, uncompressed_length)
        self._close_if_full(pack)

    def add_all(self, ids: Sequence[bytes], sealed: Sequence[Buffer], uncompressed_lengths: Sequence[int]) -> None:
        """Append many small blobs, each to one of the open packs by chance.

        Raises:
            StorageError: as :meth:`add`.
        """
        second = _draw_bits(len(ids))
        first = [1 - bit for bit in second]
        for slot, chosen in enumerate((first, second)):
            if 1 in chosen:
                pack = self._pack_of(slot)
                pack.add_all(compress(ids, chosen), list(compress(sealed, chosen)),
                             compress(uncompressed_lengths, chosen))
                self._close_if_full(pack)

    def _close_if_full(self, pack: _OpenPack) -> None:
        if pack.size >= self._pack_size or pack.count >= _MAXIMUM_BLOBS:
            self._commit(pack)
            self.collect(leave=self._commits.limit)

    def _pack_of(self, slot: int) -> _OpenPack:
        if slot < len(self._open):
            return self._open[slot]
        self._open.append(_OpenPack(self._backend.stage()))
        return self._open[-1]

    def _commit(self, pack: _OpenPack) -> None:
        """Close a pack and hand it to the other thread; from then on it is no longer among the open ones, which
        :meth:`discard` drops."""
        header = pack.seal_header(self._key, self._type)
        pack.write_out()
        pack.staged.write([header])
        pack.hash.update(header)
        pack_id = Id(pack.hash.digest())
        if self._type is BlobType.TREE and isinstance(self._backend, CacheBackend):
            self._backend.keep_pack(pack_id.hex(), pack.size)  # the next backup reads these trees
        self._open.remove(pack)
        self._committing.append((self._commits.submit(pack.staged, pack_id), pack))

    def collect(self, leave: int = 0) -> None:
        """Wait until at most ``leave`` packs are on their way to the store, and report the others."""
        self._report_done()
        while len(self._committing) > leave:
            wait_for_some((future for future, _pack in self._committing), _LOOK_SECONDS)
            self._report_done()
            if len(self._committing) > leave:
                self._waiting()

    def _report_done(self) -> None:
        for entry in [entry for entry in self._committing if entry[0].done()]:
            future, pack = entry
            pack_id = future.result()
            self._committing.remove(entry)
            self._stored(pack.describe(pack_id, self._type))

    def flush(self) -> None:
        """Close the open packs (small ones become one) and return when all are durable."""
        self.close_open()
        self.collect()

    def close_open(self) -> None:
        """Close the open packs, and return when they are on their way. :meth:`flush` must follow."""
        if len(self._open) == 2 and sum(pack.size for pack in self._open) < self._pack_size:
            first, second = sorted(self._open, key=lambda pack: pack.size, reverse=True)
            first.take_over(second)
            self._open = [first]
        while self._open:
            self._commit(self._open[0])

    def rescue(self) -> None:
        """After an interruption: report every pack that is durable, and drop the others. At a disk of this machine
        the open ones are closed and made durable too, which is done at once; a store beyond the network gets the time
        to take what is on its way. Then :meth:`discard` is all that is left to do.

        Raises:
            StorageError: a pack could not be stored.
        """
        self._waiting = _keep_waiting
        if not self._commits.remote:
            self.flush()
            return
        self._commits.abandon(future for future, _pack in self._committing)
        durable = [(future, pack) for future, pack in self._committing
                   if future.done() and not future.cancelled() and future.exception() is None]
        for future, pack in durable:
            self._committing.remove((future, pack))
            self._stored(pack.describe(future.result(), self._type))

    def discard(self) -> None:
        """Drop what is not durable and end. May be called more than once, and after errors."""
        self._commits.abandon(future for future, _pack in self._committing)
        # One that is still on its way is not dropped under the hands of its thread.
        dropped = [*self._open, *(pack for future, pack in self._committing if future.done())]
        self._open, self._committing = [], []
        if self._closes_commits:
            self._commits.close()
        for pack in dropped:
            pack.staged.discard()


def _draw_bits(count: int) -> list[int]:
    return list(map(int, format(secrets.randbits(count), f"0{count}b")))
