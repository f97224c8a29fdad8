"""A worker process: saves files and writes data packs by itself.

It is started as ``python -c ... run(fd)`` with one end of a socket. Python threads would fight
over the interpreter lock for small files; processes do not, and finished packs need not be handed
around: a worker tells the main process only what it stored.
"""

from __future__ import annotations

import gc
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from kuramori.archiving import wire
from kuramori.archiving.file_processor import BlobStore, FileProcessor
from kuramori.chunking.content_defined import ContentDefinedChunker
from kuramori.errors import KuramoriError
from kuramori.ids import Id
from kuramori.model.blob import BlobType, PackEntry
from kuramori.repository.packer import Packer
from kuramori.repository.sealing import BlobSealer
from kuramori.repository.worker_channel import WorkerChannel
from kuramori.storage.location import open_backend


class _Aborted(Exception):
    """The main process is gone or wants us gone."""


class _FinishNow(Exception):
    """The backup was interrupted: keep what is stored and leave the task."""


class Worker:
    """One worker's work."""

    def __init__(self, connection: WorkerChannel) -> None:
        """Talk over ``connection``; its first message are the settings."""
        self._connection = connection
        self._backlog: deque[wire.ToWorker] = deque()
        settings = wire.decode_settings(connection.recv_bytes())
        key = settings.master_key()
        self._packer = Packer(open_backend(settings.location), key, BlobType.DATA, self._stored, settings.pack_size)
        sealer = BlobSealer(key, settings.version, settings.compression)
        self._store = BlobStore(sealer, self._packer, self._claim)
        self._processor = FileProcessor(self._store, ContentDefinedChunker(settings.seed), settings.with_atime)

    def run(self) -> None:
        """Work until told to finish or until the other end is gone."""
        try:
            with suppress(_FinishNow):
                self._work()
            self._packer.flush()
            counts = self._store.counts
            self._send(wire.WorkerDone(counts.blobs, counts.plain_bytes, counts.stored_bytes))
        except _Aborted:
            return
        except KuramoriError as error:
            with suppress(_Aborted):
                self._send(wire.WorkerFailed(type(error).__name__, wire.plain_fields(error)))
        finally:
            self._packer.discard()

    def _work(self) -> None:
        """Do tasks until told to finish."""
        while True:
            message = self._backlog.popleft() if self._backlog else self._receive()
            if isinstance(message, wire.ProcessFiles):
                outcomes = self._processor.process(message.directory, message.names)
                self._packer.collect(leave=2)
                self._send(wire.FilesDone(message.task, outcomes))
            elif isinstance(message, wire.Finish):
                return

    def _claim(self, ids: Sequence[bytes]) -> bytes:
        if not ids:
            return b""
        self._send(wire.ClaimRequest(b"".join(ids)))
        while True:
            message = self._receive()
            if isinstance(message, wire.ClaimAnswer):
                return message.wanted
            if isinstance(message, wire.Finish):
                raise _FinishNow
            self._backlog.append(message)  # tasks are sent ahead of the answers

    def _stored(self, pack: Id, blob_type: BlobType, entries: list[PackEntry]) -> None:
        self._send(wire.PackDone(pack, entries))

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


def run(fd: int) -> None:
    """Be a worker that talks over the socket ``fd``. Called in a process of its own."""
    # Ctrl-C reaches the whole group, and SIGTERM from a service manager all processes of the service:
    # the main process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Little here is cyclic, and looking for cycles among many thousand index entries takes time.
    gc.set_threshold(100_000)
    Worker(WorkerChannel(fd)).run()
