"""The cache of what was read, and names as parts of URLs."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.mounting.bounded_cache import BoundedCache
from kuramori.mounting.web_names import name_of_url, url_name


def _never() -> tuple[str, int]:
    raise AssertionError("it was there")


def test_what_was_not_used_for_longest_goes() -> None:
    cache: BoundedCache[str, str] = BoundedCache(10)
    for key in "ab":
        cache.obtain(key, lambda: ("value", 5))
    cache.obtain("a", _never)
    cache.obtain("c", lambda: ("value", 5))
    assert cache.weight == 10
    cache.obtain("a", _never)
    with pytest.raises(AssertionError):
        cache.obtain("b", _never)


def test_a_value_that_is_too_large_is_kept_alone() -> None:
    cache: BoundedCache[str, str] = BoundedCache(10)
    cache.obtain("a", lambda: ("value", 5))
    assert cache.obtain("b", lambda: ("large", 50)) == "large"
    assert (len(cache), cache.weight) == (1, 50)
    cache.obtain("c", lambda: ("value", 5))
    assert (len(cache), cache.weight) == (1, 5)


def test_what_two_want_is_loaded_once_and_failures_are_not_kept() -> None:
    cache: BoundedCache[str, str] = BoundedCache(10)
    entered, go_on, results = threading.Event(), threading.Event(), []

    def load() -> tuple[str, int]:
        entered.set()
        assert go_on.wait(60)
        return "value", 1

    first = threading.Thread(target=lambda: results.append(cache.obtain("a", load)))
    first.start()
    assert entered.wait(60)
    assert cache.claim(["a", "b"]) == ["b"]
    second = threading.Thread(target=lambda: results.append(cache.obtain("a", _never)))
    second.start()
    go_on.set()
    first.join(60)
    second.join(60)
    assert results == ["value", "value"]
    cache.fail("b", KeyError("b"))
    assert cache.obtain("b", lambda: ("later", 1)) == "later"


def test_who_waits_gets_the_error() -> None:
    cache: BoundedCache[str, str] = BoundedCache(10)
    assert cache.claim(["a"]) == ["a"]
    seen: list[object] = []

    def fail() -> tuple[str, int]:
        raise KeyError("no")  # if the thread comes late

    def ask() -> None:
        try:
            seen.append(cache.obtain("a", fail))
        except KeyError as error:
            seen.append(error.args)

    thread = threading.Thread(target=ask)
    thread.start()
    cache.fail("a", KeyError("no"))
    thread.join(60)
    assert seen == [("no",)]
    assert len(cache) == 0


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_every_name_has_a_text_of_its_own(name: bytes) -> None:
    text = url_name(name)
    assert name_of_url(text) == name
    text.encode()


@given(st.text(max_size=12))
def test_a_text_means_one_name_or_none(text: str) -> None:
    try:
        name = name_of_url(text)
    except ValueError:
        return
    assert url_name(name) == text
