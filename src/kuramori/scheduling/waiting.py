"""Waiting that somebody can end."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
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


class SignalWaiter:
    """A :class:`Waiter` that a signal handler may wake, too: an event's lock may be held by the very
    thread that the handler interrupts, a pipe has none."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Return after ``seconds`` or when woken."""
        if self._poll.poll(max(seconds, 0.0) * 1000):
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)

    def wake(self) -> None:
        """End the wait."""
        with suppress(OSError):  # full: then it is awake; closed: then nobody waits
            os.write(self._writer, b"x")
