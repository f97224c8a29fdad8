"""Waiting that somebody can end."""

from __future__ import annotations

import threading
from typing import Protocol


class Waiter(Protocol):
    """Lets time pass, as a clock's ``sleep`` does, until somebody has something to say."""

    def wait(self, seconds: float) -> None:
        """Return after ``seconds``, or at once when :meth:`wake` is called, or was called since the
        last wait ended."""
        ...

    def wake(self) -> None:
        """End the wait of another thread. May be called at any time, from any thread."""
        ...


class EventWaiter:
    """A :class:`Waiter` by the machine's monotonic clock."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._event = threading.Event()

    def wait(self, seconds: float) -> None:
        """Return after ``seconds`` or when woken."""
        self._event.wait(max(seconds, 0.0))
        self._event.clear()

    def wake(self) -> None:
        """End the wait."""
        self._event.set()
