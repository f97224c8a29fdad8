"""Tags of short texts are the library's, whoever makes them."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given
from hypothesis import strategies as st

from kuramori.crypto import short_tags
from kuramori.crypto.master_key import SEAL_OVERHEAD, MasterKey, OpenError
from property.test_crypto_properties import poly1305

TEXT = st.one_of(st.binary(max_size=200), st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=9),
                                                    st.integers(200, 300)))
KEY = st.binary(min_size=32, max_size=32)


@pytest.fixture
def anew() -> Iterator[None]:
    """Forget the library that was found, before and after."""
    short_tags._libsodium.cache_clear()
    yield
    short_tags._libsodium.cache_clear()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it is installed only there")
def test_libsodium_is_found_and_used() -> None:
    assert short_tags._libsodium() is not None
    assert short_tags.short_tags() != (Poly1305.generate_tag, Poly1305.verify_tag)


@given(KEY, TEXT)
def test_a_tag_is_what_its_definition_says(key: bytes, text: bytes) -> None:
    make, verify = short_tags.short_tags()
    tag = make(key, text)
    assert tag == poly1305(key, text) == Poly1305.generate_tag(key, text)
    verify(key, text, tag)


@given(KEY, TEXT, st.data())
def test_no_other_tag_is_taken(key: bytes, text: bytes, data: st.DataObject) -> None:
    make, verify = short_tags.short_tags()
    tag = make(key, text)
    changed = bytearray(tag)
    changed[data.draw(st.integers(0, 15))] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (bytes(changed), tag[:-1], tag + b"\0", b"", bytes(16)):
        if wrong != tag:
            with pytest.raises(InvalidSignature):
                verify(key, text, wrong)
    longer = text + b"\0"
    if poly1305(key, longer) != tag:  # as it is where the key is zero, which no repository's is
        with pytest.raises(InvalidSignature):
            verify(key, longer, tag)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    """The library in C would read 32 bytes whatever is there."""
    make, verify = short_tags.short_tags()
    with pytest.raises(ValueError, match="32 bytes"):
        make(bytes(length), b"text")
    with pytest.raises(ValueError, match="32 bytes"):
        verify(bytes(length), b"text", bytes(16))


class _Wrong:
    """A library that says all is well and does nothing."""

    def __init__(self, _path: str) -> None:
        """It is anywhere."""

    def __getattr__(self, name: str) -> Any:
        def answer(*_arguments: object) -> int:
            return 0

        return answer


class _Failing(_Wrong):
    """... or that it cannot begin."""

    def sodium_init(self) -> int:
        return -1


def _missing(_path: str) -> object:
    raise OSError("no such library")


@pytest.mark.parametrize("library", [_Wrong, _Failing, _missing, lambda _path: object()],
                         ids=["wrong", "failing", "missing", "another"])
@pytest.mark.usefixtures("anew")
def test_a_library_that_does_not_do_is_not_used(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "PyDLL", library)
    assert short_tags.short_tags() == (Poly1305.generate_tag, Poly1305.verify_tag)


@pytest.mark.usefixtures("anew")
def test_without_the_library_seals_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    key, plains = MasterKey.random(), [bytes([number]) * number for number in range(100)]
    lengths = [len(plain) + SEAL_OVERHEAD for plain in plains]
    sealed = b"".join(key.seal_all(plains))
    monkeypatch.setattr(short_tags, "find_spec", lambda _name: None)
    short_tags._libsodium.cache_clear()
    another = MasterKey(*key.reveal())
    assert short_tags.short_tags()[0] is Poly1305.generate_tag
    assert another.open_all(sealed, lengths) == plains
    assert key.open_all(b"".join(another.seal_all(plains)), lengths) == plains


def test_threads_do_not_take_each_others_tags() -> None:
    key = MasterKey.random()

    def seal_and_open(number: int) -> bool:
        plains = [b"%d of %d" % (each, number) for each in range(64)]
        sealed = key.seal_all(plains)
        return key.open_all(b"".join(sealed), list(map(len, sealed))) == plains

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(seal_and_open, range(400)))


def test_a_changed_bit_among_many_is_seen() -> None:
    key = MasterKey.random()
    sealed = key.seal_all([b"all is well"] * 50)
    lengths = list(map(len, sealed))
    joined = bytearray(b"".join(sealed))
    for at in (0, 20, 42, len(joined) // 2, len(joined) - 1):
        joined[at] ^= 4
        with pytest.raises(OpenError):
            key.open_all(bytes(joined), lengths)
        joined[at] ^= 4
    assert key.open_all(bytes(joined), lengths) == [b"all is well"] * 50
