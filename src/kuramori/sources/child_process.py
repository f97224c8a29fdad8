"""A program whose output is read, or that is fed, without ever waiting for it blindly."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from kuramori.errors import printable

Check = Callable[[], None]
"""Called often while there is nothing to do but wait; raises to give up."""

_POLL_MILLISECONDS = 200
_MESSAGES_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_PATIENCE_SECONDS = 1.0
_PASSWORD_VARIABLES = ("KURAMORI_", "RESTIC_")


def never_gives_up() -> None:
    """A :data:`Check` that always goes on."""


def read_when_ready(descriptor: int, view: memoryview, check: Check) -> int:
    """Fill a view from a descriptor and return how many bytes came; 0 at the end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    check()
    while not poll.poll(_POLL_MILLISECONDS):
        check()
    return os.readv(descriptor, [view])


class _Kept:
    """What is read along from one of the program's pipes: its first or its last bytes."""

    def __init__(self, pipe: IO[bytes], limit: int, the_last: bool) -> None:
        self.pipe = pipe
        self.content = bytearray()
        self._limit = limit
        self._the_last = the_last

    def take(self) -> bool:
        """Take what is there; return whether there may be more."""
        piece = os.read(self.pipe.fileno(), _READ_BYTES)
        self.content += piece
        if self._the_last:
            del self.content[:-self._limit]
        else:
            del self.content[self._limit:]
        return bool(piece)


class ChildProcess:
    """One program. Used by one thread.

    In the background (the default) it has a session of its own, and its standard error is kept, the
    last 64 KiB of it. Give it back with :meth:`end`, which may be called at any time and twice.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None,
                 fed: bool = False, read: bool = True, keep_output: int = 0, background: bool = True) -> None:
        """Start it.

        Args:
            environment: variables besides those of this process. Our own passwords are not handed on.
            fed: whether :meth:`write` will be used; otherwise it reads from nothing.
            read: whether :meth:`read_into` will be used; otherwise its output is thrown away.
            keep_output: instead of that, keep so many bytes of its output, see :attr:`output`.

        Raises:
            OSError, ValueError: it cannot be started.
        """
        self.program = command[0]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if read or keep_output else subprocess.DEVNULL,
            stderr=subprocess.PIPE if background else None,
            env=_inherited(environment, background), start_new_session=background, bufsize=0,
        )
        self._background = background
        self._messages = bytearray()
        self._said = bytearray()
        self._kept: dict[int, _Kept] = {}
        if self._process.stderr is not None:
            self._messages = self._keep(self._process.stderr, _MESSAGES_BYTES, the_last=True)
        if self._process.stdout is not None and keep_output:
            self._said = self._keep(self._process.stdout, keep_output, the_last=False)
        self._input = self._process.stdin.fileno() if self._process.stdin else -1
        self._output = self._process.stdout.fileno() if self._process.stdout else -1
        if fed:
            os.set_blocking(self._input, False)

    def _keep(self, pipe: IO[bytes], limit: int, the_last: bool) -> bytearray:
        kept = self._kept[pipe.fileno()] = _Kept(pipe, limit, the_last)
        return kept.content

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def messages(self) -> str:
        """The last that it said on its standard error, as far as that was kept."""
        return self._messages.decode("utf-8", "replace")

    @property
    def output(self) -> bytes:
        """The first that it printed, if that was to be kept."""
        return bytes(self._said)

    # --- talking -----------------------------------------------------------------------------

    def read_into(self, view: memoryview, check: Check = never_gives_up) -> int:
        """Fill a view with what it prints and return how many bytes came; 0 at the end."""
        while not self._wait_for(self._output, select.POLLIN, check):
            pass
        return os.readv(self._output, [view])

    def write(self, data: bytes | memoryview, check: Check = never_gives_up) -> None:
        """Feed it.

        Raises:
            BrokenPipeError: it reads no more.
        """
        view = memoryview(data)
        while view:
            if self._wait_for(self._input, select.POLLOUT, check):
                with suppress(BlockingIOError):
                    view = view[os.write(self._input, view):]

    def close_input(self) -> None:
        """Tell it that nothing more comes. May be called twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self, check: Check = never_gives_up) -> int:
        """Return its exit status when it ends; negative for the signal that ended it."""
        while (status := self._process.poll()) is None:
            if self._kept:
                self._wait_for(-1, 0, check)
                continue
            try:
                self._process.wait(_POLL_MILLISECONDS / 1000)
            except subprocess.TimeoutExpired:
                check()
        self._take_what_is_left()
        return status

    def _wait_for(self, descriptor: int, event: int, check: Check) -> bool:
        """Wait a while until a descriptor is ready; read along what is to be kept meanwhile."""
        check()
        poll = select.poll()
        if descriptor >= 0:
            poll.register(descriptor, event)
        for kept in self._kept:
            poll.register(kept, select.POLLIN)
        ready = False
        for found, _ in poll.poll(_POLL_MILLISECONDS):
            if found == descriptor:
                ready = True
            elif not self._kept[found].take():
                self._kept.pop(found).pipe.close()
        return ready

    def _take_what_is_left(self) -> None:
        """Take what is there, without waiting for whoever else has the other end."""
        for descriptor, kept in list(self._kept.items()):
            os.set_blocking(descriptor, False)
            with suppress(BlockingIOError):
                while kept.take():
                    pass

    # --- the end -----------------------------------------------------------------------------

    def end(self, kill: bool = False) -> None:
        """End it and, in the background, all that it started; close the pipes.

        Args:
            kill: what its children do after it ended well is their own affair; True ends them too.
        """
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            self._signal(signal.SIGKILL)
            self._process.wait()
        elif kill:
            self._signal(signal.SIGKILL)
        self._kept.clear()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if self._background:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


def _inherited(more: Mapping[str, str] | None, background: bool) -> dict[str, str] | None:
    # What the user's own programs need of the environment nobody can tell, so they get it; but not our
    # passwords. In the foreground it is left as it is.
    if not background and not more:
        return None
    kept = {name: value for name, value in os.environ.items()
            if not (background and name.startswith(_PASSWORD_VARIABLES) and "PASSWORD" in name)}
    return kept | dict(more or {})


def last_line(messages: str) -> str:
    """Return the last line that says something, at most 500 characters of it, safe to show."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    return printable(lines[-1][:500]) if lines else ""
