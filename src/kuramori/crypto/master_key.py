"""AES-256-CTR with Poly1305-AES, as format section 1.2 describes it.

A sealed object is ``nonce || ciphertext || tag``: 32 bytes longer than what it holds. The MAC is
over the ciphertext only, and a sealed object is not bound to its place: whoever opens one must
check the hash of what comes out.
"""

from __future__ import annotations

import os
import threading

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

NONCE_LENGTH = 16
TAG_LENGTH = 16
SEAL_OVERHEAD = NONCE_LENGTH + TAG_LENGTH
KEY_LENGTH = 64
"""Bytes of a whole key: 32 to encrypt, 16 + 16 for the MAC."""

_ZERO_NONCE = bytes(NONCE_LENGTH)


class OpenError(Exception):
    """The sealed bytes are too short or their MAC is wrong."""


class MasterKey:
    """A key that seals and opens. May be used by several threads at once."""

    __slots__ = ("_encrypt", "_k", "_local", "_r")

    def __init__(self, encrypt: bytes, mac_k: bytes, mac_r: bytes) -> None:
        """Make a key of its three parts.

        Args:
            encrypt: 32 bytes for AES-256.
            mac_k: 16 bytes for AES-128 of the nonce.
            mac_r: 16 bytes, masked or not; the library masks them.

        Raises:
            ValueError: a part has another length or is all zero.
        """
        if len(encrypt) != 32 or len(mac_k) != 16 or len(mac_r) != 16:
            raise ValueError("a part of the key has a wrong length")
        if not any(encrypt) or not any(mac_k) or not any(mac_r):
            raise ValueError("a part of the key is all zero")
        self._encrypt = encrypt
        self._k = mac_k
        self._r = mac_r
        self._local = threading.local()

    @classmethod
    def from_bytes(cls, data: bytes) -> MasterKey:
        """Return the key of 64 bytes: ``encrypt || k || r``."""
        return cls(data[:32], data[32:48], data[48:64])

    @classmethod
    def random(cls) -> MasterKey:
        """Return a new key from the system's random source."""
        return cls.from_bytes(os.urandom(KEY_LENGTH))

    def reveal(self) -> tuple[bytes, bytes, bytes]:
        """Return the three parts, to be sealed into a key file or handed to a worker's pipe."""
        return self._encrypt, self._k, self._r

    def __repr__(self) -> str:
        return "MasterKey(***)"

    def _contexts(self) -> tuple[CipherContext, CipherContext]:
        try:
            return self._local.contexts  # type: ignore[no-any-return]
        except AttributeError:
            stream = Cipher(AES(self._encrypt), CTR(_ZERO_NONCE)).encryptor()
            pad = Cipher(AES(self._k), ECB()).encryptor()
            self._local.contexts = (stream, pad)
            return self._local.contexts  # type: ignore[no-any-return]

    def seal(self, plain: bytes | bytearray | memoryview) -> bytearray:
        """Return ``plain`` sealed with a fresh random nonce."""
        stream, pad = self._contexts()
        nonce = os.urandom(NONCE_LENGTH)
        while nonce == _ZERO_NONCE:
            nonce = os.urandom(NONCE_LENGTH)
        length = len(plain)
        sealed = bytearray(length + SEAL_OVERHEAD)
        view = memoryview(sealed)
        sealed[:NONCE_LENGTH] = nonce
        stream.reset_nonce(nonce)
        if length:
            # The library wants room for one block less a byte beyond the text; the tag's place is it.
            stream.update_into(plain, view[NONCE_LENGTH:])
        tag = Poly1305.generate_tag(self._r + pad.update(nonce), view[NONCE_LENGTH : NONCE_LENGTH + length])
        sealed[NONCE_LENGTH + length :] = tag
        return sealed

    def open(self, sealed: bytes | bytearray | memoryview) -> bytes:
        """Return what was sealed.

        Raises:
            OpenError: it is too short, or the MAC is wrong.
        """
        if len(sealed) < SEAL_OVERHEAD:
            raise OpenError("it is too short to be sealed data")
        stream, pad = self._contexts()
        view = memoryview(sealed)
        nonce = bytes(view[:NONCE_LENGTH])
        text = view[NONCE_LENGTH:-TAG_LENGTH]
        if nonce == _ZERO_NONCE:
            raise OpenError("the nonce is zero")
        try:
            Poly1305.verify_tag(self._r + pad.update(nonce), text, bytes(view[-TAG_LENGTH:]))
        except InvalidSignature:
            raise OpenError("the MAC does not match") from None
        stream.reset_nonce(nonce)
        return stream.update(text)
