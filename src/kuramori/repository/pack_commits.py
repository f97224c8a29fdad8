"""Finished packs on their way to the store: several at once where it is far away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait

from kuramori.ids import Id
from kuramori.repository.transfers import TransferThreads, is_remote, parallel_transfers
from kuramori.storage.backend import Backend, FileType, Handle, StagedFile
from kuramori.storage.retry import impatience

_PATIENCE_SECONDS = 20.0
"""After an interruption, for uploads that are on their way. Somebody waits for the prompt."""


def _nothing() -> None:
    """There is nothing to wait for."""


class PackCommits:
    """Makes packs durable, each in one of a few threads. May be shared by packers, which are used by one thread.

    A pack that is cut off by the end of the process is never seen under its name, and no index names it.
    """

    def __init__(self, backend: Backend, before: Callable[[], None] = _nothing) -> None:
        """Begin without threads.

        Args:
            before: called in the threads before each pack is sent; what it raises keeps the pack from being sent.
        """
        self._backend = backend
        self._before = before
        self.remote = is_remote(backend)
        """Whether packs go somewhere else than to a disk of this machine."""
        self.limit = parallel_transfers(backend)
        """How many are on their way at once."""
        self._threads: TransferThreads[Id] = TransferThreads(self.limit)

    def submit(self, staged: StagedFile, pack_id: Id) -> Future[Id]:
        """Commit a pack soon; the result is its id, or what the store raised."""
        return self._threads.submit(self._make_durable, staged, pack_id)

    def _make_durable(self, staged: StagedFile, pack_id: Id) -> Id:
        self._before()
        staged.commit(Handle(FileType.PACK, pack_id.hex()))
        return pack_id

    def abandon(self, futures: Iterable[Future[Id]]) -> None:
        """Drop packs that are not on their way yet, and wait for those that are: at a disk to the end, at a store
        beyond the network for a moment. A pack that is on its way after that is the threads' own."""
        running = [future for future in futures if not future.cancel()]
        with impatience(self._backend):
            wait(running, _PATIENCE_SECONDS if self.remote else None)

    def close(self) -> None:
        """End the threads when they have done what was submitted. May be called more than once."""
        self._threads.close(wait=not self.remote)


def shared_commits(backend: Backend, before: Callable[[], None] = _nothing) -> PackCommits | None:
    """Return what the packers of one job share, so that together they keep to the connections of a store that is far
    away; None at a disk of this machine, where each has a thread of its own.

    Args:
        before: see :class:`PackCommits`.
    """
    return PackCommits(backend, before) if is_remote(backend) else None


def wait_for_some(futures: Iterable[Future[Id]], seconds: float) -> None:
    """Return when one of them is done, at the latest after ``seconds``."""
    wait(list(futures), seconds, FIRST_COMPLETED)
