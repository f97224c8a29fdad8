"""Names of things in a repository.

Every file of a repository (but ``config``) and every blob is named by the SHA-256 of its bytes
(format section 1.1 and 1.6). Inside the program an id is 32 raw bytes; on disk, in JSON and on
the screen it is 64 lower-case hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from struct import Struct
from typing import NewType

Id = NewType("Id", bytes)
"""32 raw bytes: the SHA-256 of what is named."""

ID_LENGTH = 32
_ONE_ID = Struct(f"{ID_LENGTH}s")
_MANY_IDS = Struct(f"{ID_LENGTH}s" * 64)
_HEX_ID = re.compile(r"[0-9a-f]{64}")


def hash_id(data: bytes | bytearray | memoryview) -> Id:
    """Return the id of ``data``: its SHA-256."""
    return Id(hashlib.sha256(data).digest())


def is_hex_id(name: str) -> bool:
    """Tell whether ``name`` is a whole id: 64 lower-case hexadecimal digits."""
    return _HEX_ID.fullmatch(name) is not None


def parse_id(text: str) -> Id:
    """Return the id written as 64 lower-case hexadecimal digits.

    Raises:
        ValueError: ``text`` is anything else.
    """
    if not is_hex_id(text):
        raise ValueError(f"not an id: {text[:80]!r}")
    return Id(bytes.fromhex(text))


def join_ids(texts: Sequence[str]) -> bytes | None:
    """Return the ids written as hexadecimal digits one behind the other, in a tenth of the time that
    :func:`parse_id` takes for each; or None if one of them is anything else."""
    joined = "".join(texts)
    try:
        raw = bytes.fromhex(joined)
    except ValueError:
        return None
    if raw.hex() != joined or set(map(len, texts)) - {2 * ID_LENGTH}:
        return None
    return raw


def split_ids(joined: bytes | bytearray) -> Iterator[bytes]:
    """Yield ids that stand one behind the other.

    Raises:
        struct.error: the last one is not whole.
    """
    view = memoryview(bytes(joined))
    even = len(view) - len(view) % _MANY_IDS.size
    return chain.from_iterable(chain(_MANY_IDS.iter_unpack(view[:even]), _ONE_ID.iter_unpack(view[even:])))


def short_id(text: str) -> str:
    """Return the first eight digits of a hexadecimal id, as restic shows ids to people."""
    return text[:8]
