"""Every error can be shown, whatever its fields hold, and travels between processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from kuramori import errors
from kuramori.errors import CheckHint, DamagedError, KuramoriError, Phrase, StorageError
from kuramori.storage.backend import A_PACK, FileType, Handle

HANDLE = Handle(FileType.PACK, "ab" * 32)


def _all_errors() -> Iterator[type[KuramoriError]]:
    pending: list[type[KuramoriError]] = [KuramoriError]
    while pending:
        found = pending.pop()
        yield found
        pending += found.__subclasses__()


def _shout(text: str) -> str:
    """A language in which everything but fields is loud."""
    return text if "{" in text else text.upper()


@pytest.mark.parametrize("kind", sorted(_all_errors(), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_an_error_without_its_fields_is_shown_with_question_marks(kind: type[KuramoriError]) -> None:
    error = kind()
    assert error.text()
    assert "{" not in error.text()
    assert "{" not in error.advice_text().replace("{hostname}", "")  # which is meant as it stands
    assert error.exit_code in (1, 3, 10, 11, 12, 130)


def test_fields_may_be_handles_phrases_errors_and_tuples_of_these() -> None:
    phrase = Phrase("file {handle}", handle=HANDLE)
    assert phrase.text() == f"file data/{'ab' * 32}"
    inner = StorageError(location="here", operation="load", name=str(HANDLE), detail="gone")
    for value, shown in ((HANDLE, str(HANDLE)), (phrase, phrase.text()), (inner, inner.text()),
                         ((phrase, inner), f"{phrase.text()}; {inner.text()}"), (7, "7"), (b"\xff", "\\xff")):
        assert shown in DamagedError(what=value, detail="wrong").text()


def test_what_and_detail_are_translated_and_names_are_not() -> None:
    error = DamagedError(what="the config", detail=Phrase("it holds {count}", count=3))
    assert "THE CONFIG" in error.text(_shout)
    assert "here" in errors.NoRepositoryError(location="here").text(_shout)
    full = errors.StorageFullError(location="here", operation="write", name=A_PACK)
    assert full.text(_shout) == "no space is left in here (WRITE A PACK)"


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    text = errors.RestoreError(path="a\x1b[2Jb\nc\udcff", detail="no").text()
    assert "a\\x1b[2Jb\\nc\\xff" in text
    assert text.isprintable()


@pytest.mark.parametrize("error", [DamagedError(what=Phrase("file {handle}", handle=HANDLE), detail="wrong"),
                                   errors.NoRepositoryError(location="there")])
def test_an_error_travels_between_processes(error: KuramoriError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.text(), again.advice_text(), again.exit_code) == (error.text(), error.advice_text(), error.exit_code)


def test_a_hint_is_no_failure() -> None:
    assert issubclass(CheckHint, KuramoriError)
    assert str(CheckHint(detail="left over"))
