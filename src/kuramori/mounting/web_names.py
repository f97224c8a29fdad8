"""Names of files as parts of a URL and of XML, which know only text."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")


def url_name(name: bytes) -> str:
    """Return a name as text. What is not UTF-8 and control characters become ``\\x1b``, and so that
    no two names become one, a backslash becomes two."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F or character in "\ufffe\uffff":
        return "".join(f"\\x{byte:02x}" for byte in character.encode())
    return character


def name_of_url(text: str) -> bytes:
    """Return the name that :func:`url_name` made a text of.

    Raises:
        ValueError: it made none such (also ``UnicodeEncodeError``).
    """
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        parts += [text[end : match.start()].encode(), b"\\" if match[1] == "\\" else bytes((int(match[1][1:], 16),))]
        end = match.end()
    name = b"".join([*parts, text[end:].encode()])
    if url_name(name) != text:
        raise ValueError(text)
    return name
