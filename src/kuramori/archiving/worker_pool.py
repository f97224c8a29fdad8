"""The main process's side of the workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from kuramori import errors
from kuramori.archiving import wire
from kuramori.archiving.chunk_exchange import make_exchange
from kuramori.archiving.file_processor import FileOutcome
from kuramori.archiving.storing import StoreCounts
from kuramori.errors import N_, KuramoriError, Phrase
from kuramori.ids import split_ids
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import PackStored
from kuramori.repository.worker_channel import wait_for_messages
from kuramori.repository.worker_process import WorkerProcess, end_workers

_TASKS_AHEAD = 2
"""Tasks a worker has waiting besides the one it works on,"""
_LARGE_BYTES = 32 * 1024 * 1024
"""... unless it has so much to do that one of them could as well begin at once with another worker;"""
_SMALL_TASKS_AHEAD = 40
"""... and if they are small: it works on several at a time."""
_SMALL_BYTES = 1024 * 1024
_NAMES_BYTES = 32 * 1024
"""So many bytes of names fit into the buffer of a worker's socket, with much to spare: sending it a task never waits
for a worker that waits until it is listened to."""


_SHARES_AHEAD = 2
"""Slots of chunks of others that a worker has to store: while it is at one, the next is there. Their messages fit into
the buffer of its socket, too."""


class _Link(WorkerProcess):
    """One worker process."""

    def __init__(self, settings: wire.WorkerSettings, descriptors: Sequence[int]) -> None:
        super().__init__("kuramori.archiving.worker", descriptors)
        self.shares = 0
        """Slots of others that it shall store or stores."""
        self.tasks: dict[int, tuple[int, int]] = {}
        """Unfinished tasks, the bytes of their files and of the names of these."""
        self.bytes_ahead = 0
        """Bytes of the files of all of them,"""
        self._names_ahead = 0
        """... and of their names."""
        self.finished = False
        self.send_settings(wire.encode(settings))

    def begin(self, task: int, size: int, names: int) -> None:
        """Take note of a task, the bytes of its files and of their names."""
        self.tasks[task] = (size, names)
        self.bytes_ahead += size
        self._names_ahead += names

    def end(self, task: int) -> None:
        """Forget a task."""
        size, names = self.tasks.pop(task)
        self.bytes_ahead -= size
        self._names_ahead -= names

    @property
    def has_room(self) -> bool:
        """Whether it would have too little to do without another task."""
        if len(self.tasks) <= _TASKS_AHEAD:
            return not self.tasks or self.bytes_ahead < _LARGE_BYTES
        return (len(self.tasks) <= _SMALL_TASKS_AHEAD and self.bytes_ahead <= _SMALL_BYTES
                and self._names_ahead <= _NAMES_BYTES)


class WorkerPool:
    """Several workers. Used by one thread; nothing happens in the background but the workers'
    own work: call :meth:`poll` often."""

    def __init__(self, settings: wire.WorkerSettings, count: int, *,
                 claim: Callable[[Sequence[bytes]], bytes],
                 stored: PackStored,
                 handed: Callable[[Sequence[bytes], Sequence[bytes], Sequence[int]], None],
                 done: Callable[[int, list[FileOutcome]], None],
                 saved: Callable[[int, list[bytes], list[int]], None]) -> None:
        """Start ``count`` workers.

        Args:
            claim: answers which blobs a worker shall store (see :data:`file_processor.Claim`).
            stored: told of every durable pack.
            handed: given the claimed blobs of workers that write no packs: ids, sealed bytes, uncompressed lengths.
            done: told of every finished task,
            saved: ... or of its nodes and sizes, where all files were saved and there is no more to say.
        """
        self._claim = claim
        self._stored = stored
        self._handed = handed
        self._done = done
        self._saved = saved
        self.counts = StoreCounts()
        self._rescuing = False
        self._links: list[_Link] = []
        self._helpers: dict[int, _Link] = {}
        """Slot -> who stores what is in it."""
        exchange = make_exchange(_SHARES_AHEAD * count) if count > 1 else None
        self._free_slots = [] if exchange is None else list(range(_SHARES_AHEAD * count))
        try:
            for _ in range(count):
                self._links.append(_Link(settings, [] if exchange is None else [exchange]))
        except BaseException:
            self.kill()
            raise
        finally:
            if exchange is not None:
                os.close(exchange)

    def submit(self, task: int, directory: bytes, names: list[bytes], size: int) -> None:
        """Give a task to the worker with the fewest bytes waiting; :meth:`has_room` must be true."""
        link = min(self._links, key=lambda link: (not link.has_room, link.bytes_ahead))
        link.begin(task, size, sum(map(len, names)))
        self._send(link, wire.ProcessFiles(task, directory, names))

    def has_room(self) -> bool:
        """Tell whether some worker would have too little to do without another task."""
        return any(link.has_room for link in self._links)

    @property
    def unfinished(self) -> int:
        """How many tasks are not done; chunks that one worker stores for another are such, too."""
        return sum(len(link.tasks) for link in self._links) + len(self._helpers)

    def poll(self, seconds: float | None) -> None:
        """Deal with what workers say.

        Args:
            seconds: how long to wait for the first message; None for as long as it takes.

        Raises:
            KuramoriError: a worker failed.
        """
        by_connection = {link.connection: link for link in self._links if not link.finished}
        for ready in wait_for_messages(by_connection, seconds):
            self._receive(by_connection[ready])

    def _receive(self, link: _Link) -> None:
        try:
            message = wire.decode_from_worker(link.connection.recv_bytes())
        except (EOFError, OSError):
            code = link.process.wait()
            raise KuramoriError(
                detail=Phrase(N_("a worker process ended unexpectedly (status {code})"), code=code)) from None
        if isinstance(message, wire.ClaimRequest):
            if self._rescuing:
                return  # the worker waits for an answer and finds that it shall finish
            wanted = self._claim(list(split_ids(message.ids)))
            slot = self._find_helper(link) if message.may_be_shared and any(wanted) else None
            self._send(link, wire.ClaimAnswer(wanted, slot))
        elif isinstance(message, wire.ChunksShared):
            if self._rescuing:
                return  # nothing that refers to them will be written, and who should store them may have ended
            self._send(self._helpers[message.slot], message)
        elif isinstance(message, wire.SharedStored):
            link.shares -= 1
            del self._helpers[message.slot]
            self._free_slots.append(message.slot)
        elif isinstance(message, wire.FilesSaved):
            link.end(message.task)
            self._saved(message.task, message.nodes, message.sizes)
        elif isinstance(message, wire.FilesDone):
            link.end(message.task)
            self._done(message.task, message.outcomes)
        elif isinstance(message, wire.HandOver):
            self._handed(message.ids, message.sealed, message.lengths)
        elif isinstance(message, wire.PackDone):
            self._stored(message.description())
        elif isinstance(message, wire.WorkerDone):
            self.counts.blobs += message.blobs
            self.counts.plain_bytes += message.plain_bytes
            self.counts.stored_bytes += message.stored_bytes
            link.finished = True
            link.connection.close()
            link.process.wait()  # its memory is free before the index is written
        else:
            kind = getattr(errors, message.error, KuramoriError)
            raise kind(**message.fields)

    def _find_helper(self, asking: _Link) -> int | None:
        """Return a slot whose content another worker will store; None if all have enough to do."""
        helper = min((link for link in self._links if link is not asking and not link.tasks),
                     key=lambda link: link.shares, default=None)
        if helper is None or helper.shares >= _SHARES_AHEAD or not self._free_slots:
            return None
        helper.shares += 1
        slot = self._free_slots.pop()
        self._helpers[slot] = helper
        return slot

    def _send(self, link: _Link, message: wire.ToWorker) -> None:
        try:
            link.connection.send_bytes(wire.encode(message))
        except OSError:
            self._receive(link)  # it says why it ended, or its end is reported

    def finish(self) -> None:
        """Let the workers make everything durable, and end them. All tasks must be done.

        Raises:
            KuramoriError: a worker failed.
        """
        last: list[PackDescription] = []
        stored, self._stored = self._stored, last.append
        for link in self._links:
            self._send(link, wire.Finish())
        while any(not link.finished for link in self._links):
            self.poll(None)
        # Most packs end here, and describing them takes memory: only now that the workers' is free.
        for described in last:
            stored(described)

    def rescue(self) -> None:
        """After an interruption: let the workers leave the task they are at, make durable what they
        have stored, and end. What :meth:`finish` raises is raised here too."""
        self._rescuing = True
        self._handed = lambda ids, sealed, lengths: None  # sending them now would keep whoever interrupted waiting
        for link in self._links:
            if not link.finished:
                self._send(link, wire.Finish())
        self._done = lambda task, outcomes: None
        self._saved = lambda task, nodes, sizes: None
        while any(not link.finished for link in self._links):
            self.poll(None)

    def kill(self) -> None:
        """End the workers without making anything durable. May be called at any time and more
        than once."""
        end_workers(self._links)
