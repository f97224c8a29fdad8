"""Keys from passwords: scrypt (RFC 7914; format section 1.3)."""

from __future__ import annotations

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


def derive_key(password: Secret, salt: bytes, parameters: KdfParameters) -> MasterKey:
    """Return the key that a password opens.

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
    return MasterKey.from_bytes(scrypt.compute(wanted))
