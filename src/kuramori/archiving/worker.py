"""A worker process: saves files, and writes data packs by itself where the store is a disk of this machine.

It is started as ``python -c ... run(fd)`` with one end of a socket. Python threads would fight
over the interpreter lock for small files; processes do not, and finished packs need not be handed
around: a worker tells the main process only what it stored.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING

from kuramori.archiving import wire
from kuramori.archiving.chunk_exchange import SLOT_BYTES, ChunkExchange
from kuramori.archiving.file_processor import NOTHING_MORE, FileOutcome, FileProcessor, ReadFiles, SavedFiles
from kuramori.archiving.storing import BlobStore, Chunk, ChunkStore, HandingSink, SealedBytes
from kuramori.chunking.content_defined import ContentDefinedChunker
from kuramori.clock import SystemClock
from kuramori.errors import Interrupted, KuramoriError
from kuramori.ids import Id, split_ids
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

    def __init__(self, connection: WorkerChannel, exchange: ChunkExchange | None = None) -> None:
        """Talk over ``connection``; its first message are the settings.

        Args:
            exchange: where chunks pass from worker to worker; None where none do.
        """
        self._connection = connection
        self._exchange = exchange
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
        self._store = store
        sharing = store if exchange is None else _SharingStore(store, exchange, self._ask, self._send)
        self._processor = FileProcessor(sharing, ContentDefinedChunker(settings.seed), settings.with_atime,
                                        self._make_saver(settings, sharing))

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
            counts = self._store.counts
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
            elif isinstance(message, wire.ChunksShared):
                self._store_shared(message)
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

    def _store_shared(self, message: wire.ChunksShared) -> None:
        """Store what another worker has claimed."""
        assert self._exchange is not None
        chunks = self._exchange.take(message.slot, message.lengths)
        for blob_id, chunk in zip(split_ids(message.ids), chunks, strict=True):
            self._store.store_claimed(Id(blob_id), chunk)
        self._give_on()
        self._send(wire.SharedStored(message.slot))

    def _say_done(self, task: int, outcomes: list[FileOutcome] | SavedFiles) -> None:
        self._give_on()
        self._send(_describe(task, outcomes))

    def _give_on(self) -> None:
        """Report or hand over what is stored by now."""
        if self._packer is not None:
            self._packer.collect(leave=2)
        if self._sink is not None:
            self._sink.flush()

    def _take_answer(self, message: wire.ClaimAnswer) -> bool:
        """Note what we shall store of the oldest task that waits for it; tell whether there was one."""
        for claimed in self._claimed:
            if claimed.answer is None:
                claimed.answer = message.wanted
                return True
        return False

    def _claim(self, ids: Sequence[bytes]) -> bytes:
        return self._ask(ids).wanted if ids else b""

    def _ask(self, ids: Sequence[bytes], may_be_shared: bool = False) -> wire.ClaimAnswer:
        if self._finishing:
            raise _FinishNow
        self._send(wire.ClaimRequest(b"".join(ids), may_be_shared))
        while True:
            message = self._receive()
            if isinstance(message, wire.ClaimAnswer):
                if not self._take_answer(message):  # they come in the order of the questions
                    return message
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


class _SharingStore:
    """Lets other workers store chunks, while they have nothing else to do."""

    def __init__(self, store: BlobStore, exchange: ChunkExchange,
                 claim: Callable[[Sequence[bytes], bool], wire.ClaimAnswer],
                 send: Callable[[wire.FromWorker], None]) -> None:
        """Store in ``store`` what nobody else has time for.

        Args:
            claim: asks which blobs to store, and whether others may do that.
        """
        self._store = store
        self._exchange = exchange
        self._claim = claim
        self._send = send

    def store(self, ids: Sequence[Id], chunks: Sequence[Chunk]) -> None:
        """See :class:`~kuramori.archiving.storing.ChunkStore`."""
        begin = size = 0
        for position, chunk in enumerate(chunks):
            if position > begin and size + len(chunk) > SLOT_BYTES:
                self._store_together(ids[begin:position], chunks[begin:position], size)
                begin, size = position, 0
            size += len(chunk)
        if len(chunks) > begin:
            self._store_together(ids[begin:], chunks[begin:], size)

    def _store_together(self, ids: Sequence[Id], chunks: Sequence[Chunk], size: int) -> None:
        answer = self._claim(ids, size <= SLOT_BYTES)
        if answer.slot is None:
            self.store_wanted(ids, chunks, answer.wanted)
            return
        lengths = self._exchange.put(answer.slot, list(compress(chunks, answer.wanted)))
        self._send(wire.ChunksShared(answer.slot, b"".join(compress(ids, answer.wanted)), lengths))

    def store_wanted(self, ids: Sequence[Id], chunks: Sequence[Chunk], wanted: Sequence[int]) -> None:
        """See :class:`~kuramori.archiving.storing.ChunkStore`."""
        self._store.store_wanted(ids, chunks, wanted)


def _describe(task: int, outcomes: list[FileOutcome] | SavedFiles) -> wire.FilesDone | wire.FilesSaved:
    if isinstance(outcomes, SavedFiles):
        return wire.FilesSaved(task, outcomes.nodes, outcomes.sizes)
    if any(not outcome.node or outcome[2:] != NOTHING_MORE for outcome in outcomes):
        return wire.FilesDone(task, outcomes)
    return wire.FilesSaved(task, [outcome.node for outcome in outcomes], [outcome.size for outcome in outcomes])


def run(fd: int, exchange_fd: int | None = None) -> None:
    """Be a worker that talks over the socket ``fd``. Called in a process of its own.

    Args:
        exchange_fd: what :func:`kuramori.archiving.chunk_exchange.make_exchange` made, if it did.
    """
    leave_signals_to_the_main_process()
    # Little here is cyclic, and looking for cycles among many thousand index entries takes time.
    gc.set_threshold(100_000)
    gc.freeze()  # what is loaded by now stays
    Worker(WorkerChannel(fd), None if exchange_fd is None else ChunkExchange(exchange_fd)).run()
