"""restic's patterns against a slow and obvious matcher (restic itself: tests/compat/test_compat_patterns.py)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kuramori.errors import UsageError
from kuramori.sources.patterns import PatternList

# --- the slow and obvious matcher ----------------------------------------------------------------


def component_matches(pattern: str, name: str) -> bool:
    """One component: ``*``, ``?``, ``[ab-c]``, ``[^a]``, a backslash before a character."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(component_matches(pattern[1:], name[skip:]) for skip in range(len(name) + 1))
    if not name:
        return False
    if pattern[0] == "?":
        return component_matches(pattern[1:], name[1:])
    if pattern[0] == "[":
        end = pattern.index("]")
        negated, members = pattern[1] == "^", pattern[1:end].removeprefix("^")
        inside = (members[0] <= name[0] <= members[2]) if members[1:2] == "-" else name[0] in members
        return inside != negated and component_matches(pattern[end + 1:], name[1:])
    if pattern[0] == "\\":
        pattern = pattern[1:]
    return pattern[0] == name[0] and component_matches(pattern[1:], name[1:])


def parts_match(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """A run of components that begins with the first name; what is left of the names lies below."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(parts_match(pattern[1:], names[skip:]) for skip in range(len(names) + 1))
    return bool(names) and component_matches(pattern[0], names[0]) and parts_match(pattern[1:], names[1:])


def path_matches(pattern: str, path: str) -> bool:
    """A whole pattern, from the root or anywhere."""
    parts, names = [part for part in pattern.split("/") if part], path.split("/")[1:]
    if pattern.startswith("/"):
        return parts_match(parts, names)
    return any(parts_match(parts, names[skip:]) for skip in range(len(names)))


def list_matches(patterns: Sequence[str], path: str) -> bool:
    """All patterns in their order; one with ``!`` takes back."""
    matched = False
    for pattern in patterns:
        if pattern.startswith("!"):
            matched = matched and not path_matches(pattern[1:], path)
        else:
            matched = matched or path_matches(pattern, path)
    return matched


COMPONENTS = st.one_of(
    st.sampled_from(["a", "b", "ab", "*", "**", "**", "?", "a*", "*b", "*a*", "a?", "[ab]", "[^a]", "[a-b]c", "\\a",
                     "c[^b-c]", "A", "é", "?*", "\\*"]),
    st.lists(st.sampled_from(["a", "b", "c", "*", "?", "[bc]"]), min_size=1, max_size=4).map("".join)
    .filter(lambda part: part != "**"),
)
PATTERNS = st.builds(lambda start, parts: start + "/".join(parts), st.sampled_from(["", "/"]),
                     st.lists(COMPONENTS, min_size=1, max_size=3))
NAMES = st.one_of(st.sampled_from(["a", "b", "c", "ab", "ac", "bc", "cb", "cab", "A", "é", "*", "ca\n", "."]),
                  st.text(alphabet="abc", min_size=1, max_size=4))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


@settings(max_examples=600)
@given(PATTERNS, PATHS)
@example("a/**", "/a")
@example("**/a", "/a")
@example("/**/a/**", "/b/a")
@example("a/**/b", "/a/b")
@example("*/a", "/a")
@example("*/a", "/b/a")
@example("*/*", "/a")
@example("/*/a", "/a")
@example("ca", "/ca\n")
@example("ca", "/ca\n/b")
def test_a_pattern_matches_what_the_obvious_matcher_matches(pattern: str, path: str) -> None:
    assert PatternList([pattern.encode()]).matches(path.encode()) == path_matches(pattern, path)


@settings(max_examples=300)
@given(st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), PATTERNS), min_size=1, max_size=5), PATHS)
def test_a_list_of_patterns_is_applied_in_order(patterns: list[str], path: str) -> None:
    matched = PatternList([pattern.encode() for pattern in patterns]).matches(path.encode())
    assert matched == list_matches(patterns, path)


@settings(max_examples=300)
@given(PATTERNS, PATHS)
def test_case_is_ignored_where_it_is_said(pattern: str, path: str) -> None:
    folded = PatternList([pattern.encode()], case_insensitive=True)
    assert folded.matches(path.upper().encode()) == path_matches(pattern.lower(), path.lower())


@settings(max_examples=300)
@given(st.lists(PATTERNS, min_size=1, max_size=3), PATHS)
def test_nothing_that_matches_lies_where_nothing_may_match(patterns: list[str], path: str) -> None:
    """Without this a restore with includes would never reach it."""
    compiled = PatternList([pattern.encode() for pattern in patterns])
    if compiled.matches(path.encode()):
        while path.rpartition("/")[0]:
            path = path.rpartition("/")[0]
            assert compiled.may_match_child(path.encode()), path


@given(st.one_of(st.binary(max_size=20), st.lists(st.sampled_from(b"[]^-\\*?/!a."), max_size=12).map(bytes)), PATHS)
def test_any_bytes_are_a_pattern_or_a_usage_error(pattern: bytes, path: str) -> None:
    try:
        compiled = PatternList([pattern])
    except UsageError:
        return
    assert compiled.matches(path.encode()) in (True, False)
    assert compiled.may_match_child(path.encode()) in (True, False)


@pytest.mark.parametrize("pattern", ["a[", "[]a]", "[a", "a\\", "[a-", "[^]", "x/[-a]", "[a-]", "[\\"])
def test_a_malformed_pattern_is_named(pattern: str) -> None:
    with pytest.raises(UsageError) as failure:
        PatternList([b"fine", pattern.encode()])
    assert repr(pattern) in str(failure.value)
