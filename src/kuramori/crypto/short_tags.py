"""Poly1305 (RFC 8439, section 2.5) of many short texts.

OpenSSL looks its algorithm up by name for each tag, which takes several times as long as the tag of a small file.
libsodium does not. It comes with PyNaCl, which itself offers other functions of it only: this one is called where that
module's file has it and answers a known question rightly. Everywhere else, and for longer texts, which OpenSSL does
faster, tags are made by OpenSSL. They are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

if TYPE_CHECKING:
    import ctypes

_SHORT = 2048
"""Bytes up to which libsodium is asked. Measured: a fifth of OpenSSL's time for 60 bytes, as long for 4,500."""
_KEY_LENGTH = 32
_TAG_LENGTH = 16
_KNOWN_KEY = bytes(range(1, 1 + _KEY_LENGTH))
_KNOWN_TEXT = bytes(range(100))

Make = Callable[[bytes, bytes], bytes]
"""Key and text to tag."""
Verify = Callable[[bytes, bytes, bytes], None]
"""Of key, text and tag; raises InvalidSignature."""


def short_tags() -> tuple[Make, Verify]:
    """Return what makes a tag and what verifies one. For one thread each: the tag is made in a place of its own."""
    library = _libsodium()
    if library is None:
        return Poly1305.generate_tag, Poly1305.verify_tag
    return _bind(library)


def _bind(library: ctypes.PyDLL) -> tuple[Make, Verify]:
    import ctypes

    by_openssl, verify_by_openssl = Poly1305.generate_tag, Poly1305.verify_tag
    create = library.crypto_onetimeauth_poly1305
    create.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]
    check = library.crypto_onetimeauth_poly1305_verify
    check.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]
    tag_made = ctypes.create_string_buffer(_TAG_LENGTH)
    address = ctypes.addressof(tag_made)

    # The library reads and writes whatever it is told: what goes there has the lengths it takes for granted.
    def make(key: bytes, text: bytes) -> bytes:
        length = len(text)
        if length > _SHORT or len(key) != _KEY_LENGTH:
            return by_openssl(key, text)
        create(address, text, length, key)
        return tag_made.raw

    def verify(key: bytes, text: bytes, tag: bytes) -> None:
        length = len(text)
        if length > _SHORT or len(key) != _KEY_LENGTH or len(tag) != _TAG_LENGTH:
            verify_by_openssl(key, text, tag)
        elif check(tag, text, length, key):
            raise InvalidSignature

    return make, verify


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
        make, verify = _bind(library)
        tag = make(_KNOWN_KEY, _KNOWN_TEXT)
        verify(_KNOWN_KEY, _KNOWN_TEXT, tag)
    except (ImportError, OSError, AttributeError, InvalidSignature):
        return None
    return library if tag == Poly1305.generate_tag(_KNOWN_KEY, _KNOWN_TEXT) else None
