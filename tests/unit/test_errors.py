"""Texts of errors: whole, translated to the last part, safe to show, the same after a process border."""

from __future__ import annotations

import pickle

import pytest

from kuramori import errors
from kuramori.errors import DamagedError, KuramoriError, NothingToBackUpError, Phrase, SourceMissingError, StorageError

_DICTIONARY = {
    "{what!s} is damaged: {detail}": "[{what!s}] [{detail}]",
    "pack {pack}": "PACK {pack}",
    "it is empty": "EMPTY",
    "its name is not allowed: {detail}": "NAME: {detail}",
}


def _translate(text: str) -> str:
    return _DICTIONARY.get(text, text)


@pytest.mark.parametrize(("detail", "shown"), [
    ("it is empty", "EMPTY"),
    (Phrase("its name is not allowed: {detail}", detail="it is empty"), "NAME: EMPTY"),
    (DamagedError(what="x", detail="it is empty"), "[x] [EMPTY]"),
    ((DamagedError(what="x", detail="y"), DamagedError(what="z", detail="it is empty")), "[x] [y]; [z] [EMPTY]"),
    ("nobody knows this", "nobody knows this"),
    ("", ""),
])
def test_every_part_is_translated(detail: object, shown: str) -> None:
    """The template, its phrases, errors inside errors and details that travelled as plain text."""
    error = DamagedError(what=Phrase("pack {pack}", pack="ab12"), detail=detail)
    assert error.text(_translate) == f"[PACK ab12] [{shown}]"
    assert pickle.loads(pickle.dumps(error)).text(_translate) == error.text(_translate)


def test_names_are_not_translated() -> None:
    """A file that is called like a message keeps its name."""
    error = SourceMissingError(path="it is empty")
    assert "it is empty" in error.text(_translate)


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\udcff", "\u202e", b"\xff\n"])
def test_nothing_a_terminal_would_obey(hostile: str | bytes) -> None:
    """Escape sequences, line breaks and undecodable bytes are shown escaped, wherever they stand."""
    for error in (StorageError(location="x", operation="load", name="n", detail=hostile),
                  DamagedError(what=hostile, detail=Phrase("pack {pack}", pack=hostile))):
        assert error.text().isprintable()
        str(error).encode("utf-8")


def _kinds(kind: type[KuramoriError]) -> list[type[KuramoriError]]:
    return [kind, *(found for inner in kind.__subclasses__() for found in _kinds(inner))]


def test_every_error_says_what_happened_even_without_its_fields() -> None:
    """No field that is missing makes the report of an error an error itself."""
    kinds = _kinds(KuramoriError)
    assert len(kinds) > 30
    for kind in kinds:
        assert kind().text()
        assert "{" not in str(kind()).replace("{hostname}", "")  # which is meant as it stands
        assert kind.__module__.startswith(errors.__name__)
        assert kind.__doc__


def test_several_problems_in_one_sentence() -> None:
    """What could not be backed up is listed."""
    error = NothingToBackUpError(detail=(SourceMissingError(path="/a"), SourceMissingError(path="/b")))
    assert "/a" in str(error)
    assert "/b" in str(error)
