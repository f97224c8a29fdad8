"""Reading tables of a settings file, and collecting everything that is wrong with them.

A value that is missing and one that is wrong both become the default, so reading goes on to the
end and the user sees every problem at once. What a value may be is said by an :class:`Expected`;
:mod:`kuramori.settings.values` has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Generic, TypeVar

from kuramori.errors import N_, Phrase, SettingsProblem
from kuramori.spelling import nearest

T = TypeVar("T")
D = TypeVar("D")
Keys = tuple[str | int, ...]

_LONGEST_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class Refused(Exception):
    """A conversion does not take a value.

    Args:
        message: what is wrong, where "found ..." would not say it.
        allowed: what may stand there, where it is more than the expectation says.
        nearest: a known name that was probably meant.
    """

    def __init__(self, message: Phrase | None = None, allowed: Phrase | None = None, nearest: str = "") -> None:
        self.message = message
        self.allowed = allowed
        self.nearest = nearest
        super().__init__()


@dataclass(frozen=True)
class Expected(Generic[T]):
    """What a value may be."""

    allowed: Phrase
    convert: Callable[[object], T]
    """Takes what TOML made of the value; raises :class:`Refused`."""
    secret: bool = False
    """The value is never shown."""


class Problems:
    """What was found wrong so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._found: list[SettingsProblem] = []

    def add(self, keys: Keys, message: Phrase, allowed: Phrase | None = None, nearest: str = "") -> None:
        """Take one more."""
        self._found.append(SettingsProblem(keys, message, allowed, nearest))

    def all(self) -> tuple[SettingsProblem, ...]:
        """Return them in the order in which they were found."""
        return tuple(self._found)


def nearest_name(name: str, known: Collection[str]) -> str:
    """Return the known name that ``name`` was probably meant to be, or an empty text."""
    folded = {each.casefold(): each for each in known}
    return folded.get(nearest(name.casefold(), folded), "")


def describe(value: object, *, secret: bool = False) -> Phrase:
    """Return what was found, as a person would say it. A secret is named by its type only."""
    if isinstance(value, bool):
        return Phrase(N_("found {value!s}"), value="true" if value else "false")
    if isinstance(value, str):
        return Phrase(N_("found a text")) if secret else Phrase(N_('found the text "{value!s}"'), value=_short(value))
    if isinstance(value, (int, float)):
        return Phrase(N_("found a number")) if secret else Phrase(N_("found the number {value!s}"),
                                                                  value=_number_text(value))
    if isinstance(value, Mapping):
        return Phrase(N_("found a table"))
    if isinstance(value, (list, tuple)):
        return Phrase(N_("found a list"))
    if isinstance(value, (date, datetime, time)):
        return Phrase(N_("found a time without quotes"))
    return Phrase(N_("found something else"))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _number_text(value: float) -> str:
    # A whole number of TOML may have more digits than Python likes to print.
    if isinstance(value, int) and abs(value) >= 10**18:
        return ">= 10^18" if value > 0 else "<= -10^18"
    return str(value)


class TableReader:
    """One table of the file."""

    def __init__(self, table: Mapping[str, object], keys: Keys, known: Collection[str], problems: Problems) -> None:
        """Read ``table``, whose path is ``keys``. Unknown keys are reported at once."""
        self.keys = keys
        self.problems = problems
        self._table = table
        self._known = known
        for name in table:
            if name not in known:
                nearest = nearest_name(name, known)
                allowed = None if nearest else Phrase("{names!s}", names=", ".join(known))
                self.problems.add((*keys, name), Phrase(N_("there is no such key here")), allowed, nearest)

    def has(self, name: str) -> bool:
        """Tell whether the key is there, whatever its value."""
        assert name in self._known
        return name in self._table

    def raw(self, name: str) -> object:
        """Return the value as TOML made it, None where there is none."""
        assert name in self._known
        return self._table.get(name)

    def value(self, name: str, expected: Expected[T], default: D) -> T | D:
        """Return the value of a key; ``default`` where it is missing, or wrong, which is reported."""
        if not self.has(name):
            return default
        return self.convert((name,), self._table[name], expected, default)

    def required(self, name: str, expected: Expected[T], default: D) -> T | D:
        """Return the same for a key that must be there."""
        if not self.has(name):
            self.problems.add((*self.keys, name), Phrase(N_("is missing")), expected.allowed)
            return default
        return self.value(name, expected, default)

    def values(self, name: str, expected: Expected[T]) -> tuple[T, ...]:
        """Return the values of a list; a single value counts as a list of one."""
        if not self.has(name):
            return ()
        value = self._table[name]
        if not isinstance(value, list):
            value = [value]
            return tuple(self._each(value, expected, lambda number: (name,)))
        return tuple(self._each(value, expected, lambda number: (name, number)))

    def _each(self, values: list[object], expected: Expected[T], place: Callable[[int], Keys]) -> list[T]:
        found: list[T] = []
        for number, value in enumerate(values):
            converted = self.convert(place(number), value, expected, None)
            if converted is not None:
                found.append(converted)
        return found

    def convert(self, below: Keys, value: object, expected: Expected[T], default: D) -> T | D:
        """Return what a value means, or ``default`` and a problem at ``below`` this table."""
        try:
            return expected.convert(value)
        except Refused as error:
            message = error.message or describe(value, secret=expected.secret)
            self.problems.add((*self.keys, *below), message, error.allowed or expected.allowed, error.nearest)
            return default

    def table(self, name: str, known: Collection[str]) -> TableReader | None:
        """Return the reader of a table inside this one, None where there is none."""
        if not self.has(name):
            return None
        value = self._table[name]
        if not isinstance(value, Mapping):
            self.problems.add((*self.keys, name), describe(value, secret=True),
                              Phrase(N_("a table, begun by a line such as [{name!s}]"), name=name))
            return None
        return TableReader(value, (*self.keys, name), known, self.problems)

    def named_tables(self, name: str, known: Collection[str], check_name: Callable[[str], Phrase | None],
                     example: str) -> dict[str, TableReader]:
        """Return the readers of the tables ``[name.NAME]``, by their names.

        Args:
            known: keys of each.
            check_name: returns what is wrong with a name, or None.
            example: how such a table begins, for the message where it is missing.
        """
        begun = Phrase(N_("tables, each begun by a line such as {example!s}"), example=example)
        value = self._table.get(name)
        if name not in self._table or value == {}:
            self.problems.add((*self.keys, name), Phrase(N_("is missing")), begun)
            return {}
        if not isinstance(value, Mapping):
            self.problems.add((*self.keys, name), describe(value, secret=True), begun)
            return {}
        found = {}
        for each, table in value.items():
            keys = (*self.keys, name, each)
            wrong = check_name(each)
            if wrong is not None:
                self.problems.add(keys, wrong)
            if not isinstance(table, Mapping):
                self.problems.add(keys, describe(table, secret=True), begun)
            else:  # also below a wrong name: what is wrong with its values shall be told now and not next time
                found[each] = TableReader(table, keys, known, self.problems)
        return found


def number_of(value: object) -> int | float | None:
    """Return a finite number, None for everything else; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None
