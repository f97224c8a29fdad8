"""How much of a large subject is tried: on every day some of it, in CI all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

_WISH = "KURAMORI_TEST_EXHAUSTIVE"
_Point = TypeVar("_Point")


def is_exhaustive() -> bool:
    """Tell whether everything is tried: with ``CI=true``, ``--exhaustive`` or ``make test-all``."""
    return os.environ.get("CI") == "true" or os.environ.get(_WISH) == "1"


def wish_exhaustive() -> None:
    """Let everything be tried, in this process and in those that it starts."""
    os.environ[_WISH] = "1"


def stride(everyday: int) -> int:
    """Return how far apart the points are that are tried: 1 when everything is."""
    return 1 if is_exhaustive() else everyday


def first_point(stride: int) -> int:
    """Return where to begin, 0 <= point < stride: the same for a test in every run, another one for its
    neighbours, so that tests of one subject together come near every point."""
    test = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]  # without "(call)"
    return crc32(test.encode()) % stride


def some(points: Sequence[_Point], everyday: int) -> Sequence[_Point]:
    """Return all points, or on every day each so-many-th of them, by the rule of ``first_point``.

    Never none, unless there are none: a sample of few points is one of them.
    """
    apart = min(stride(everyday), max(len(points), 1))
    return points[first_point(apart) :: apart]
