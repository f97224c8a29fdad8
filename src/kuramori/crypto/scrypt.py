"""scrypt (RFC 7914), which may be begun before anybody asks for its result.

It takes as long as all that a short command does beside it, most of which is importing modules, and it does not need
the interpreter. So this module imports next to nothing.

It is computed by libsodium, whose code for x86-64 takes two thirds of the time of OpenSSL's and which is installed only
there; elsewhere, and where it is missing, by OpenSSL. The results are the same.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False  # without the module, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

_MEMORY_LIMIT = 512 * 1024 * 1024
_WORK_LIMIT = 1 << 25
"""Cap on N·r·p: a hostile key file must not keep the processor busy for minutes. restic's own
parameters come to about 1.5 million."""


class ScryptInput:
    """What the result depends on. Holds a password: never shown."""

    __slots__ = ("N", "length", "p", "password", "r", "salt")

    def __init__(self, password: bytes, salt: bytes, N: int, r: int, p: int, length: int) -> None:
        """Ask for ``length`` bytes; the other names are those of RFC 7914."""
        self.password = password
        self.salt = salt
        self.N = N
        self.r = r
        self.p = p
        self.length = length

    def __eq__(self, other: object) -> bool:
        """Tell whether the results are the same."""
        return isinstance(other, ScryptInput) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # a password has no business among keys

    def __repr__(self) -> str:
        """Hide the password."""
        return f"ScryptInput(N={self.N}, r={self.r}, p={self.p})"

    @property
    def is_well_formed(self) -> bool:
        """Whether these are parameters of scrypt at all."""
        return self.N >= 2 and not self.N & (self.N - 1) and self.r >= 1 and self.p >= 1

    @property
    def is_reasonable(self) -> bool:
        """Whether we are ready to spend so much memory and time."""
        return 128 * self.N * self.r <= _MEMORY_LIMIT and self.N * self.r * self.p <= _WORK_LIMIT


class _Begun:
    """One computation in a thread."""

    def __init__(self, wanted: ScryptInput) -> None:
        self.wanted = wanted
        self._result: bytes | None = None
        self._thread = threading.Thread(target=self._compute, name="kuramori-scrypt", daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        try:
            self._result = _compute(self.wanted)
        except (MemoryError, ValueError):
            self._result = None  # whoever asks computes it himself, and meets the error

    def wait(self) -> bytes | None:
        self._thread.join()
        return self._result


_begun: _Begun | None = None


def begin(wanted: ScryptInput) -> None:
    """Begin in a thread, in the hope that just this will be asked for. One at a time: the last one counts."""
    global _begun
    if wanted.is_well_formed and wanted.is_reasonable:
        _load()  # a thread would wait for the interpreter at every step of that
        _begun = _Begun(wanted)


def compute(wanted: ScryptInput) -> bytes:
    """Return the result; what was begun is waited for if it is the same, and forgotten in any case.

    Raises:
        MemoryError, ValueError: the system cannot do it.
    """
    global _begun
    begun, _begun = _begun, None
    found = begun.wait() if begun is not None and begun.wanted == wanted else None
    return _compute(wanted) if found is None else found


def _compute(wanted: ScryptInput) -> bytes:
    sodium = _load()
    return _by_openssl(wanted) if sodium is None else _by_libsodium(sodium, wanted)


def _by_libsodium(sodium: Any, wanted: ScryptInput) -> bytes:
    made = sodium.ffi.new("uint8_t[]", wanted.length)
    failed = sodium.lib.crypto_pwhash_scryptsalsa208sha256_ll(
        wanted.password, len(wanted.password), wanted.salt, len(wanted.salt), wanted.N, wanted.r, wanted.p,
        made, wanted.length)
    if failed:  # it says no more than that
        raise MemoryError
    return bytes(sodium.ffi.buffer(made))


def _by_openssl(wanted: ScryptInput) -> bytes:
    from hashlib import scrypt

    memory = 128 * wanted.N * wanted.r + 128 * wanted.r * wanted.p + 1024 * 1024
    return scrypt(wanted.password, salt=wanted.salt, n=wanted.N, r=wanted.r, p=wanted.p, maxmem=memory,
                  dklen=wanted.length)


def _load() -> Any:
    """Return the module through which PyNaCl calls libsodium, or None where it is not there or is another one by now.

    Its public face, ``nacl.bindings``, takes ten times as long to import, and everything waits for that.
    """
    try:
        from nacl import _sodium  # type: ignore[attr-defined]  # it is compiled

        usable = (_sodium.lib.PYNACL_HAS_CRYPTO_PWHASH_SCRYPTSALSA208SHA256
                  and hasattr(_sodium.lib, "crypto_pwhash_scryptsalsa208sha256_ll")
                  and _sodium.lib.sodium_init() >= 0)  # which finds out what the processor can do; may be called twice
    except (ImportError, AttributeError):
        return None
    return _sodium if usable else None
