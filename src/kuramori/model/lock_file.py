"""A lock file (format section 3)."""

from __future__ import annotations

import msgspec

from kuramori.model.json import decode_json, go_json
from kuramori.model.times import parse_nanoseconds


class LockFile(msgspec.Struct, kw_only=True):
    """Who holds a lock. The order of the fields is the order in the file."""

    time: str
    exclusive: bool = False
    hostname: str = ""
    username: str = ""
    pid: int = 0
    uid: int = 0
    gid: int = 0

    @property
    def time_nanoseconds(self) -> int:
        """When it was last refreshed, in nanoseconds since 1970-01-01 UTC."""
        return parse_nanoseconds(self.time)


def encode_lock(lock: LockFile) -> bytes:
    """Return the JSON of a lock."""
    return go_json(lock)


_DECODER = msgspec.json.Decoder(LockFile)


def decode_lock(document: bytes) -> LockFile:
    """Return the lock of a JSON document.

    Raises:
        ValueError: it is none.
    """
    lock = decode_json(_DECODER, document)
    parse_nanoseconds(lock.time)
    return lock
