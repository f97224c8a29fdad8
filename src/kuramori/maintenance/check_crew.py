"""The workers of one check: started when there is work for them, kept for what comes next, ended with the check."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from kuramori.maintenance.check_worker import start_worker
from kuramori.processors import available_processors
from kuramori.repository.repository import Repository
from kuramori.repository.worker_process import WorkerProcess, end_workers

_WORTH_A_WORKER = 3000
"""So many trees take as long to judge as a worker to start."""


class CheckCrew:
    """Worker processes that read trees and packs. For a ``with`` block."""

    def __init__(self, repository: Repository) -> None:
        """Begin without any."""
        self._repository = repository
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> CheckCrew:
        """Nothing more."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End all of them."""
        end_workers(self._workers)

    def take(self, count: int) -> Sequence[WorkerProcess]:
        """Return so many workers, or fewer where no more can be started. None of them has anything to do; one may have
        ended unexpectedly."""
        if self._repository.backend.worker_location is None:
            return ()
        while len(self._workers) < count:
            try:
                self._workers.append(start_worker(self._repository))
            except OSError:
                break  # it goes without
        return self._workers[:count]

    def take_for_trees(self, trees: int) -> WorkerProcess | None:
        """Return a worker to judge so many trees with, if one is worth it."""
        if trees < _WORTH_A_WORKER or available_processors() < 2:
            return None
        return next(iter(self.take(1)), None)
