"""Files that wait to be read, and which are read next."""

from __future__ import annotations

import heapq
from collections import deque

from kuramori.archiving.folder import FileTask

_LARGE = 32 * 1024 * 1024
"""Bytes of a task that comes before others: more than several files together have. These stay in their order, or packs
would hold what lies in different folders: a prune after folders went writes such packs anew."""


class TaskQueue:
    """Tasks that no worker has yet. Used by one thread.

    Large ones come first, the largest before the others: one that came last would keep one worker long after the
    others have nothing left to do (the rule of the longest processing time: R. L. Graham, Bounds on Multiprocessing
    Timing Anomalies, 1969). The others come in the order in which they were put.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._large: list[tuple[int, int, FileTask]] = []
        """A heap: bytes below zero, number, task."""
        self._small: deque[tuple[int, FileTask]] = deque()
        self._next_number = 0
        self.waiting_bytes = 0
        """Bytes of the files that wait,"""
        self.waiting_files = 0
        """... and how many these are."""

    def __len__(self) -> int:
        """Return how many tasks wait."""
        return len(self._large) + len(self._small)

    def put(self, task: FileTask) -> None:
        """Let a task wait; it gets the next number."""
        number = self._next_number
        self._next_number += 1
        if task.size >= _LARGE:
            heapq.heappush(self._large, (-task.size, number, task))
        else:
            self._small.append((number, task))
        self.waiting_bytes += task.size
        self.waiting_files += len(task.names)

    def take(self) -> tuple[int, FileTask]:
        """Return the number and the task that is next.

        Raises:
            IndexError: none waits.
        """
        if self._large:
            _, number, task = heapq.heappop(self._large)
        else:
            number, task = self._small.popleft()
        self.waiting_bytes -= task.size
        self.waiting_files -= len(task.names)
        return number, task
