"""Whatever stands in a settings file: settings or a SettingsError whose places are real, never anything else."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.errors import SettingsError
from kuramori.settings.loading import parse_settings, read_document
from kuramori.settings.schema import SECTIONS
from samples.settings_files import DEFAULTS, EVERYTHING, FILE, SMALLEST

_KEYS = sorted({key for keys in SECTIONS.values() for key in keys})
_SCALARS = (st.none().map(lambda _: "") | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
            | st.dates() | st.times() | st.datetimes()
            | st.sampled_from(["02:00", "files", "sqlite", "usb", "{x}", "~", "~x", "\0", "6h", "* * * * *", "/a"]))
_NAMES = st.sampled_from(_KEYS) | st.text(max_size=8)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
                       max_leaves=12)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in a document, but the document's own."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*at, key))


def check(document: dict[str, Any]) -> None:
    """Read a document; whatever is reported must be there, or be a key that is missing in a table that is there."""
    error = refusal(lambda: read_document(document, FILE, DEFAULTS))
    there = {(), *places(document)}
    for problem in error.problems if error else ():
        assert problem.keys in there or problem.keys[:-1] in there, problem.place
        assert "\n" not in problem.text()
        assert len(problem.text()) < 2000


def refusal(read: Callable[[], object]) -> SettingsError | None:
    """Return the error that reading ends with, which has at least one problem; None where all is well."""
    try:
        read()
    except SettingsError as error:
        return error if error.problems else pytest.fail("an error without a problem")
    return None


@given(st.dictionaries(_NAMES, _VALUES, max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_document(document: dict[str, Any]) -> None:
    check(document)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_good_document_with_one_thing_changed(data: st.DataObject) -> None:
    """Broken in one place: everything around it is still read."""
    document = deepcopy(tomllib.loads(data.draw(st.sampled_from([EVERYTHING, SMALLEST]))))
    path = data.draw(st.sampled_from(sorted(places(document), key=str)))
    holder: Any = document
    for key in path[:-1]:
        holder = holder[key]
    action = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "replace":
        holder[path[-1]] = data.draw(_VALUES)
    elif action == "remove":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder[data.draw(_NAMES)] = data.draw(_VALUES)
    check(document)


@given(st.text(max_size=60) | st.sampled_from([EVERYTHING, SMALLEST]).flatmap(
    lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])))
@settings(max_examples=100, deadline=None)
def test_any_text(text: str) -> None:
    """Also one that ends in the middle."""
    refusal(lambda: parse_settings(text, FILE, DEFAULTS))


def test_the_file_with_everything_uses_every_key() -> None:
    """So that the tests that begin with it know them all."""
    used = {path[-1] for path in places(tomllib.loads(EVERYTHING))}
    assert set(_KEYS) - used == set()
    with pytest.raises(SettingsError):
        parse_settings(EVERYTHING.replace("keep_last", "keep_least"), FILE, DEFAULTS)
