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
    from collections.abc import Callable

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
    derive = _load()
    memory = 128 * wanted.N * wanted.r + 128 * wanted.r * wanted.p + 1024 * 1024
    try:
        return derive(wanted.password, wanted.salt, wanted.N, wanted.r, wanted.p, memory, wanted.length)
    except RuntimeError:  # libsodium says no more than that it failed; parameters it refuses are a ValueError
        raise MemoryError from None


def _load() -> Callable[[bytes, bytes, int, int, int, int, int], bytes]:
    """Return what computes, imported when it is first wanted: half of the commands need no key."""
    try:
        from nacl.bindings import crypto_pwhash_scryptsalsa208sha256_ll as libsodium
    except ImportError:
        from hashlib import scrypt as openssl

        return lambda password, salt, n, r, p, memory, length: openssl(
            password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)
    return lambda password, salt, n, r, p, memory, length: libsodium(
        password, salt, n, r, p, dklen=length, maxmem=memory)
