"""What the main process and its workers say to each other.

Both run the same program as the same user, over a socket that nobody else has; messages are
msgpack. The first one to a worker holds the master key, which so never appears in arguments,
environment or files.
"""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from kuramori.archiving.databases import DatabaseSettings
from kuramori.archiving.file_processor import FileOutcome
from kuramori.crypto.master_key import MasterKey
from kuramori.errors import KuramoriError
from kuramori.ids import Id
from kuramori.model.blob import BlobType
from kuramori.repository.compression import Compression
from kuramori.repository.pack_description import PackDescription, describe_in_order


class WorkerSettings(msgspec.Struct):
    """What a worker needs to begin."""

    location: str | None
    """Where to write packs; None if the main process writes them."""
    key: tuple[bytes, bytes, bytes]
    version: int
    compression: Compression
    pack_size: int
    seed: int
    with_atime: bool
    databases: DatabaseSettings | None

    def master_key(self) -> MasterKey:
        """Return the key."""
        return MasterKey(*self.key)


class ProcessFiles(msgspec.Struct, tag=0, array_like=True):
    """To a worker: save these files of one directory."""

    task: int
    directory: bytes
    names: list[bytes]


class ClaimAnswer(msgspec.Struct, tag=1, array_like=True):
    """To a worker: one byte for each id it asked for, 1 where it shall store the blob."""

    wanted: bytes
    slot: int | None = None
    """Where to put these blobs, so that another worker stores them; None if nobody has time for that."""


class Finish(msgspec.Struct, tag=2, array_like=True):
    """To a worker: make everything durable, report it, and end."""


class ClaimRequest(msgspec.Struct, tag=3, array_like=True):
    """From a worker: ids of blobs it has, one after the other."""

    ids: bytes
    may_be_shared: bool = False
    """Whether another worker may store those that are to be stored."""


class ChunksShared(msgspec.Struct, tag=10, array_like=True):
    """From a worker, and on to the one that shall store them: chunks that it has claimed lie in the slot that it was
    given."""

    slot: int
    ids: bytes
    lengths: list[int]


class SharedStored(msgspec.Struct, tag=11, array_like=True):
    """From a worker: what lay in a slot is read and sealed; the slot is free."""

    slot: int


class FilesDone(msgspec.Struct, tag=4, array_like=True):
    """From a worker: the outcomes of a task, in the order of its names."""

    task: int
    outcomes: list[FileOutcome]


class FilesSaved(msgspec.Struct, tag=9, array_like=True):
    """From a worker: a task is done, and of no file there is more to say than its node."""

    task: int
    nodes: list[bytes]
    """In the order of the names."""
    sizes: list[int]


class PackDone(msgspec.Struct, tag=5, array_like=True):
    """From a worker: a pack is durable."""

    pack: Id
    ids: bytes
    """Of its data blobs in file order, one behind the other."""
    lengths: bytes
    """Sealed bytes of each, as an array of 32-bit numbers."""
    uncompressed_lengths: bytes
    """Plain bytes of each, 0 where it is not compressed."""

    @classmethod
    def of(cls, described: PackDescription) -> PackDone:
        """Return what says the same of a pack with data blobs in file order."""
        return cls(described.pack, bytes(described.joined_ids), described.lengths.tobytes(),
                   described.uncompressed_lengths.tobytes())

    def description(self) -> PackDescription:
        """Return what was told."""
        lengths, uncompressed_lengths = array("I", self.lengths), array("I", self.uncompressed_lengths)
        return describe_in_order(self.pack, BlobType.DATA, bytearray(self.ids), lengths, uncompressed_lengths)


class WorkerDone(msgspec.Struct, tag=6, array_like=True):
    """From a worker: all is durable; what was stored."""

    blobs: int
    plain_bytes: int
    stored_bytes: int


class HandOver(msgspec.Struct, tag=8, array_like=True):
    """From a worker that writes no packs: blobs that it claimed and sealed."""

    ids: list[bytes]
    sealed: list[bytes]
    lengths: list[int]
    """Uncompressed ones, 0 for what is stored as it is."""


class WorkerFailed(msgspec.Struct, tag=7, array_like=True):
    """From a worker: it cannot go on."""

    error: str
    """Name of the class in :mod:`kuramori.errors`."""
    fields: dict[str, Any]


def plain_fields(error: KuramoriError) -> dict[str, Any]:
    """Return an error's fields as they can be sent: numbers and texts."""
    return {name: value if isinstance(value, (str, int, float)) else str(value) for name, value in error.fields.items()}


ToWorker = ProcessFiles | ClaimAnswer | ChunksShared | Finish
FromWorker = (ClaimRequest | ChunksShared | SharedStored | FilesDone | FilesSaved | PackDone | HandOver | WorkerDone
              | WorkerFailed)

encode = msgspec.msgpack.Encoder().encode
decode_settings = msgspec.msgpack.Decoder(WorkerSettings).decode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
