"""Who reads and judges trees during a check: this process, and a worker beside it where there are many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kuramori.maintenance.check_worker import TreesTask, decode_verdicts, encode
from kuramori.maintenance.sound_trees import TreeVerdict, judge_trees
from kuramori.model.blob import PackedBlob
from kuramori.repository.repository import Repository
from kuramori.repository.worker_channel import wait_for_messages
from kuramori.repository.worker_process import WorkerProcess, end_workers

_AHEAD = 2
"""Batches that the worker may have: one to work on, and one that waits."""


class WaitingTree(NamedTuple):
    """A tree that was met and is still to be judged."""

    names: tuple[str, ...]
    """The quoted names of the folders from the snapshot's root down to this one."""
    blob: PackedBlob


Judged = list[tuple[WaitingTree, TreeVerdict | None]]


class TreeJudges:
    """Takes batches of trees and gives them back judged, in any order. Used by one thread.

    A worker that ends unexpectedly costs time and nothing else: its trees come back without a verdict, and whoever
    gets them looks himself.
    """

    def __init__(self, repository: Repository, find_worker: Callable[[], WorkerProcess | None]) -> None:
        """Nothing is judged yet.

        Args:
            find_worker: returns a worker that has nothing else to do, or None; asked again until there is one.
        """
        self._repository = repository
        self._own: list[Sequence[WaitingTree]] = []
        self._given: deque[Sequence[WaitingTree]] = deque()
        self._find_worker = find_worker
        self._worker: WorkerProcess | None = None

    def add(self, batch: Sequence[WaitingTree]) -> None:
        """Take a batch; the last one is judged first."""
        self._own.append(batch)

    def take(self) -> Judged | None:
        """Return some batch with the verdicts, or None if there is none any more."""
        # With one batch left it is done sooner here than by asking.
        if self._worker is None and len(self._own) > 1:
            self._worker = self._find_worker()
        while self._worker is not None and len(self._own) > 1 and len(self._given) < _AHEAD:
            self._give(self._worker, self._own.pop())
        if self._given and self._worker is not None and (
                not self._own or wait_for_messages([self._worker.connection], 0)):
            return self._receive(self._worker)
        if self._given and self._worker is None:  # it has ended
            return [(waiting, None) for waiting in self._given.popleft()]
        if not self._own:
            return None
        batch = self._own.pop()
        return list(zip(batch, judge_trees(self._repository, [waiting.blob for waiting in batch]), strict=True))

    def _give(self, worker: WorkerProcess, batch: Sequence[WaitingTree]) -> None:
        trees = [(blob.id, blob.pack, blob.offset, blob.length, blob.uncompressed_length)
                 for _, blob in batch]
        self._given.append(batch)
        try:
            worker.connection.send_bytes(encode(TreesTask(trees)))
        except OSError:
            self._end(worker)

    def _receive(self, worker: WorkerProcess) -> Judged:
        batch = self._given.popleft()
        try:
            return list(zip(batch, decode_verdicts(worker.connection.recv_bytes()), strict=True))
        except (EOFError, OSError):
            self._end(worker)
            return [(waiting, None) for waiting in batch]

    def _end(self, worker: WorkerProcess) -> None:
        self._worker = None
        self._find_worker = _find_none
        end_workers([worker])


def _find_none() -> None:
    """Find no worker, where one has ended unexpectedly."""
