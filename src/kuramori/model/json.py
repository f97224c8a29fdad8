"""JSON as Go's ``encoding/json`` writes it (format section 2.1)."""

from __future__ import annotations

from typing import TypeVar

import msgspec

_ENCODER = msgspec.json.Encoder()

_Document = TypeVar("_Document")


def decode_json(decoder: msgspec.json.Decoder[_Document], document: bytes | memoryview) -> _Document:
    """Return what a decoder makes of a document.

    Raises:
        msgspec.DecodeError: it is malformed (also ``ValidationError``), or nested without end.
    """
    try:
        return decoder.decode(document)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None


def go_json(value: object) -> bytes:
    """Return ``value`` as compact JSON with Go's HTML escapes. Struct fields keep their order."""
    return escape_html(_ENCODER.encode(value))


def escape_html(document: bytes) -> bytes:
    r"""Return a JSON document with ``< > &`` and U+2028/2029 written as ``\u`` escapes.

    None of these characters occurs outside of strings, so plain replacement is right.
    """
    if b"<" in document:
        document = document.replace(b"<", b"\\u003c")
    if b">" in document:
        document = document.replace(b">", b"\\u003e")
    if b"&" in document:
        document = document.replace(b"&", b"\\u0026")
    if b"\xe2\x80\xa8" in document:
        document = document.replace(b"\xe2\x80\xa8", b"\\u2028")
    if b"\xe2\x80\xa9" in document:
        document = document.replace(b"\xe2\x80\xa9", b"\\u2029")
    return document


def go_string(data: bytes) -> bytes:
    r"""Return bytes as a JSON string the way Go does: each invalid byte becomes ``\ufffd``."""
    text = data.decode("utf-8", "surrogateescape")
    pieces: list[bytes] = [b'"']
    run: list[str] = []
    for character in text:
        if "\udc80" <= character <= "\udcff":
            pieces.append(_ENCODER.encode("".join(run))[1:-1])
            pieces.append(b"\\ufffd")
            run.clear()
        else:
            run.append(character)
    pieces.append(_ENCODER.encode("".join(run))[1:-1])
    pieces.append(b'"')
    return escape_html(b"".join(pieces))


def replace_undecodable(text: str) -> str:
    """Return ``text`` with lone surrogates replaced by U+FFFD, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
