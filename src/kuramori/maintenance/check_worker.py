"""A worker process of a check: reads trees, or packs whole. Also what it and the main process say to each other, as
msgpack (see :mod:`kuramori.repository.worker_process`)."""

from __future__ import annotations

import gc

import msgspec

from kuramori.clock import SystemClock
from kuramori.crypto.master_key import MasterKey
from kuramori.ids import Id
from kuramori.maintenance.sound_packs import sound_digest
from kuramori.maintenance.sound_trees import TreeVerdict, judge_trees
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.config import RepositoryConfig
from kuramori.repository.repository import Repository
from kuramori.repository.worker_channel import WorkerChannel, leave_signals_to_the_main_process
from kuramori.repository.worker_process import WorkerProcess
from kuramori.storage.location import open_backend


class _CheckSettings(msgspec.Struct):
    """What a worker needs to begin."""

    location: str
    key: tuple[bytes, bytes, bytes]


class PackTask(msgspec.Struct, array_like=True, tag=1):
    """To a worker: is this pack sound? The answer is what :func:`sound_digest` returns."""

    pack: Id
    size: int


class TreesTask(msgspec.Struct, array_like=True, tag=2):
    """To a worker: judge these trees. The answer is a verdict, or None, for each."""

    trees: list[tuple[Id, Id, int, int, int]]
    """Id, pack, offset, length and uncompressed length."""


encode = msgspec.msgpack.Encoder().encode
decode_answer = msgspec.msgpack.Decoder(bytes | None).decode
decode_verdicts = msgspec.msgpack.Decoder(list[TreeVerdict | None]).decode
_decode_settings = msgspec.msgpack.Decoder(_CheckSettings).decode
_decode_task = msgspec.msgpack.Decoder(PackTask | TreesTask).decode


def start_worker(repository: Repository) -> WorkerProcess:
    """Start a worker for a repository, whose backend must have a ``worker_location``.

    Raises:
        OSError: it cannot be started.
    """
    location = repository.backend.worker_location
    assert location is not None
    worker = WorkerProcess("kuramori.maintenance.check_worker")
    worker.send_settings(encode(_CheckSettings(location, repository.key.reveal())))
    return worker


def _answer(repository: Repository, task: PackTask | TreesTask) -> bytes | list[TreeVerdict | None] | None:
    if isinstance(task, PackTask):
        return sound_digest(repository, task.pack, task.size)
    return judge_trees(repository, [PackedBlob(BlobType.TREE, *tree) for tree in task.trees])


def run(fd: int) -> None:
    """Be a worker that talks over the socket ``fd``, until its other end is closed."""
    leave_signals_to_the_main_process()
    gc.set_threshold(100_000)
    connection = WorkerChannel(fd)
    settings = _decode_settings(connection.recv_bytes())
    # Only files are read here, which neither the config nor an index is needed for.
    repository = Repository(open_backend(settings.location), RepositoryConfig(2, "", ""), MasterKey(*settings.key), "",
                            SystemClock())
    while True:
        try:
            task = _decode_task(connection.recv_bytes())
            connection.send_bytes(encode(_answer(repository, task)))
        except (EOFError, OSError):
            return
