"""Who reads packs during a check: this process, and workers beside it where there are many small blobs.

Opening a small blob is mostly Python, which one process does one at a time; opening large ones is not.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence

from kuramori.ids import Id
from kuramori.maintenance.check_worker import PackTask, decode_answer, encode
from kuramori.maintenance.sound_packs import is_sound_pack
from kuramori.repository.repository import Repository
from kuramori.repository.worker_process import WorkerProcess


class PackCheckers:
    """Answers whether packs are sound; may be asked by as many threads as there are checkers.

    A worker that ends unexpectedly costs time and nothing else: this process reads what it should have read.
    """

    def __init__(self, repository: Repository, workers: Sequence[WorkerProcess], own: int = 1) -> None:
        """Nothing is read yet.

        Args:
            workers: they have nothing else to do.
            own: how many packs this process reads at once: more than one where it waits for a store.
        """
        self._repository = repository
        self._free: queue.SimpleQueue[WorkerProcess | None] = queue.SimpleQueue()
        for _ in range(own):
            self._free.put(None)  # stands for this process
        for worker in workers:
            self._free.put(worker)

    def is_sound(self, pack: Id, size: int, digest: bytes) -> bool:
        """Answer as :func:`is_sound_pack` does."""
        worker = self._free.get()
        try:
            if worker is not None:
                try:
                    worker.connection.send_bytes(encode(PackTask(pack, size, digest)))
                    return decode_answer(worker.connection.recv_bytes())
                except (OSError, EOFError):
                    worker = None
            return is_sound_pack(self._repository, pack, size, digest)
        finally:
            self._free.put(worker)
