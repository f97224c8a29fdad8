"""Messages between the main process and its workers: a length, then as many bytes.

The standard library's ``multiprocessing.connection`` does the same; it also loads a dozen modules
that a worker has no use for, in every worker (1.6 MB each, and the time to load them).
"""

from __future__ import annotations

import os
import select
import signal
import struct
from collections.abc import Iterable

_LENGTH = struct.Struct("!Q")
_READ_BYTES = 1 << 16


class WorkerChannel:
    """One end of a connected stream socket."""

    def __init__(self, fd: int) -> None:
        """Take over ``fd``; it is closed by :meth:`close`."""
        self._fd = fd
        self._pending = bytearray()

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._fd

    def send_bytes(self, message: bytes) -> None:
        """Send one message; returns when the system has taken it.

        Raises:
            OSError: the other end is closed.
        """
        parts = [memoryview(_LENGTH.pack(len(message))), memoryview(message)]
        while parts:
            sent = os.writev(self._fd, parts)
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if sent:
                parts[0] = parts[0][sent:]

    def recv_bytes(self) -> bytes:
        """Wait for one message.

        Raises:
            EOFError: the other end was closed.
            OSError: the socket failed.
        """
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        return self._take(length)

    def has_message(self) -> bool:
        """Tell whether bytes were read that belong to a later message."""
        return bool(self._pending)

    def _take(self, length: int) -> bytes:
        while len(self._pending) < length:
            data = os.read(self._fd, max(_READ_BYTES, length - len(self._pending)))
            if not data:
                raise EOFError
            self._pending += data
        taken = bytes(memoryview(self._pending)[:length])
        del self._pending[:length]
        return taken

    def close(self) -> None:
        """Close this end. May be called more than once."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def wait_for_messages(channels: Iterable[WorkerChannel], seconds: float | None = None) -> list[WorkerChannel]:
    """Return the channels that have something to say, or whose other end is closed.

    Args:
        seconds: how long to wait for the first; None for as long as it takes.
    """
    by_fd = {channel.fileno(): channel for channel in channels}
    waiting = [channel for channel in by_fd.values() if channel.has_message()]
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    ready = poll.poll(0 if waiting else None if seconds is None else seconds * 1000)
    return [*waiting, *(by_fd[fd] for fd, _ in ready if by_fd[fd] not in waiting)]


def leave_signals_to_the_main_process() -> None:
    """Ignore what reaches all processes at once: Ctrl-C the whole group, SIGTERM from a service manager all of a
    service, SIGHUP all of a terminal. The main process decides what it means. A worker calls this first of all."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
