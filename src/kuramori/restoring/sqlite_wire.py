"""What is said between the main process and the one that works on a live database."""

from __future__ import annotations

import msgspec

from kuramori.model.databases import DatabaseRecord


class Replace(msgspec.Struct, tag=0, array_like=True):
    """Put the content of one database into another."""

    restored: str
    live: str
    busy_timeout: float


class Copy(msgspec.Struct, tag=1, array_like=True):
    """Copy a database."""

    live: str
    kept: str
    busy_timeout: float


class Examine(msgspec.Struct, tag=2, array_like=True):
    """Look at a database."""

    live: str
    busy_timeout: float


class Answer(msgspec.Struct, array_like=True):
    """How it went."""

    error: str = ""
    """Name of a class in :mod:`kuramori.errors`; empty if all is well."""
    detail: str = ""
    record: DatabaseRecord | None = None


Request = Replace | Copy | Examine

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
