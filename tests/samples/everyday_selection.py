"""Which tests are left for CI and ``--exhaustive``."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import pytest


def left_out_everyday(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the tests that do not run on every day.

    * Marked ``exhaustive``: all. Marked ``exhaustive(except_each=n)``: all cases of a test but each n-th,
      beginning with the first. (n should not divide the number of values of its last parameter.)
    * Where a test has several cases for each of the two restics, its first case is tried with the old one only,
      the second with the new one, and so on. (n should be odd there.) A test that has no cases but these is tried
      with one of them, which depends on its name.
    """
    out, functions = set(), {}
    for item in items:
        cases = functions.setdefault(item.nodeid.split("[")[0], _Cases())
        if cases.leaves_out(item):
            out.add(item)
    return out


class _Cases:
    """The cases of one test function, in the order in which they were collected."""

    def __init__(self) -> None:
        self._of_restics: list[dict[str, int]] = []
        self._marked = 0

    def leaves_out(self, item: pytest.Item) -> bool:
        """Judge the next case. To be called once for each."""
        return self._is_turn_of_the_other_restic(item) or self._is_marked(item)

    def _is_turn_of_the_other_restic(self, item: pytest.Item) -> bool:
        call = getattr(item, "callspec", None)
        if call is None or "restic_binary" not in call.params:
            return False
        case = {name: index for name, index in call.indices.items() if name != "restic_binary"}
        if case not in self._of_restics:
            self._of_restics.append(case)
        turn = self._of_restics.index(case) if case else crc32(item.nodeid.split("[")[0].encode())
        return bool(call.params["restic_binary"] != ("old", "new")[turn % 2])

    def _is_marked(self, item: pytest.Item) -> bool:
        marker = item.get_closest_marker("exhaustive")
        if marker is None:
            return False
        number, self._marked = self._marked, self._marked + 1
        return "except_each" not in marker.kwargs or bool(number % marker.kwargs["except_each"])
