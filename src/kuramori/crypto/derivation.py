"""Keys from passwords: scrypt (RFC 7914; format section 1.3)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from kuramori.crypto.master_key import KEY_LENGTH, MasterKey
from kuramori.errors import N_
from kuramori.secret import Secret

SALT_LENGTH = 64

_MEMORY_LIMIT = 512 * 1024 * 1024
_WORK_LIMIT = 1 << 25
"""Cap on N·r·p: a hostile key file must not keep the processor busy for minutes. restic's own
parameters come to about 1.5 million."""


class KdfParameters(NamedTuple):
    """Cost of scrypt. Memory is 128·N·r bytes, work is proportional to N·r·p."""

    N: int = 16384
    r: int = 8
    p: int = 5
    """16 MiB and five passes: what OWASP's password storage page gives as equal to its first
    recommendation (N = 2^17, p = 1), at a memory that a small machine can spare."""


class DerivationError(Exception):
    """The parameters are malformed or beyond what we are ready to spend."""


def derive_key(password: Secret, salt: bytes, parameters: KdfParameters) -> MasterKey:
    """Return the key that a password opens.

    Raises:
        DerivationError: the salt is not 64 bytes, or the parameters are out of bounds.
    """
    n, r, p = parameters
    if len(salt) != SALT_LENGTH:
        raise DerivationError(N_("the salt is not 64 bytes long"))
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise DerivationError(N_("the scrypt parameters are malformed"))
    if 128 * n * r > _MEMORY_LIMIT or n * r * p > _WORK_LIMIT:
        raise DerivationError(N_("the scrypt parameters ask for more memory or time than is reasonable"))
    maximum = 128 * n * r + 128 * r * p + 1024 * 1024
    derived = hashlib.scrypt(
        password.reveal().encode("utf-8", "surrogateescape"),
        salt=salt, n=n, r=r, p=p, maxmem=maximum, dklen=KEY_LENGTH,
    )
    return MasterKey.from_bytes(derived)
