"""scrypt begun ahead gives what it gives anyway, and only to whoever asks just this."""

from __future__ import annotations

import hashlib

import pytest

from kuramori.crypto import scrypt
from kuramori.crypto.derivation import DerivationError, KdfParameters, derive_key
from kuramori.crypto.scrypt import ScryptInput
from kuramori.secret import Secret

SALT = bytes(range(64))
WANTED = ScryptInput(b"planter", SALT, 1024, 8, 2, 64)


def _expected(wanted: ScryptInput) -> bytes:
    return hashlib.scrypt(wanted.password, salt=wanted.salt, n=wanted.N, r=wanted.r, p=wanted.p, dklen=wanted.length)


@pytest.mark.parametrize("begun", [
    None, WANTED, WANTED._replace(password=b"another"), WANTED._replace(salt=SALT[::-1]), WANTED._replace(N=2048),
    WANTED._replace(p=1), WANTED._replace(N=3), WANTED._replace(N=1 << 40)])
def test_whatever_was_begun_the_answer_is_right(begun: ScryptInput | None) -> None:
    if begun is not None:
        scrypt.begin(begun)
    assert scrypt.compute(WANTED) == _expected(WANTED)
    assert scrypt.compute(WANTED) == _expected(WANTED)


def test_what_was_begun_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    scrypt.begin(WANTED)
    begun = scrypt._begun
    assert begun is not None
    assert begun.wait() == _expected(WANTED)
    begun._result = b"from the thread"
    assert scrypt.compute(WANTED) == b"from the thread"
    assert scrypt._begun is None


def test_nothing_is_begun_that_nobody_would_spend() -> None:
    for unreasonable in (WANTED._replace(N=1 << 30), WANTED._replace(p=1 << 20), WANTED._replace(r=0)):
        scrypt.begin(unreasonable)
        assert scrypt._begun is None


def test_the_password_is_not_shown() -> None:
    assert "planter" not in f"{WANTED} {WANTED!r}"


def test_a_key_is_derived_from_what_was_begun() -> None:
    scrypt.begin(WANTED)
    ahead = derive_key(Secret("planter"), SALT, KdfParameters(1024, 8, 2)).reveal()
    assert ahead == derive_key(Secret("planter"), SALT, KdfParameters(1024, 8, 2)).reveal()
    with pytest.raises(DerivationError):
        derive_key(Secret("planter"), SALT, KdfParameters(1 << 30, 8, 2))
