"""What is tried on every day is a fixed part of everything, and another part in each test."""

from __future__ import annotations

from itertools import pairwise

import pytest

from samples.thoroughness import first_point, some, stride


@pytest.fixture(autouse=True)
def _every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("KURAMORI_TEST_EXHAUSTIVE", raising=False)


def test_every_day_some_points_are_tried() -> None:
    points = some(range(100), 5)
    assert len(points) == 20
    assert points == some(range(100), 5), "the same again"
    assert [later - point for point, later in pairwise(points)] == [5] * 19
    assert len(some([7], 5)) == 1
    assert not some([], 5)


def test_tests_with_other_names_begin_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = set()
    for number in range(30):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"tests/a.py::test[{number}] (call)")
        tried |= set(some(range(50), 5))
        first = first_point(5)
        monkeypatch.setenv("PYTEST_CURRENT_TEST", f"tests/a.py::test[{number}] (setup)")
        assert first_point(5) == first, "a fixture counts as its test does"
    assert tried == set(range(50)), "together they try everything"


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("KURAMORI_TEST_EXHAUSTIVE", "1")])
def test_everything_is_tried_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert stride(5) == 1
    assert some(range(100), 5) == range(100)
