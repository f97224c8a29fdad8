"""Poly1305 (RFC 8439, section 2.5) of many short texts.

OpenSSL looks its algorithm up by name for each tag, which takes several times as long as the tag of a small file.
libsodium does not. It comes with PyNaCl, which itself offers other functions of it only: this one is called where that
module's file has it and answers a known question rightly. Everywhere else, and for longer texts, which OpenSSL does
faster, tags are made by OpenSSL. They are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.poly1305 import Poly1305

if TYPE_CHECKING:
    import ctypes

_SHORT = 2048
"""Bytes up to which libsodium is asked. Measured: a fifth of OpenSSL's time for 60 bytes, as long for 4,500."""
_KEY_LENGTH = 32
_TAG_LENGTH = 16
_KNOWN_KEYS = [bytes(range(first, first + _KEY_LENGTH)) for first in (1, 100)]
_KNOWN_TEXTS = [bytes(range(100)), b"another"]

MakeTags = Callable[[Sequence[bytes], Sequence[bytes]], bytes]
"""Makes of keys and texts the tags, one behind the other. May be used by several threads."""


def tags_by_openssl(keys: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
    """Return the tags of texts, one behind the other.

    Args:
        keys: 32 bytes for each text.

    Raises:
        ValueError: a key is longer or shorter, or there is one too many or too few.
    """
    make = Poly1305.generate_tag
    return b"".join([make(key, text) for key, text in zip(keys, texts, strict=True)])


def short_tags() -> MakeTags:
    """Return the quickest that does what :func:`tags_by_openssl` does."""
    library = _libsodium()
    return tags_by_openssl if library is None else _bind(library)


def _bind(library: ctypes.PyDLL) -> MakeTags:
    import ctypes

    create = library.crypto_onetimeauth_poly1305
    create.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]

    def make(keys: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
        # The library reads and writes whatever it is told: what goes there has the lengths it takes for granted.
        lengths = list(map(len, texts))
        if not lengths or min(lengths) > _SHORT or len(keys) != len(texts) or set(map(len, keys)) != {_KEY_LENGTH}:
            return tags_by_openssl(keys, texts)
        if max(lengths) > _SHORT:
            return _make_by_both(make, keys, texts)
        tags = ctypes.create_string_buffer(_TAG_LENGTH * len(texts))
        start = ctypes.addressof(tags)
        deque(map(create, range(start, start + len(tags), _TAG_LENGTH), texts, lengths, keys), maxlen=0)
        return tags.raw

    return make


def _make_by_both(make: MakeTags, keys: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
    """Return the tags of texts of which some are short: those by ``make``, the others by OpenSSL."""
    short = [number for number, text in enumerate(texts) if len(text) <= _SHORT]
    made = make([keys[number] for number in short], [texts[number] for number in short])
    ready = (made[at : at + _TAG_LENGTH] for at in range(0, len(made), _TAG_LENGTH))
    return b"".join([next(ready) if len(text) <= _SHORT else Poly1305.generate_tag(key, text)
                     for key, text in zip(keys, texts, strict=True)])


@cache
def _libsodium() -> ctypes.PyDLL | None:
    """Return the library, or None where it is missing, cannot be called, or answers wrongly."""
    import ctypes

    try:
        module = find_spec("nacl._sodium")
        if module is None or module.origin is None:
            return None
        library = ctypes.PyDLL(module.origin)  # keeps the interpreter: letting others have it takes as long as the tag
        if library.sodium_init() < 0:  # may be called twice
            return None
        tags = _bind(library)(_KNOWN_KEYS, _KNOWN_TEXTS)
    except (ImportError, OSError, AttributeError):
        return None
    return library if tags == tags_by_openssl(_KNOWN_KEYS, _KNOWN_TEXTS) else None
