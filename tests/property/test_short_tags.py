"""Tags of short texts are the library's, whoever makes them."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
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
    assert short_tags.short_tags() is not short_tags.tags_by_openssl


@given(st.lists(st.tuples(KEY, TEXT), max_size=20))
def test_tags_are_what_their_definition_says(pairs: list[tuple[bytes, bytes]]) -> None:
    keys, texts = [key for key, _ in pairs], [text for _, text in pairs]
    tags = short_tags.short_tags()(keys, texts)
    assert tags == b"".join(map(poly1305, keys, texts)) == short_tags.tags_by_openssl(keys, texts)


@pytest.mark.parametrize("lengths", [(2047, 2048, 2049), (2048,), (2049,), (2049, 5000), (1, 100_000, 2), (0,)])
def test_long_texts_among_short_ones_have_their_tags(lengths: tuple[int, ...]) -> None:
    texts = [bytes([number + 1]) * length for number, length in enumerate(lengths)]
    keys = [bytes(range(number, number + 32)) for number in range(len(lengths))]
    assert short_tags.short_tags()(keys, texts) == b"".join(map(poly1305, keys, texts))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_key_of_another_length_is_refused(length: int, count: int) -> None:
    """The library in C would read 32 bytes whatever is there."""
    keys = [bytes(range(32))] * (count - 1) + [bytes(length)]
    with pytest.raises(ValueError, match="32 bytes"):
        short_tags.short_tags()(keys, [b"text"] * count)


@pytest.mark.parametrize(("keys", "texts"), [(1, 2), (2, 1), (0, 1), (40, 39)])
def test_a_text_without_a_key_is_refused(keys: int, texts: int) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        short_tags.short_tags()([bytes(range(32))] * keys, [b"text"] * texts)


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
    assert short_tags.short_tags() is short_tags.tags_by_openssl


@pytest.mark.usefixtures("anew")
def test_without_the_library_seals_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    key, plains = MasterKey.random(), [bytes([number]) * number for number in range(100)]
    lengths = [len(plain) + SEAL_OVERHEAD for plain in plains]
    sealed = b"".join(key.seal_all(plains))
    monkeypatch.setattr(short_tags, "find_spec", lambda _name: None)
    short_tags._libsodium.cache_clear()
    another = MasterKey(*key.reveal())
    assert short_tags.short_tags() is short_tags.tags_by_openssl
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
