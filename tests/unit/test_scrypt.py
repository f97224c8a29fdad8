"""scrypt begun ahead gives what it gives anyway, and only to whoever asks just this."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kuramori.crypto import derivation, scrypt
from kuramori.crypto.derivation import DerivationError, KdfParameters, derive_key
from kuramori.crypto.scrypt import ScryptInput
from kuramori.errors import WrongPasswordError
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend
from samples.repositories import PASSWORD, make_repository

SALT = bytes(range(64))
WANTED = ScryptInput(b"planter", SALT, 1024, 8, 2, 64)


def _with(**changes: object) -> ScryptInput:
    """Return what is wanted, but for some of it."""
    return ScryptInput(**{name: getattr(WANTED, name) for name in ScryptInput.__slots__} | changes)  # type: ignore[arg-type]


def _expected(wanted: ScryptInput) -> bytes:
    return hashlib.scrypt(wanted.password, salt=wanted.salt, n=wanted.N, r=wanted.r, p=wanted.p, dklen=wanted.length)


@pytest.mark.parametrize("begun", [
    None, WANTED, _with(password=b"another"), _with(salt=SALT[::-1]), _with(N=2048),
    _with(p=1), _with(N=3), _with(N=1 << 40)])
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
    for unreasonable in (_with(N=1 << 30), _with(p=1 << 20), _with(r=0)):
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


def test_without_libsodium_openssl_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed only where it is quicker."""
    given = scrypt.compute(WANTED)
    monkeypatch.setitem(sys.modules, "nacl", None)
    scrypt.begin(WANTED)
    assert scrypt.compute(WANTED) == given == _expected(WANTED)


@pytest.mark.parametrize("installed", [True, False])
def test_both_refuse_what_takes_more_memory_than_there_is(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "nacl", None)
    with pytest.raises((MemoryError, ValueError)):
        scrypt.compute(_with(N=1 << 45))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it is installed only there")
def test_a_failure_of_libsodium_is_one_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives no reason, and has no other."""
    real = scrypt._load()
    assert real is not None
    failing = SimpleNamespace(crypto_pwhash_scryptsalsa208sha256_ll=lambda *_arguments: -1)
    monkeypatch.setattr(scrypt, "_load", lambda: SimpleNamespace(ffi=real.ffi, lib=failing))
    with pytest.raises(MemoryError):
        scrypt.compute(WANTED)
    with pytest.raises(MemoryError):
        scrypt.begin(WANTED)
        scrypt.compute(WANTED)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it is installed only there")
@pytest.mark.parametrize("wrong", [
    {"PYNACL_HAS_CRYPTO_PWHASH_SCRYPTSALSA208SHA256": 0}, {"sodium_init": lambda: -1},
    {"crypto_pwhash_scryptsalsa208sha256_ll": None}, {"sodium_init": None}])
def test_a_libsodium_of_another_kind_is_not_used(wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later PyNaCl keeps it elsewhere, or has it without this function."""
    from nacl import _sodium

    names = ("PYNACL_HAS_CRYPTO_PWHASH_SCRYPTSALSA208SHA256", "sodium_init", "crypto_pwhash_scryptsalsa208sha256_ll")
    known = {name: getattr(_sodium.lib, name) for name in names} | wrong
    another = SimpleNamespace(**{name: value for name, value in known.items() if value is not None})
    assert scrypt._load() is _sodium
    monkeypatch.setattr(_sodium, "lib", another)
    assert scrypt._load() is None
    assert scrypt.compute(WANTED) == _expected(WANTED)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[ScryptInput]:
    """What is computed, while nothing is known from before."""
    asked: list[ScryptInput] = []
    compute = scrypt.compute

    def note(wanted: ScryptInput) -> bytes:
        asked.append(wanted)
        return compute(wanted)

    monkeypatch.setattr(scrypt, "compute", note)
    monkeypatch.setattr(derivation, "_kept", {})
    return asked


def test_a_key_is_derived_once_in_the_life_of_a_process(computed: list[ScryptInput]) -> None:
    parameters = KdfParameters(N=1024, r=8, p=1)
    first = derive_key(Secret("planter"), SALT, parameters)
    assert derive_key(Secret("planter"), SALT, parameters).reveal() == first.reveal()
    assert len(computed) == 1
    for password, salt, others in (("Planter", SALT, parameters), ("planter", SALT[::-1], parameters),
                                   ("planter", SALT, KdfParameters(N=2048, r=8, p=1)),
                                   ("planter", SALT, KdfParameters(N=1024, r=8, p=2))):
        assert derive_key(Secret(password), salt, others).reveal() != first.reveal()
    assert len(computed) == 5


def test_only_so_many_keys_are_kept_and_none_shows_its_password(computed: list[ScryptInput],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_MOST_KEPT", 2)
    parameters = KdfParameters(N=2, r=1, p=1)
    for password in ("first", "second", "first", "third", "first", "second"):
        derive_key(Secret(password), SALT, parameters)
    assert [each.password for each in computed] == [b"first", b"second", b"third", b"second"]
    assert len(derivation._kept) == 2
    assert not any(b"first" in question for question in derivation._kept)


def test_a_repository_that_is_opened_again_needs_no_derivation(computed: list[ScryptInput], tmp_path: Path) -> None:
    """As a daemon does for each of its jobs."""
    make_repository(tmp_path).close()
    for _ in range(3):
        open_repository(LocalBackend(tmp_path / "repository"), PASSWORD).close()
    assert len(computed) == 1
    with pytest.raises(WrongPasswordError):
        open_repository(LocalBackend(tmp_path / "repository"), Secret("wrong"))
    assert len(computed) == 2
