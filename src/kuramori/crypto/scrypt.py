"""scrypt (RFC 7914), which may be begun before anybody asks for its result.

It takes as long as all that a short command does beside it, most of which is importing modules, and it does not need
the interpreter. So this module imports next to nothing.
"""

from __future__ import annotations

import hashlib
import threading
from typing import NamedTuple

_MEMORY_LIMIT = 512 * 1024 * 1024
_WORK_LIMIT = 1 << 25
"""Cap on N·r·p: a hostile key file must not keep the processor busy for minutes. restic's own
parameters come to about 1.5 million."""


class ScryptInput(NamedTuple):
    """What the result depends on. Holds a password: never shown."""

    password: bytes
    salt: bytes
    N: int
    r: int
    p: int
    length: int
    """Bytes of the result."""

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
    memory = 128 * wanted.N * wanted.r + 128 * wanted.r * wanted.p + 1024 * 1024
    return hashlib.scrypt(wanted.password, salt=wanted.salt, n=wanted.N, r=wanted.r, p=wanted.p, maxmem=memory,
                          dklen=wanted.length)
