"""A command on a terminal of its own, and somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_SECONDS = 60.0
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Runs a command on a pseudo terminal, as its controlling one."""

    def __init__(self, command: Sequence[str | Path], *, environment: Mapping[str, str], directory: Path) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment),
                                         cwd=directory, start_new_session=True, close_fds=True)
        os.close(slave)
        self._read = 0
        self.said = ""
        """Everything that was shown so far, without control sequences."""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def expect(self, words: str) -> str:
        """Wait until the words are shown after what was expected before; return what came until then.

        Raises:
            AssertionError: they do not come, or the command ended.
        """
        before = self._read
        self.expect_one((words,))
        return self.said[before : self._read - len(words)]

    def expect_one(self, choices: Sequence[str]) -> str:
        """Wait until one of several words is shown after what was expected before; return the first.

        Raises:
            AssertionError: none comes, or the command ended.
        """
        deadline = time.monotonic() + _SECONDS
        while True:
            places = {found: words for words in choices if (found := self.said.find(words, self._read)) >= 0}
            if places:
                first = min(places)
                self._read = first + len(places[first])
                return places[first]
            assert time.monotonic() < deadline, f"none of {choices} in:\n{self.said}"
            assert self._take(deadline - time.monotonic()), f"it ended without {choices}:\n{self.said}"

    def answer(self, question: str, *lines: str) -> None:
        """Wait for a question, then type lines."""
        self.expect(question)
        for line in lines:
            os.write(self._master, line.encode() + b"\n")

    def type(self, content: bytes) -> None:
        """Type bytes, such as Ctrl-D."""
        os.write(self._master, content)

    def interrupt(self) -> None:
        """Send what Ctrl-C sends to a command that runs alone."""
        os.kill(self._process.pid, signal.SIGINT)

    def finish(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + _SECONDS
        while self._take(deadline - time.monotonic()):
            assert time.monotonic() < deadline, self.said
        return self._process.wait(_SECONDS)

    def _take(self, seconds: float) -> bool:
        """Take what is shown next; False at the end."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return True
        try:
            content = os.read(self._master, 65536)
        except OSError:  # Linux says so where the other side is closed
            return False
        self.said += _CONTROLS.sub("", content.decode(errors="replace"))
        return bool(content)
