"""A worker process of a check: reads packs whole. Also what it and the main process say to each other, as msgpack (see
:mod:`kuramori.repository.worker_process`)."""

from __future__ import annotations

import gc
import signal

import msgspec

from kuramori.clock import SystemClock
from kuramori.crypto.master_key import MasterKey
from kuramori.ids import Id
from kuramori.maintenance.sound_packs import is_sound_pack
from kuramori.model.config import RepositoryConfig
from kuramori.repository.repository import Repository
from kuramori.repository.worker_channel import WorkerChannel
from kuramori.storage.location import open_backend


class CheckSettings(msgspec.Struct):
    """What a worker needs to begin."""

    location: str
    key: tuple[bytes, bytes, bytes]


class PackTask(msgspec.Struct, array_like=True):
    """To a worker: is this pack sound? The answer is true or false."""

    pack: Id
    size: int
    digest: bytes


encode = msgspec.msgpack.Encoder().encode
decode_answer = msgspec.msgpack.Decoder(bool).decode
_decode_settings = msgspec.msgpack.Decoder(CheckSettings).decode
_decode_task = msgspec.msgpack.Decoder(PackTask).decode


def run(fd: int) -> None:
    """Be a worker that talks over the socket ``fd``, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the group; the main process decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gc.set_threshold(100_000)
    connection = WorkerChannel(fd)
    settings = _decode_settings(connection.recv_bytes())
    # Only files are read here, which neither the config nor an index is needed for.
    repository = Repository(open_backend(settings.location), RepositoryConfig(2, "", ""), MasterKey(*settings.key), "",
                            SystemClock())
    while True:
        try:
            task = _decode_task(connection.recv_bytes())
            connection.send_bytes(encode(is_sound_pack(repository, task.pack, task.size, task.digest)))
        except (EOFError, OSError):
            return
