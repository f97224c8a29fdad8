"""AES-256-CTR with Poly1305-AES, as format section 1.2 describes it.

A sealed object is ``nonce || ciphertext || tag``: 32 bytes longer than what it holds. The MAC is
over the ciphertext only, and a sealed object is not bound to its place: whoever opens one must
check the hash of what comes out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from hmac import compare_digest
from itertools import accumulate

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from kuramori.crypto.short_tags import MakeTags, short_tags, tags_by_openssl
from kuramori.errors import N_

NONCE_LENGTH = 16
TAG_LENGTH = 16
SEAL_OVERHEAD = NONCE_LENGTH + TAG_LENGTH
KEY_LENGTH = 64
"""Bytes of a whole key: 32 to encrypt, 16 + 16 for the MAC."""

_ZERO_NONCE = bytes(NONCE_LENGTH)
_NONCES_AT_ONCE = 64
_MANY_TAGS = 32
_LARGE_TEXT = 64 * 1024
_REUSED_ROOM = 4 * 1024 * 1024
_BLOCK = 16


_fork_generation = 0


def _count_fork() -> None:
    global _fork_generation
    _fork_generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class OpenError(Exception):
    """The sealed bytes are too short or their MAC is wrong."""


class _Contexts(threading.local):
    """What a thread needs to seal and open: a key schedule is expensive for a small blob."""

    def __init__(self, encrypt: bytes, mac_k: bytes) -> None:
        self.stream = Cipher(AES(encrypt), CTR(_ZERO_NONCE)).encryptor()
        self.pad = Cipher(AES(mac_k), ECB()).encryptor()
        self._nonces: list[tuple[bytes, bytes]] = []
        self._generation = _fork_generation
        self._short_tags: MakeTags | None = None
        self._room = bytearray()

    def take_nonce(self) -> tuple[bytes, bytes]:
        """Return a fresh nonce and its encryption under the MAC key. Each is given out once: one
        system call and one AES call make many, which are kept for this thread only. A forked child
        inherits them and must not use what its parent will use: it draws new ones."""
        if self._generation != _fork_generation:
            self._nonces.clear()
            self._generation = _fork_generation
        while not self._nonces:
            drawn = os.urandom(NONCE_LENGTH * _NONCES_AT_ONCE)
            pads = self.pad.update(drawn)
            for start in range(0, len(drawn), NONCE_LENGTH):
                nonce = drawn[start : start + NONCE_LENGTH]
                if nonce != _ZERO_NONCE:
                    self._nonces.append((nonce, pads[start : start + NONCE_LENGTH]))
        return self._nonces.pop()

    def tags(self, count: int) -> MakeTags:
        """Return what makes tags of small texts.

        Args:
            count: how many there are: looking for the fastest way takes some milliseconds once.
        """
        if self._short_tags is None:
            if count < _MANY_TAGS:
                return tags_by_openssl
            self._short_tags = short_tags()
        return self._short_tags

    def room_for(self, length: int) -> bytearray:
        """Return memory for at least ``length`` bytes, which is used again: the caller's until the next call."""
        if len(self._room) < length:
            self._room = bytearray(length)  # a new one: somebody may still look at the old
        return self._room

    def draw_nonces(self, count: int) -> tuple[list[bytes], list[bytes]]:
        """Return fresh nonces that nobody else has, and their encryptions under the MAC key; nothing is kept."""
        nonces: list[bytes] = []
        while _ZERO_NONCE in nonces or not nonces:
            drawn = os.urandom(NONCE_LENGTH * count)
            nonces = _blocks(drawn)
        return nonces, _blocks(self.pad.update(drawn))


def _blocks(data: bytes) -> list[bytes]:
    return [data[at : at + NONCE_LENGTH] for at in range(0, len(data), NONCE_LENGTH)]


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
            raise ValueError(N_("a part of the key has a wrong length"))
        if not any(encrypt) or not any(mac_k) or not any(mac_r):
            raise ValueError(N_("a part of the key is all zero"))
        self._encrypt = encrypt
        self._k = mac_k
        self._r = mac_r
        self._local = _Contexts(encrypt, mac_k)

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

    def seal(self, plain: bytes | bytearray | memoryview) -> bytearray:
        """Return ``plain`` sealed with a fresh random nonce."""
        local = self._local
        nonce, pad = local.take_nonce()
        length = len(plain)
        sealed = bytearray(length + SEAL_OVERHEAD)
        view = memoryview(sealed)
        sealed[:NONCE_LENGTH] = nonce
        if length:
            local.stream.reset_nonce(nonce)
            # The library wants room for one block less a byte beyond the text; the tag's place is it.
            local.stream.update_into(plain, view[NONCE_LENGTH:])
        tag = Poly1305.generate_tag(self._r + pad, view[NONCE_LENGTH : NONCE_LENGTH + length])
        sealed[NONCE_LENGTH + length :] = tag
        return sealed

    def seal_all(self, plains: Sequence[bytes]) -> list[bytes]:
        """Return each of many small texts sealed with a fresh random nonce, as :meth:`seal` does one."""
        if not plains:
            return []
        local, mac_r = self._local, self._r
        reset, encrypt = local.stream.reset_nonce, local.stream.update
        nonces, pads = local.draw_nonces(len(plains))
        texts: list[bytes] = []
        for plain, nonce in zip(plains, nonces, strict=True):
            reset(nonce)
            texts.append(encrypt(plain))
        tags = local.tags(len(plains))([mac_r + pad for pad in pads], texts)
        return [nonce + text + tag for nonce, text, tag in zip(nonces, texts, _blocks(tags), strict=True)]

    def open(self, sealed: bytes | bytearray | memoryview) -> bytes:
        """Return what was sealed.

        Raises:
            OpenError: it is too short, or the MAC is wrong.
        """
        text = self._authentic_text(sealed)  # sets the stream to its nonce
        return self._local.stream.update(text)

    def open_briefly(self, sealed: bytes | bytearray | memoryview) -> bytes | memoryview:
        """Return what was sealed, where it stays until this thread calls this again: for what is hashed, unpacked or
        written at once. Taking and clearing new memory costs as much as a third of deciphering.

        Raises:
            OpenError: it is too short, or the MAC is wrong.
        """
        text = self._authentic_text(sealed)
        local, length = self._local, len(text)
        if not _LARGE_TEXT <= length <= _REUSED_ROOM:
            return local.stream.update(text)
        room = local.room_for(length + _BLOCK - 1)  # the library wants so much more
        local.stream.update_into(text, room)
        return memoryview(room)[:length].toreadonly()

    def _authentic_text(self, sealed: bytes | bytearray | memoryview) -> memoryview:
        """Return the ciphertext of a sealed object whose MAC is right; this thread's stream is at its beginning."""
        if len(sealed) < SEAL_OVERHEAD:
            raise OpenError(N_("it is too short to be sealed data"))
        local = self._local
        view = memoryview(sealed)
        nonce = bytes(view[:NONCE_LENGTH])
        text = view[NONCE_LENGTH:-TAG_LENGTH]
        if nonce == _ZERO_NONCE:
            raise OpenError(N_("the nonce is zero"))
        try:
            Poly1305.verify_tag(self._r + local.pad.update(nonce), text, bytes(view[-TAG_LENGTH:]))
        except InvalidSignature:
            raise OpenError(N_("the MAC does not match")) from None
        local.stream.reset_nonce(nonce)
        return text

    def open_all(self, sealed: bytes, lengths: Sequence[int]) -> list[bytes]:
        """Return what was sealed into objects that lie one behind the other. For small ones this takes two thirds of
        the time of :meth:`open` for each.

        Args:
            sealed: the objects, from the first byte to the last.
            lengths: of each object, in order.

        Raises:
            OpenError: the lengths do not add up, one is too short, or a MAC is wrong.
        """
        if not lengths:
            return []
        ends = list(accumulate(lengths))
        if min(lengths) < SEAL_OVERHEAD or ends[-1] != len(sealed):
            raise OpenError(N_("it is too short to be sealed data"))
        local, mac_r = self._local, self._r
        starts = [0, *ends[:-1]]
        nonces = [sealed[start : start + NONCE_LENGTH] for start in starts]
        if _ZERO_NONCE in nonces:
            raise OpenError(N_("the nonce is zero"))
        texts = [sealed[start + NONCE_LENGTH : end - TAG_LENGTH] for start, end in zip(starts, ends, strict=True)]
        tags = b"".join([sealed[end - TAG_LENGTH : end] for end in ends])
        pads = _blocks(local.pad.update(b"".join(nonces)))
        if not compare_digest(local.tags(len(lengths))([mac_r + pad for pad in pads], texts), tags):
            raise OpenError(N_("the MAC does not match"))
        reset, decrypt = local.stream.reset_nonce, local.stream.update
        opened: list[bytes] = []
        for nonce, text in zip(nonces, texts, strict=True):
            reset(nonce)
            opened.append(decrypt(text))
        return opened

    def authenticator(self, nonce: bytes) -> Poly1305:
        """Return what makes or checks the tag of a long text that stays as it is, piece by piece.

        Args:
            nonce: 16 random bytes; fresh ones to make a tag.
        """
        return Poly1305(self._r + self._local.pad.update(nonce))
