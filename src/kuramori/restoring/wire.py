"""What a restore and its workers say to each other, as msgpack (see
:mod:`kuramori.repository.worker_process`)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from kuramori.ids import Id
from kuramori.model.node import ExtendedAttribute


class RestoreSettings(msgspec.Struct):
    """What a worker needs to begin."""

    location: str
    key: tuple[bytes, bytes, bytes]


class SmallFile(NamedTuple):
    """A file that consists of one small blob and does not exist yet. Of its node it has what is needed to make it: a
    whole node takes several times as long to encode and to decode."""

    folder: bytes
    """Path of its folder in the target."""
    name: bytes
    uid: int
    gid: int
    permissions: int
    mtime: str
    atime: str
    extended_attributes: list[ExtendedAttribute] | None


class SmallBlob(NamedTuple):
    """A blob and the files that consist of it."""

    id: Id
    offset: int
    length: int
    uncompressed_length: int
    files: list[SmallFile]


class RestoreTask(msgspec.Struct, array_like=True):
    """To a worker: make these files from one pack."""

    pack: Id
    blobs: list[SmallBlob]


class RestoreTaskDone(msgspec.Struct, array_like=True):
    """From a worker: a task is done but for these."""

    damaged: list[Id]
    """Blobs that could not be opened; no file of theirs was made."""
    failed: list[tuple[bytes, bytes, str]]
    """Folder, name and reason of files that could not be made."""


encode = msgspec.msgpack.Encoder().encode
decode_settings = msgspec.msgpack.Decoder(RestoreSettings).decode
decode_task = msgspec.msgpack.Decoder(RestoreTask).decode
decode_done = msgspec.msgpack.Decoder(RestoreTaskDone).decode
