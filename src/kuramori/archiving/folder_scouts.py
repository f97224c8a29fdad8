"""The main process's side of the scouts (:mod:`kuramori.archiving.scout`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from kuramori.archiving import scout
from kuramori.archiving.scout import FolderAnswer, FolderQuestion
from kuramori.processors import available_processors
from kuramori.repository.worker_channel import wait_for_messages
from kuramori.repository.worker_process import WorkerProcess, end_workers

_WORTH_SCOUTS = 5000
"""So many unchanged files take as long to look at as a scout to start, where it is not a copy of this process."""
_BYTES_AHEAD = 48 * 1024
"""Trees that a scout has not looked at yet fit into the buffer of its socket: sending one never waits for an answer
that nobody reads."""
_MOST_PROCESSES = 4
"""More wait for what this process hands out."""
_LARGEST_TREE = 4 * 1024 * 1024

Asked = TypeVar("Asked")


def count_scouts(workers: int | None) -> int:
    """Return how many there may be beside this process.

    Args:
        workers: how many processes may work at most; None for as many as there are processors.
    """
    return max(0, min(available_processors() if workers is None else workers, _MOST_PROCESSES) - 1)


class _Scout(WorkerProcess, Generic[Asked]):
    """One process, and what it was asked."""

    def __init__(self, settings: scout.ScoutSettings) -> None:
        super().__init__("kuramori.archiving.scout")
        self.asked: deque[tuple[Asked, int]] = deque()
        """What the answers are about, and the bytes of each tree."""
        self.bytes = 0
        self.send_settings(scout.encode(settings))

    def ask(self, about: Asked, question: FolderQuestion) -> None:
        self.asked.append((about, len(question.document)))
        self.bytes += len(question.document)
        self.connection.send_bytes(scout.encode(question))


class FolderScouts(Generic[Asked]):
    """Processes that look at folders beside this one. Used by one thread.

    One that ends unexpectedly costs time and nothing else: what it was asked is answered as changed, and no more is
    asked of any.
    """

    def __init__(self, count: int, with_atime: bool) -> None:
        """Begin without any.

        Args:
            count: how many there may be.
            with_atime: whether nodes of folders hold the time of last access.
        """
        self._count = count
        self._settings = scout.ScoutSettings(with_atime)
        self._scouts: list[_Scout[Asked]] = []
        self._lost: list[Asked] = []

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._lost) or any(each.asked for each in self._scouts)

    def has_room(self, size: int, seen: int) -> bool:
        """Tell whether :meth:`ask` may be called.

        Args:
            size: bytes of the tree.
            seen: how many unchanged files there were so far; they say whether scouts are worth it.
        """
        if not self._count or seen < _WORTH_SCOUTS or size > _LARGEST_TREE:
            return False
        try:
            while len(self._scouts) < self._count:
                self._scouts.append(_Scout(self._settings))
        except OSError:
            self._count = len(self._scouts)  # it goes with fewer
        return any(self._may_ask(each, size) for each in self._scouts)

    def _may_ask(self, each: _Scout[Asked], size: int) -> bool:
        return not each.asked or each.bytes + size <= _BYTES_AHEAD

    def ask(self, about: Asked, question: FolderQuestion) -> None:
        """Send a question; :meth:`has_room` must be true."""
        size = len(question.document)
        chosen = min((each for each in self._scouts if self._may_ask(each, size)), key=lambda each: each.bytes)
        try:
            chosen.ask(about, question)
        except OSError:
            self._give_up()

    def collect(self, seconds: float) -> Iterator[tuple[Asked, FolderAnswer]]:
        """Yield the answers that are there, with what they are about.

        Args:
            seconds: how long to wait for the first.
        """
        by_connection = {each.connection: each for each in self._scouts if each.asked}
        if by_connection:
            for ready in wait_for_messages(by_connection, 0 if self._lost else seconds):
                each = by_connection[ready]
                try:
                    answer = scout.decode_answer(ready.recv_bytes())
                except (EOFError, OSError, msgspec.DecodeError):
                    self._give_up()
                    break
                about, size = each.asked.popleft()
                each.bytes -= size
                yield about, answer
        lost, self._lost = self._lost, []
        for about in lost:
            yield about, FolderAnswer(b"")

    def _give_up(self) -> None:
        self._lost += [about for each in self._scouts for about, _size in each.asked]
        self.close()

    def close(self) -> None:
        """End the processes. May be called more than once."""
        scouts, self._scouts, self._count = self._scouts, [], 0
        for each in scouts:
            each.process.kill()  # it holds nothing, and one that is still starting would be waited for
        end_workers(scouts)
