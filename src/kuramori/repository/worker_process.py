"""Processes that do a part of the work beside the main one.

Python threads would fight over the interpreter lock for small files; processes do not. A worker
runs the same program as the same user and talks over a socket that nobody else has, so secrets may
pass there: they never appear in arguments, environment or files. It is a copy of this process where that is safe
(:mod:`kuramori.repository.forking`), and otherwise a new interpreter.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from kuramori.repository.forking import ProcessCopy, copy_process
from kuramori.repository.worker_channel import WorkerChannel

_PATIENCE_SECONDS = 10.0
_FOR_THE_MAIN_PROCESS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What a terminal or a service manager sends to the whole group. The main process ends the workers."""


class WorkerProcess:
    """One worker and our end of its socket."""

    def __init__(self, module: str, descriptors: Sequence[int] = ()) -> None:
        """Start a process that calls ``module.run(socket, *descriptors)``.

        Args:
            module: name of a module of this package with a function ``run``.
            descriptors: open files that the worker gets under the same numbers.
        """
        self.process: subprocess.Popen[bytes] | ProcessCopy
        ours, theirs = socket.socketpair()
        # Blocked from its first instruction on: while Python starts, a Ctrl-C would end the worker with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_MAIN_PROCESS)
        try:
            kept = (theirs.fileno(), *descriptors)
            self.process = copy_process(partial(_work, module, kept), kept) or _start_interpreter(module, kept)
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.connection = WorkerChannel(ours.detach())

    def send_settings(self, message: bytes) -> None:
        """Send the first message.

        Where the process has ended already, this does nothing: whoever sends or reads the next message finds out,
        and knows what that means for its task.
        """
        with suppress(OSError):
            self.connection.send_bytes(message)

    def wait(self) -> int:
        """Return the exit status, when the process has ended."""
        return self.process.wait()


def _work(module: str, descriptors: Sequence[int]) -> None:
    import_module(module).run(*descriptors)


def _start_interpreter(module: str, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    package_parent = str(Path(__file__).resolve().parents[2])
    code = (f"import sys; sys.path[:0] = {[package_parent, *sys.path]!r}; "
            f"from {module} import run; run({', '.join(map(str, descriptors))})")
    return subprocess.Popen([sys.executable, "-E", "-c", code], stdin=subprocess.DEVNULL, pass_fds=descriptors)


def end_workers(workers: Iterable[WorkerProcess]) -> None:
    """End processes at once. May be called at any time and more than once."""
    waiting = list(workers)
    for worker in waiting:
        worker.connection.close()  # one that notices cleans up by itself
    for worker in waiting:
        try:
            worker.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                worker.process.kill()
            worker.process.wait()
