"""Finished packs on their way to the store: several at once where it is far away."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from queue import SimpleQueue
from typing import NamedTuple

from kuramori.ids import Id
from kuramori.storage.backend import Backend, FileType, Handle, StagedFile

_PATIENCE_SECONDS = 20.0
"""After an interruption, for uploads that are on their way. Somebody waits for the prompt."""


def parallel_transfers(backend: Backend) -> int:
    """Return how many files are best sent or fetched at once: one where the store is a disk of this machine, else as
    many as its connections."""
    return backend.connections if backend.worker_location is None else 1


class _Job(NamedTuple):
    future: Future[Id]
    staged: StagedFile
    pack_id: Id


class PackCommits:
    """Makes packs durable, each in one of a few threads. May be shared by packers, which are used by one thread.

    The threads do not keep the process from ending (those of an executor would): an upload over a bad link may go on
    for a quarter of an hour, and whoever interrupts a backup does not want to wait for it. A pack that is cut off so
    is never seen under its name, and no index names it.
    """

    def __init__(self, backend: Backend) -> None:
        """Begin without threads."""
        self.remote = backend.worker_location is None
        """Whether packs go somewhere else than to a disk of this machine."""
        self.limit = parallel_transfers(backend)
        """How many are on their way at once."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._waiting = 0
        self._guard = threading.Lock()

    def submit(self, staged: StagedFile, pack_id: Id) -> Future[Id]:
        """Commit a pack soon; the result is its id, or what the store raised."""
        future: Future[Id] = Future()
        with self._guard:
            self._waiting += 1
            if len(self._threads) < min(self.limit, self._waiting):
                thread = threading.Thread(target=self._work, name="kuramori-pack", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(_Job(future, staged, pack_id))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    job.staged.commit(Handle(FileType.PACK, job.pack_id.hex()))
                except BaseException as error:  # whatever it is, it belongs to whoever waits for the result
                    job.future.set_exception(error)
                else:
                    job.future.set_result(job.pack_id)
            with self._guard:
                self._waiting -= 1

    def abandon(self, futures: Iterable[Future[Id]]) -> None:
        """Drop packs that are not on their way yet, and wait for those that are: at a disk to the end, at a store
        beyond the network for a moment. A pack that is on its way after that is the threads' own."""
        running = [future for future in futures if not future.cancel()]
        wait(running, None if not self.remote else _PATIENCE_SECONDS)

    def close(self) -> None:
        """End the threads when they have done what was submitted. May be called more than once."""
        for _thread in self._threads:
            self._jobs.put(None)
        if not self.remote:
            for thread in self._threads:
                thread.join()
        self._threads = []


def wait_for_some(futures: Iterable[Future[Id]], seconds: float) -> None:
    """Return when one of them is done, at the latest after ``seconds``."""
    wait(list(futures), seconds, FIRST_COMPLETED)
