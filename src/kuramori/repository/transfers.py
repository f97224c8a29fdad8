"""Several files on their way at once, where the store is far away."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Generic, ParamSpec, TypeVar

from kuramori.repository.forking import at_rest
from kuramori.storage.backend import Backend
from kuramori.storage.retry import impatience

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def is_remote(backend: Backend) -> bool:
    """Tell whether the store is anything else than a disk of this machine, which other processes could open."""
    return backend.worker_location is None


def parallel_transfers(backend: Backend) -> int:
    """Return how many files are best sent or fetched at once: one where the store is a disk of this machine, else as
    many as its connections."""
    return backend.connections if is_remote(backend) else 1


class TransferThreads(Generic[Result]):
    """Calls functions in a few threads, which are started when they are needed.

    Unlike those of an executor they do not keep the process from ending: an operation over a bad link may be tried
    again for a quarter of an hour, and whoever interrupts us does not want to wait for that.
    """

    def __init__(self, limit: int) -> None:
        """Begin without threads; ``limit`` is the most that there will be."""
        self._limit = limit
        self._calls: SimpleQueue[tuple[Future[Result], Callable[[], Result]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._guard = threading.Lock()

    def submit(self, function: Callable[Arguments, Result], *arguments: Arguments.args,
               **named: Arguments.kwargs) -> Future[Result]:
        """Have a function called soon; the future gets what it returns or raises."""
        future: Future[Result] = Future()
        with self._guard:
            self._unfinished += 1
            if len(self._threads) < min(self._limit, self._unfinished):
                thread = threading.Thread(target=self._work, name="kuramori-transfer", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._calls.put((future, partial(function, *arguments, **named)))
        return future

    def _work(self) -> None:
        while (call := self._next_call()) is not None:
            future, function = call
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:  # whatever it is, it belongs to whoever waits for the result
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del call, future, function
            with self._guard:
                self._unfinished -= 1

    def _next_call(self) -> tuple[Future[Result], Callable[[], Result]] | None:
        with at_rest():
            return self._calls.get()

    def close(self, *, wait: bool = False) -> None:
        """End the threads when they have done what was submitted. May be called more than once.

        Args:
            wait: return only then.
        """
        threads, self._threads = self._threads, []
        for _thread in threads:
            self._calls.put(None)
        if wait:
            for thread in threads:
                thread.join()


def begin(backend: Backend, question: Callable[[], Result]) -> Callable[[], Result]:
    """Return what gives the result of a question to the store, or raises its error. Where the store is far away it is
    asked at once, in a thread, while others are asked; at a disk of this machine when the result is wanted."""
    if not is_remote(backend):
        return question
    threads: TransferThreads[Result] = TransferThreads(1)
    future = threads.submit(question)
    threads.close()
    return future.result


def fetch_ahead(backend: Backend, fetch: Callable[[Item], Result],
                items: Iterable[Item]) -> Iterator[tuple[Item, Callable[[], Result]]]:
    """Yield each item with what gives the result of ``fetch`` for it, or raises its error; in order.

    Where the store is far away, that of the next few items is fetched meanwhile: as many as it has connections, so
    that memory is bounded. At a disk of this machine it is fetched when it is asked for.

    Args:
        fetch: called in threads, for any item at any time; what it returns may be dropped.
    """
    limit = parallel_transfers(backend)
    if limit <= 1:
        yield from ((item, partial(fetch, item)) for item in items)
        return
    threads: TransferThreads[Result] = TransferThreads(limit)
    running: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            running.append((item, threads.submit(fetch, item)))
            if len(running) >= limit:
                done, future = running.popleft()
                yield done, future.result
                del future  # not two results of the same place at a time
        while running:
            done, future = running.popleft()
            yield done, future.result
    finally:
        for _item, future in running:
            future.cancel()
        threads.close()


def end_transfers(backend: Backend, futures: Iterable[Future[Result]]) -> None:
    """Drop what has not begun, and return when the rest is done, with whatever comes of it: an error is not tried
    again any more. For work that is given up."""
    running = [future for future in futures if not future.cancel()]
    with impatience(backend):
        for future in running:
            future.exception()
