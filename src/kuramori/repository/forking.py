"""A copy of this process that does something else, where that is safe.

A worker that is a copy has everything imported, and shares the memory of it: it is there in milliseconds, where a new
interpreter takes 0.1 s of a processor. But a copy has only the thread that made it, and whatever another thread held
at that moment (a lock in a library, a half-changed structure) it would wait for, or trip over, for ever. So copies are
made by the main thread only, while every other thread is known to rest (:func:`at_rest`); the system is asked how many
there are, for some belong to libraries. Whatever else does not survive being copied prevents it too: connections to
SQLite, whose locks belong to one process ("How To Corrupt An SQLite Database File", section 2.6), and so much memory
that sharing it would soon cost more than it saves.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from subprocess import TimeoutExpired
from typing import NoReturn

_LARGEST_BYTES = 96 * 1024 * 1024
"""Of memory that is our own. What is copied stays there until its last user changes or drops it: an index that is
sorted anew would be held twice."""
_LOOK_SECONDS = 0.01

_guard = threading.Lock()
_resting = 0


@contextmanager
def at_rest() -> Iterator[None]:
    """Say that the calling thread does nothing meanwhile but wait, and holds nothing that anybody else may ask for.
    Leaving takes a moment while a copy is made."""
    global _resting
    with _guard:
        _resting += 1
    try:
        yield
    finally:
        with _guard:
            _resting -= 1


class ProcessCopy:
    """A copy of this process; what :class:`subprocess.Popen` has of it. Used by one thread at a time."""

    def __init__(self, pid: int) -> None:
        """Stand for the child ``pid``."""
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        if self.returncode is None:
            self._look(os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the process has ended.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutExpired: it runs on.
        """
        looks = 0.0
        while self.poll() is None:
            if timeout is None:
                self._look(0)
                continue
            if looks >= timeout:
                raise TimeoutExpired("a copy of this process", timeout)
            threading.Event().wait(_LOOK_SECONDS)
            looks += _LOOK_SECONDS
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End the process at once, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, 9)

    def _look(self, flags: int) -> None:
        try:
            pid, status = os.waitpid(self.pid, flags)
        except ChildProcessError:  # somebody else took its status, which is lost
            self.returncode = 0
            return
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)


def copy_process(work: Callable[[], None], descriptors: Sequence[int]) -> ProcessCopy | None:
    """Have a copy of this process do ``work`` and end; None where copying is not safe.

    In the copy nothing of ours is cleaned up or written out: it ends as soon as the work does, with 0, or with 1 and a
    traceback if that raised.

    Args:
        work: may use whatever this process has, but for other threads and for what they hold.
        descriptors: what stays open in the copy, besides standard output and error.
    """
    with _guard:
        if not _is_safe():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: those there are rest
            pid = os.fork()
        if not pid:
            _be_copy(work, descriptors)
    return ProcessCopy(pid)


def _be_copy(work: Callable[[], None], descriptors: Sequence[int]) -> NoReturn:
    global _resting
    status = 1
    try:
        _resting = 0  # threads were not copied
        _guard.release()
        gc.freeze()  # what others left is theirs to clean up
        _close_others({1, 2, *descriptors})
        work()
        status = 0
    except BaseException:  # nobody above us is ours: whatever it is ends here
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _close_others(kept: set[int]) -> None:
    """Close what the copy has no use for: an end of a socket that stayed open here would never tell the other end
    that we are gone, and a lock on a file would outlive who took it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing:
        os.dup2(nothing, 0)
        os.close(nothing)


def _is_safe() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if "apsw" in sys.modules and sys.modules["apsw"].connections():
        return False
    try:
        threads = len(os.listdir("/proc/self/task"))
        with open("/proc/self/statm", encoding="ascii") as file:
            _size, resident, shared = file.read().split()[:3]
    except (OSError, ValueError):
        return False  # not Linux: whoever asks starts an interpreter
    return threads == 1 + _resting and (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") <= _LARGEST_BYTES
