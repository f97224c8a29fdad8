"""The catalogues of messages are complete, in both languages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    """The tool that keeps the catalogues."""
    spec = importlib.util.spec_from_file_location("catalogue", _ROOT / "tools" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_complete_and_in_step_with_the_sources(catalogue: ModuleType) -> None:
    """Every text has a translation with the same placeholders, and the compiled files are current."""
    assert catalogue.problems() == []


def test_texts_of_errors_and_commands_are_found(catalogue: ModuleType) -> None:
    """The extraction sees both kinds of sources, so the test above cannot pass for lack of texts."""
    texts = {message.id for message in catalogue.extract()}
    assert "{path!s} does not exist" in texts
    assert "save files and folders" in texts
    assert ("{count} snapshot", "{count} snapshots") in texts


def test_japanese_is_japanese(catalogue: ModuleType) -> None:
    """Nearly every sentence holds kana, so nobody copied the English."""
    messages = [message for message in catalogue.load("ja") if message.id and " " in str(message.id).strip()]
    japanese = [m for m in messages if any("\u3040" <= c <= "\u30ff" for c in str(m.string))]
    assert len(japanese) > 0.97 * len(messages)
