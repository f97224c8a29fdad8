"""Ctrl-C and SIGTERM: end in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """How often somebody asked us to end, and whether the engine looks for that itself."""

    def __init__(self) -> None:
        self.count = 0
        self.polled = False


_state = _State()


def _handle(number: int, frame: FrameType | None) -> None:
    _state.count += 1
    # The second signal is swallowed, so that an impatient Ctrl-C does not break the cleaning up that
    # the first one began; who presses on gets out.
    if _state.count % 2 == 1 and not (_state.polled and _state.count == 1):
        # No error of ours: somebody would take it for one of the file that is at hand, and go on with the next.
        raise KeyboardInterrupt


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn the signals into ``KeyboardInterrupt``, raised in the main thread, so that every ``with``
    block and ``finally`` above does its work: locks go, staged files go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.count, _state.polled = 0, False
    wanted = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup, a job with &
    before = {number: signal.signal(number, _handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def polled_interruption() -> Iterator[Callable[[], bool]]:
    """For an operation that asks by itself whether it shall end: the first signal only answers
    yes; a third one interrupts at once."""
    _state.polled = True
    try:
        yield lambda: _state.count > 0
    finally:
        _state.polled = False
