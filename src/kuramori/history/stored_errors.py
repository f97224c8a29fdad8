"""Errors as the history keeps them: templates and fields, so that they are shown in the language
of whoever reads them later, not of whoever ran the operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kuramori.errors import KuramoriError, Phrase

MOST_ERRORS = 100
"""So many errors of an operation are kept; a folder of unreadable files must not fill the disk."""
_MOST_TEXT = 2000
_MOST_DEPTH = 5


@dataclass(frozen=True, slots=True)
class StoredError:
    """One error of an operation.

    Attributes:
        kind: the name of its class.
    """

    kind: str
    message: Phrase
    advice: Phrase | None = None

    def text(self, translate: Callable[[str], str] = str) -> str:
        """Return what happened, in one sentence."""
        return self.message.text(translate)

    def advice_text(self, translate: Callable[[str], str] = str) -> str:
        """Return what the user can do, or an empty string."""
        return self.advice.text(translate) if self.advice is not None else ""

    def __str__(self) -> str:
        return self.text()


def encode_errors(errors: Sequence[KuramoriError]) -> str:
    """Return errors as JSON text. Fields are what people are shown anyway, so there are no secrets."""
    kept = [{"kind": type(error).__name__, "message": error.message, "advice": error.advice,
             "fields": _encode_fields(error.fields, _MOST_DEPTH)} for error in errors[:MOST_ERRORS]]
    return json.dumps(kept, ensure_ascii=True) if kept else ""


def decode_errors(text: str) -> tuple[StoredError, ...]:
    """Return what :func:`encode_errors` wrote; of anything else, nothing."""
    try:
        return tuple(_decode_error(entry) for entry in json.loads(text)) if text else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _decode_error(entry: dict[str, object]) -> StoredError:
    fields = _decode_fields(entry["fields"])
    advice = str(entry["advice"])
    return StoredError(str(entry["kind"]), Phrase(str(entry["message"]), **fields),
                       Phrase(advice, **fields) if advice else None)


def _encode_fields(fields: dict[str, object], depth: int) -> dict[str, object]:
    return {name: _encode(value, depth) for name, value in fields.items()}


def _encode(value: object, depth: int) -> object:
    if isinstance(value, KuramoriError) and depth:
        return {"template": value.message, "fields": _encode_fields(value.fields, depth - 1)}
    if isinstance(value, Phrase) and depth:
        return {"template": value.template, "fields": _encode_fields(value.fields, depth - 1)}
    if type(value) is tuple and depth:
        return [_encode(part, depth - 1) for part in value[:MOST_ERRORS]]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, (int, float)) or value is None else str(value)[:_MOST_TEXT]


def _decode_fields(fields: object) -> dict[str, object]:
    assert isinstance(fields, dict)
    return {str(name): _decode(value) for name, value in fields.items()}


def _decode(value: object) -> object:
    if isinstance(value, dict):
        return Phrase(str(value["template"]), **_decode_fields(value["fields"]))
    if isinstance(value, list):
        return tuple(part if isinstance(part, Phrase) else Phrase("{detail}", detail=part)
                     for part in map(_decode, value))
    return value
