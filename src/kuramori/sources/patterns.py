"""restic's language of path patterns, used by excludes, includes and ``find``.

A pattern is a path whose components may contain ``*``, ``?``, ``[...]`` and backslash escapes as
Go's ``filepath.Match`` has them. One that begins with a slash matches from the root; any other
matches a run of components anywhere. ``**`` stands for any number of components, none included.
What matches a folder matches all that lies in it. A leading ``!`` takes back what earlier
patterns of the list matched.

Every pattern becomes one regular expression over the whole path, so that matching costs one
search, however long the list is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from kuramori.errors import N_, Phrase, UsageError
from kuramori.model.names import display_text

_END = r"(?:/|\Z)"  # never a dollar sign, which also matches before a newline that ends a name
_ANY_COMPONENTS = "(?:/[^/]+)*"


class _Pattern(NamedTuple):
    matches: str
    """Expression that is searched in a path."""
    may_match_child: str
    """Expression for folders in which something may match; empty if that is everywhere."""
    negated: bool


class PatternList:
    """Several patterns that apply in order. May be used by several threads."""

    def __init__(self, patterns: Sequence[bytes], case_insensitive: bool = False) -> None:
        """Compile the patterns; empty ones are left out.

        Raises:
            UsageError: one is malformed; it is named.
        """
        self._fold = case_insensitive
        compiled = [_compile(pattern, case_insensitive) for pattern in patterns if pattern]
        self._negated = any(pattern.negated for pattern in compiled)
        self._steps: list[tuple[re.Pattern[str], re.Pattern[str] | None, bool]] = []
        if compiled and not self._negated:
            everywhere = any(not pattern.may_match_child for pattern in compiled)
            children = None if everywhere else _join([pattern.may_match_child for pattern in compiled])
            self._steps.append((_join([pattern.matches for pattern in compiled]), children, False))
            return
        for pattern in compiled:
            children = re.compile(pattern.may_match_child, re.DOTALL) if pattern.may_match_child else None
            self._steps.append((re.compile(pattern.matches, re.DOTALL), children, pattern.negated))

    def __bool__(self) -> bool:
        """False if the list is empty, and so matches nothing."""
        return bool(self._steps)

    def matches(self, path: bytes) -> bool:
        """Tell whether a path (cleaned, without a trailing slash) or a folder above it matches."""
        text = self._text(path)
        matched = False
        for pattern, _, negated in self._steps:
            if negated:
                matched = matched and not pattern.search(text)
            else:
                matched = matched or pattern.search(text) is not None
        return matched

    def may_match_child(self, path: bytes) -> bool:
        """Tell whether something inside a folder may match. True may be wrong, False is not."""
        text = self._text(path)
        possible = False
        for pattern, children, negated in self._steps:
            if negated:
                possible = possible and not pattern.search(text)
            else:
                possible = possible or children is None or children.search(text) is not None
        return possible

    def _text(self, path: bytes) -> str:
        text = display_text(path)
        return text.lower() if self._fold else text


def _join(expressions: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(expressions), re.DOTALL)


def _compile(pattern: bytes, case_insensitive: bool) -> _Pattern:
    text = display_text(pattern)
    if case_insensitive:
        text = text.lower()
    negated = text.startswith("!")
    cleaned = posixpath.normpath(text[1:] if negated else text)
    if cleaned.startswith("//"):
        cleaned = cleaned[1:]
    absolute = cleaned.startswith("/")
    parts = [part for part in cleaned.split("/") if part]
    try:
        components = [None if part == "**" else _component(part) for part in parts]
    except ValueError as error:
        raise UsageError(
            detail=Phrase(N_("the pattern {text!r} is malformed: {error}"), text=text, error=error)) from None
    return _Pattern(_whole(components, absolute), _partial(components) if absolute else "", negated)


def _whole(components: list[str | None], absolute: bool) -> str:
    if not components:
        return "^/" if absolute else "^"
    body = "".join(_ANY_COMPONENTS if part is None else f"/{part}" for part in components)
    if absolute:
        return f"^{body}{_END}"
    if components[0] is None:
        return f"(?:^|(?=/)){body}{_END}" if len(components) > 1 else "^"
    return f"(?:^(?!/)|/){body[1:]}{_END}"  # before the first slash lies nothing that a star could match


def _partial(components: list[str | None]) -> str:
    """Match the folders on the way to, at and below what an absolute pattern matches."""
    expression = _END
    for part in reversed(components):
        if part is None:
            expression = ""  # from a double star on, anything may follow
            continue
        expression = rf"(?:\Z|/{part}{expression})"
    return rf"^(?:/\Z|{expression})" if expression else "^/"


def _component(part: str) -> str:
    """Return the regular expression of one component (Go's ``filepath.Match``)."""
    pieces: list[str] = []
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            if not pieces or pieces[-1] != "[^/]*":
                pieces.append("[^/]*")
        elif character == "?":
            pieces.append("[^/]")
        elif character == "[":
            expression, position = _character_class(part, position)
            pieces.append(expression)
        elif character == "\\":
            literal, position = _escaped(part, position)
            pieces.append(re.escape(literal))
        else:
            pieces.append(re.escape(character))
    return "".join(pieces)


def _escaped(part: str, position: int) -> tuple[str, int]:
    if position >= len(part):
        raise ValueError(N_("a backslash at its end"))
    return part[position], position + 1


def _character_class(part: str, position: int) -> tuple[str, int]:
    negated = part[position : position + 1] == "^"
    position += negated
    ranges: list[str] = []
    while part[position : position + 1] != "]" or not ranges:
        low, position = _class_character(part, position)
        high = low
        if part[position : position + 1] == "-":
            high, position = _class_character(part, position + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")  # an empty range is legal in Go and matches nothing
        if position >= len(part):
            raise ValueError(N_("a bracket that is not closed"))
    inside = "".join(ranges)
    if not inside:
        return ("[^/]" if negated else "(?!)"), position + 1
    return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), position + 1


def _class_character(part: str, position: int) -> tuple[str, int]:
    character = part[position : position + 1]
    if not character or character in "-]":
        raise ValueError(N_("a bad character class"))
    if character == "\\":
        return _escaped(part, position + 1)
    return character, position + 1
