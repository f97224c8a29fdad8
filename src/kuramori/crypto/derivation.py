"""Keys from passwords: scrypt (RFC 7914; format section 1.3)."""

from __future__ import annotations

import os
import threading
from hashlib import sha256
from typing import NamedTuple

from kuramori.crypto import scrypt
from kuramori.crypto.master_key import KEY_LENGTH, MasterKey
from kuramori.crypto.scrypt import ScryptInput
from kuramori.errors import N_
from kuramori.secret import Secret

SALT_LENGTH = 64


class KdfParameters(NamedTuple):
    """Cost of scrypt. Memory is 128·N·r bytes, work is proportional to N·r·p."""

    N: int = 16384
    r: int = 8
    p: int = 5
    """16 MiB and five passes: what OWASP's password storage page gives as equal to its first
    recommendation (N = 2^17, p = 1), at a memory that a small machine can spare."""


class DerivationError(Exception):
    """The parameters are malformed or beyond what we are ready to spend."""


_MOST_KEPT = 64
_kept: dict[bytes, bytes] = {}
"""Question -> key, the one that was wanted last at the end. A daemon opens its repositories many times a day, and the
password that opens them lies beside its settings: to forget a key would gain nothing."""
_guard = threading.Lock()
_mark = os.urandom(32)
"""Makes questions that are no hash of the password for anybody outside of this process."""


def derive_key(password: Secret, salt: bytes, parameters: KdfParameters) -> MasterKey:
    """Return the key that a password opens. It is computed once in the life of a process.

    Raises:
        DerivationError: the salt is not 64 bytes, or the parameters are out of bounds.
    """
    if len(salt) != SALT_LENGTH:
        raise DerivationError(N_("the salt is not 64 bytes long"))
    wanted = ScryptInput(password.reveal().encode("utf-8", "surrogateescape"), salt, *parameters, KEY_LENGTH)
    if not wanted.is_well_formed:
        raise DerivationError(N_("the scrypt parameters are malformed"))
    if not wanted.is_reasonable:
        raise DerivationError(N_("the scrypt parameters ask for more memory or time than is reasonable"))
    question = sha256(_mark + salt + repr(tuple(parameters)).encode() + b"\0" + wanted.password).digest()
    with _guard:
        derived = _kept.pop(question, None)
    if derived is None:
        derived = scrypt.compute(wanted)  # two threads may do that at once
    with _guard:
        _kept[question] = derived
        while len(_kept) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
    return MasterKey.from_bytes(derived)
