"""A worker process of a restore: makes small files, each in one go."""

from __future__ import annotations

import gc
import os
from itertools import groupby

from kuramori.clock import SystemClock
from kuramori.crypto.master_key import MasterKey
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.config import RepositoryConfig
from kuramori.repository.repository import Repository
from kuramori.repository.worker_channel import WorkerChannel, leave_signals_to_the_main_process
from kuramori.restoring import wire
from kuramori.restoring.metadata import MetadataApplier
from kuramori.restoring.target import TargetFolder
from kuramori.restoring.whole_file import write_whole_file
from kuramori.storage.location import open_backend

_HELD_BYTES = 1024 * 1024
"""Opened blobs that wait for being written: files of one folder are made together."""


class RestoreWorker:
    """One worker's work."""

    def __init__(self, connection: WorkerChannel, target: TargetFolder) -> None:
        """Talk over ``connection``; its first message are the settings."""
        self._connection = connection
        self._target = target
        settings = wire.decode_settings(connection.recv_bytes())
        # Only blobs are read here, which neither the config nor an index is needed for.
        config = RepositoryConfig(2, "", "")
        self._repository = Repository(open_backend(settings.location), config, MasterKey(*settings.key), "",
                                      SystemClock())
        self._applier = MetadataApplier()
        self._own = (os.geteuid(), os.getegid())

    def run(self) -> None:
        """Work until the other end is closed."""
        while True:
            try:
                task = wire.decode_task(self._connection.recv_bytes())
                self._connection.send_bytes(wire.encode(self._do(task)))
            except (EOFError, OSError):
                return

    def _do(self, task: wire.RestoreTask) -> wire.RestoreTaskDone:
        done = wire.RestoreTaskDone([], [])
        files = {blob.id: blob.files for blob in task.blobs}
        blobs = [PackedBlob(BlobType.DATA, blob.id, task.pack, blob.offset, blob.length, blob.uncompressed_length)
                 for blob in task.blobs]
        wanted: list[tuple[wire.SmallFile, bytes]] = []
        length = 0
        for blob, data in self._repository.read_blobs(task.pack, blobs):
            if not isinstance(data, bytes):
                done.damaged.append(blob.id)
                continue
            wanted += [(file, data) for file in files[blob.id]]
            length += len(data)
            if length >= _HELD_BYTES:
                self._make_all(wanted, done)
                wanted, length = [], 0
        self._make_all(wanted, done)
        return done

    def _make_all(self, wanted: list[tuple[wire.SmallFile, bytes]], done: wire.RestoreTaskDone) -> None:
        """Make files; those of one folder follow each other, but for chance."""
        for folder, following in groupby(wanted, _folder_of):
            files = list(following)
            try:
                with self._target.folder(folder) as directory:
                    for file, data in files:
                        self._make(file, data, directory, done)
            except OSError as error:  # of the folder: then no file was tried
                done.failed += [(folder, file.name, error.strerror or str(error)) for file, _ in files]

    def _make(self, file: wire.SmallFile, data: bytes, directory: int, done: wire.RestoreTaskDone) -> None:
        # One of our own may have its mode from the beginning. That of somebody else's would let in whom its mode does
        # not mean; and one that cannot be written to takes no attributes.
        own = (file.uid, file.gid) == self._own and not file.extended_attributes
        mode = file.permissions & 0o777 if own else 0o600
        try:
            write_whole_file(file.name, directory, data, file, self._applier, mode)
        except (OSError, OverflowError, ValueError) as error:
            detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
            done.failed.append((file.folder, file.name, detail))


def _folder_of(wanted: tuple[wire.SmallFile, bytes]) -> bytes:
    return wanted[0].folder


def run(fd: int, target: int) -> None:
    """Be a worker that talks over the socket ``fd`` and makes files in the open folder ``target``."""
    leave_signals_to_the_main_process()
    gc.set_threshold(100_000)
    gc.freeze()  # what is loaded by now stays
    RestoreWorker(WorkerChannel(fd), TargetFolder.from_descriptor(target)).run()
