"""A worker process: saves files, and writes data packs by itself where the store is a disk of this machine.

It is started as ``python -c ... run(fd)`` with one end of a socket. Python threads would fight
over the interpreter lock for small files; processes do not, and finished packs need not be handed
around: a worker tells the main process only what it stored.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from kuramori.archiving import wire
from kuramori.archiving.file_processor import NOTHING_MORE, FileOutcome, FileProcessor, ReadFiles, SavedFiles
from kuramori.archiving.storing import BlobStore, ChunkStore, HandingSink, SealedBytes
from kuramori.chunking.content_defined import ContentDefinedChunker
from kuramori.clock import SystemClock
from kuramori.errors import Interrupted, KuramoriError
from kuramori.model.blob import BlobType
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer
from kuramori.repository.sealing import BlobSealer
from kuramori.repository.worker_channel import WorkerChannel, leave_signals_to_the_main_process, wait_for_messages
from kuramori.storage.location import open_backend

if TYPE_CHECKING:
    from kuramori.archiving.database_saving import DatabaseSaver


_CLAIMED_AHEAD = 32
"""Tasks that wait for an answer at most,"""
_CLAIMED_BYTES = 4 * 1024 * 1024
"""... unless they hold so much. The main process needs a tenth of a second now and then to sort blobs into the
index."""


class _Aborted(Exception):
    """The main process is gone or wants us gone."""


class _FinishNow(Exception):
    """The backup was interrupted: keep what is stored and leave the task."""


class _Claimed:
    """A task whose last small files are read, and claimed of the main process."""

    __slots__ = ("answer", "held", "read", "task")

    def __init__(self, task: int, read: ReadFiles) -> None:
        self.task = task
        self.read = read
        self.held = read.held
        self.answer: bytes | None = None
        """Which of them we shall store; None while the main process has not answered."""


class Worker:
    """One worker's work."""

    def __init__(self, connection: WorkerChannel) -> None:
        """Talk over ``connection``; its first message are the settings."""
        self._connection = connection
        self._backlog: deque[wire.ToWorker] = deque()
        settings = wire.decode_settings(connection.recv_bytes())
        self._claimed: deque[_Claimed] = deque()
        self._claimed_bytes = 0
        self._finishing = self._gone = False
        key = settings.master_key()
        self._packer: Packer | None = None
        self._sink: HandingSink | None = None
        if settings.location is None:
            self._sink = HandingSink(self._hand_over)
        else:
            self._packer = Packer(open_backend(settings.location), key, BlobType.DATA, self._stored, settings.pack_size)
        sink = self._packer or self._sink
        assert sink is not None
        store = BlobStore(BlobSealer(key, settings.version, settings.compression), sink, self._claim)
        self._counts = store.counts
        self._processor = FileProcessor(store, ContentDefinedChunker(settings.seed), settings.with_atime,
                                        self._make_saver(settings, store))

    def _make_saver(self, settings: wire.WorkerSettings, store: ChunkStore) -> DatabaseSaver | None:
        if settings.databases is None:
            return None
        # Lazy: it loads SQLite.
        from kuramori.archiving.database_saving import DatabaseSaver

        return DatabaseSaver(store, settings.databases, SystemClock(), self._is_over)

    def _is_over(self) -> bool:
        """Tell whether the main process wants us to finish or is gone; asked in long waits."""
        try:
            while not self._finishing and wait_for_messages([self._connection], 0):
                message = self._receive()
                self._finishing = isinstance(message, wire.Finish)
                if not isinstance(message, wire.ClaimAnswer) or not self._take_answer(message):
                    self._backlog.append(message)
        except _Aborted:
            self._finishing = self._gone = True
        return self._finishing

    def run(self) -> None:
        """Work until told to finish or until the other end is gone."""
        try:
            with suppress(_FinishNow, Interrupted):
                self._work()
            if self._gone:
                return
            if self._packer is not None:
                self._packer.flush()
            if self._sink is not None:
                self._sink.flush()
            counts = self._counts
            self._send(wire.WorkerDone(counts.blobs, counts.plain_bytes, counts.stored_bytes))
        except _Aborted:
            return
        except KuramoriError as error:
            with suppress(_Aborted):
                self._send(wire.WorkerFailed(type(error).__name__, wire.plain_fields(error)))
        finally:
            if self._packer is not None:
                self._packer.discard()

    def _work(self) -> None:
        """Do tasks until told to finish.

        While the main process, which may be at something else, has not answered which small files to store, those of
        the next tasks are read: waiting for each answer took a quarter of a backup of tiny files.
        """
        while not self._finishing:
            if self._claimed and (answer := self._claimed[0].answer) is not None:
                done = self._claimed.popleft()
                self._claimed_bytes -= done.held
                self._say_done(done.task, self._processor.finish(done.read, answer))
                continue
            has_room = len(self._claimed) < _CLAIMED_AHEAD and self._claimed_bytes < _CLAIMED_BYTES
            if self._backlog and has_room:
                message = self._backlog.popleft()
            else:
                message = self._receive()
            if isinstance(message, wire.ClaimAnswer):
                self._take_answer(message)
            elif isinstance(message, wire.Finish):
                return
            elif has_room:
                self._process(message)
            else:
                self._backlog.append(message)

    def _process(self, message: wire.ProcessFiles) -> None:
        read = self._processor.read(message.directory, message.names)
        if read.ids:
            self._send(wire.ClaimRequest(b"".join(read.ids)))
            claimed = _Claimed(message.task, read)
            self._claimed.append(claimed)
            self._claimed_bytes += claimed.held
        else:
            self._say_done(message.task, self._processor.finish(read, b""))

    def _say_done(self, task: int, outcomes: list[FileOutcome] | SavedFiles) -> None:
        if self._packer is not None:
            self._packer.collect(leave=2)
        if self._sink is not None:
            self._sink.flush()
        self._send(_describe(task, outcomes))

    def _take_answer(self, message: wire.ClaimAnswer) -> bool:
        """Note what we shall store of the oldest task that waits for it; tell whether there was one."""
        for claimed in self._claimed:
            if claimed.answer is None:
                claimed.answer = message.wanted
                return True
        return False

    def _claim(self, ids: Sequence[bytes]) -> bytes:
        if not ids:
            return b""
        if self._finishing:
            raise _FinishNow
        self._send(wire.ClaimRequest(b"".join(ids)))
        while True:
            message = self._receive()
            if isinstance(message, wire.ClaimAnswer):
                if not self._take_answer(message):  # they come in the order of the questions
                    return message.wanted
            elif isinstance(message, wire.Finish):
                raise _FinishNow
            else:
                self._backlog.append(message)  # tasks are sent ahead of the answers

    def _stored(self, described: PackDescription) -> None:
        self._send(wire.PackDone.of(described))

    def _hand_over(self, ids: list[bytes], sealed: list[SealedBytes], lengths: list[int]) -> None:
        self._send(wire.HandOver(ids, sealed, lengths))  # type: ignore[arg-type]  # msgspec sends any buffer

    def _send(self, message: wire.FromWorker) -> None:
        try:
            self._connection.send_bytes(wire.encode(message))
        except OSError:
            raise _Aborted from None

    def _receive(self) -> wire.ToWorker:
        try:
            message: wire.ToWorker = wire.decode_to_worker(self._connection.recv_bytes())
        except (OSError, EOFError):
            raise _Aborted from None
        return message


def _describe(task: int, outcomes: list[FileOutcome] | SavedFiles) -> wire.FilesDone | wire.FilesSaved:
    if isinstance(outcomes, SavedFiles):
        return wire.FilesSaved(task, outcomes.nodes, outcomes.sizes)
    if any(not outcome.node or outcome[2:] != NOTHING_MORE for outcome in outcomes):
        return wire.FilesDone(task, outcomes)
    return wire.FilesSaved(task, [outcome.node for outcome in outcomes], [outcome.size for outcome in outcomes])


def run(fd: int) -> None:
    """Be a worker that talks over the socket ``fd``. Called in a process of its own."""
    leave_signals_to_the_main_process()
    # Little here is cyclic, and looking for cycles among many thousand index entries takes time.
    gc.set_threshold(100_000)
    gc.freeze()  # what is loaded by now stays
    Worker(WorkerChannel(fd)).run()
