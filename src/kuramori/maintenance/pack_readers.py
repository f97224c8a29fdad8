"""Who reads packs during a check: this process, and workers beside it where there are many small blobs.

Opening a small blob is mostly Python, which one process does one at a time; opening large ones is not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from kuramori.ids import Id
from kuramori.maintenance.check_worker import PackTask, decode_answer, encode
from kuramori.maintenance.sound_packs import sound_digest
from kuramori.repository.repository import Repository
from kuramori.repository.transfers import TransferThreads, end_transfers
from kuramori.repository.worker_process import WorkerProcess

Judged = TypeVar("Judged")


class PackReaders(Generic[Judged]):
    """Reads packs, as many at once as there are readers. To be closed before the workers end.

    Workers may begin while this process is still busy with something else, and this process joins them later. A worker
    that ends unexpectedly costs time and nothing else: this process reads what it should have read.
    """

    def __init__(self, repository: Repository, threads: int, judge: Callable[[Id, int, bytes | None], Judged]) -> None:
        """Begin without readers.

        Args:
            threads: how many packs are read at once, at most.
            judge: given a pack, its size and what :func:`sound_digest` says of it, returns what :meth:`take` is to
                return. Called in threads.
        """
        self._repository = repository
        self._judge = judge
        self._threads: TransferThreads[Judged] = TransferThreads(threads)
        self._free: queue.SimpleQueue[WorkerProcess | None] = queue.SimpleQueue()
        self._begun: dict[tuple[Id, int], Future[Judged]] = {}
        self._guard = threading.Lock()
        self._unread = 0
        self._closed = False

    def close(self) -> None:
        """Drop what was not begun, and return when nothing is read any more. May be called more than once."""
        self._closed = True
        for _ in self._begun:
            self._free.put(None)  # whoever waits for a reader stops waiting
        end_transfers(self._repository.backend, self._begun.values())
        self._threads.close()

    def add_workers(self, workers: Iterable[WorkerProcess]) -> None:
        """Have workers read, too. They have nothing else to do."""
        for worker in workers:
            self._free.put(worker)

    def add_own(self, count: int) -> None:
        """Have this process read so many packs at once, too."""
        for _ in range(count):
            self._free.put(None)

    def begin(self, packs: Iterable[tuple[Id, int]]) -> None:
        """Have packs read in this order: each one's id and size in bytes. Those that were begun stay begun."""
        for pack in packs:
            if pack not in self._begun:
                with self._guard:
                    self._unread += 1
                self._begun[pack] = self._threads.submit(self._read, *pack)

    def drop_others(self, packs: set[tuple[Id, int]]) -> None:
        """Read nothing but these, if it has not been read yet."""
        for pack in self._begun.keys() - packs:
            if self._begun[pack].cancel():
                with self._guard:
                    self._unread -= 1

    def take(self, pack: Id, size: int) -> Judged:
        """Return the judgement of a pack that was begun, when there is one. Each may be asked for once."""
        return self._begun.pop((pack, size)).result()

    def spare_worker(self) -> WorkerProcess | None:
        """Return a worker to do something else with, if nothing is left to read; it is not used here any more."""
        with self._guard:
            if self._unread:
                return None
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return None

    def _read(self, pack: Id, size: int) -> Judged:
        try:
            return self._judge(pack, size, self._digest(pack, size))
        finally:
            with self._guard:
                self._unread -= 1

    def _digest(self, pack: Id, size: int) -> bytes | None:
        worker = self._free.get()
        try:
            if self._closed:
                raise CancelledError  # nobody asks what comes of it
            if worker is not None:
                try:
                    worker.connection.send_bytes(encode(PackTask(pack, size)))
                    digest: bytes | None = decode_answer(worker.connection.recv_bytes())
                    return digest
                except (OSError, EOFError):
                    worker = None
            return sound_digest(self._repository, pack, size)
        finally:
            self._free.put(worker)
