"""Trying again what may pass: a network that was away, a server that was busy."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from kuramori.clock import Clock, SystemClock
from kuramori.errors import (
    FileNotInStorageError,
    ShortReadError,
    StorageError,
    StorageFullError,
    StorageRetryableError,
)
from kuramori.storage.backend import Backend, Buffer, FileInfo, FileType, Handle, StagedFile
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.spooled_file import SpooledFile

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How patiently to try. All in seconds."""

    first_wait: float = 0.5
    longest_wait: float = 60.0
    budget: float = 15 * 60.0
    """From the first failure of an operation; no new attempt begins after it."""
    first_contact_budget: float = 10.0
    """From the beginning of an operation, as long as the store has not answered once: a wrong name or port, or a
    server that is off, is said within seconds. A store that asks to be left alone for a while has answered."""


class RetryBackend(ForwardingBackend):
    """Repeats an operation whose error says ``retryable``, with waits that double and vary by
    chance (so that many clients do not come back at the same moment), until the budget is used up.
    Then the last error is raised. A store that says how long to wait (``Retry-After``) is not asked
    again before that, but once at the end of the budget where it names a longer time.

    A staged file that is saved as a whole (:class:`~kuramori.storage.spooled_file.SpooledFile`) is committed with
    the same patience. Any other is passed on as it is: what was written to it cannot be written again.
    """

    def __init__(self, inner: Backend, *, clock: Clock | None = None, options: RetryOptions | None = None,
                 notice: Callable[[str, StorageError, float], None] | None = None) -> None:
        """Wrap ``inner``.

        Args:
            clock: waits and measures the budget.
            options: how patiently.
            notice: called before each wait with the operation, its error and the seconds to wait.
        """
        super().__init__(inner)
        self._clock = clock or SystemClock()
        self._options = options or RetryOptions()
        self._notice = notice
        self._random = random.Random()
        self._reached = False
        """Whether the store has answered: only ever set, by any thread."""
        self._impatient = 0
        """How many have given up."""
        self._teller: _Attempts | None = None
        """Before the store has answered once, only one of several operations tells of its waits: they wait for the
        same."""

    @property
    def worker_location(self) -> str | None:
        """The wrapped backend's: a worker opens it with the wrappers it needs."""
        return self._inner.worker_location

    def create(self) -> None:
        """Make the place ready, trying again."""
        self._patiently("create", self._inner.create)

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file, trying again with the same parts."""
        self._patiently("save", lambda: self._inner.save(handle, parts))

    def stage(self) -> StagedFile:
        """Begin a pack."""
        staged = self._inner.stage()
        return staged.through(self.save) if isinstance(staged, SpooledFile) else staged

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, trying again."""
        return self._patiently("load", lambda: self._inner.load(handle, offset, length))

    def size(self, handle: Handle) -> int:
        """Return the file's size, trying again."""
        return self._patiently("look at", lambda: self._inner.size(handle))

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. A listing that fails halfway is begun again, and what was
        already given is not given twice."""
        given: set[str] = set()
        attempts = _Attempts(self)
        while True:
            try:
                for info in self._inner.list(file_type):
                    self._reached = True
                    if info.name not in given:
                        given.add(info.name)
                        yield info
                self._reached = True
                return
            except StorageError as error:
                attempts.wait_or_raise("list", error)

    def remove(self, handle: Handle) -> None:
        """Delete a file, trying again. Where an attempt failed, its file may be gone all the same:
        not finding it afterwards is success."""
        attempts = _Attempts(self)
        while True:
            try:
                self._inner.remove(handle)
                self._reached = True
                return
            except FileNotInStorageError:
                self._reached = True
                if attempts.failed:
                    return
                raise
            except StorageError as error:
                attempts.wait_or_raise("remove", error)

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete what killed processes left, trying again."""
        return self._patiently("clean", lambda: self._inner.remove_leftovers(older_than_seconds))

    def _patiently(self, operation: str, attempt: Callable[[], Result]) -> Result:
        attempts = _Attempts(self)
        while True:
            try:
                result = attempt()
                self._reached = True
                return result
            except StorageError as error:
                attempts.wait_or_raise(operation, error)


@contextmanager
def impatience(backend: Backend) -> Iterator[None]:
    """For the time of a ``with`` block, let operations fail with the error that they have instead of trying again,
    also those of other threads that are waiting: somebody has given up, and waits for them to end.

    Args:
        backend: a store with its wrappers; those that try again are found.
    """
    found = []
    inner: Backend | None = backend
    while inner is not None:
        if isinstance(inner, RetryBackend):
            found.append(inner)
        inner = getattr(inner, "inner", None)
    with _impatience_guard:
        for each in found:
            each._impatient += 1
    try:
        yield
    finally:
        with _impatience_guard:
            for each in found:
                each._impatient -= 1


_impatience_guard = threading.Lock()
_LOOK_SECONDS = 1.0
"""How often somebody who waits looks whether it was given up."""
_ANSWERS = (FileNotInStorageError, ShortReadError, StorageFullError)
"""What only a store that is there can say."""


class _Attempts:
    """The failed attempts of one operation."""

    def __init__(self, backend: RetryBackend) -> None:
        self._backend = backend
        self._began = backend._clock.monotonic()
        self._first_failure = 0.0
        self._longest = backend._options.first_wait
        self.failed = 0

    def wait_or_raise(self, operation: str, error: StorageError) -> None:
        """Sleep before the next attempt; raise ``error`` where another one cannot help or may no
        longer begin."""
        backend, options = self._backend, self._backend._options
        asked = error.retry_after if isinstance(error, StorageRetryableError) else 0.0
        if asked or isinstance(error, _ANSWERS):
            backend._reached = True
        if not error.retryable or backend._impatient:
            raise error
        now = backend._clock.monotonic()
        if not self.failed:
            self._first_failure = now
        end = self._first_failure + options.budget if backend._reached else self._began + options.first_contact_budget
        wait = self._longest * backend._random.uniform(0.5, 1.0)
        if asked:
            # Plus what varies, as everybody else was told the same; and one attempt at the end whatever was asked.
            wait = max(min(asked + wait, end - now), wait)
        if now + wait > end:
            raise error
        self.failed += 1
        self._longest = min(self._longest * 2, options.longest_wait)
        if backend._teller is None:
            backend._teller = self
        if backend._notice is not None and (backend._reached or backend._teller is self):
            backend._notice(operation, error, wait)
        while wait > 0 and not backend._impatient:
            backend._clock.sleep(min(wait, _LOOK_SECONDS))
            wait -= _LOOK_SECONDS
