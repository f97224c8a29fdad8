"""Names of nodes: Go's ``strconv.Quote`` without its outer quotes (format section 2.3).

The functions here deal with the quoted text itself; the JSON encoder escapes it once more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kuramori.errors import N_

_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
          "\v": "\\v", '"': '\\"', "\\": "\\\\"}
_UNQUOTE_SHORT = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_DOUBTFUL = re.compile(r"""[\\"\n\0]""")
_NOT_PLAIN = frozenset({"", ".", ".."})
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))")


def quote_name(name: bytes) -> str:
    """Return a file name as the format writes it. Any bytes are allowed."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_quote_character, text))


def _quote_character(character: str) -> str:
    short = _SHORT.get(character)
    if short is not None:
        return short
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def unquote_name(text: str) -> bytes:
    """Return the file name that a quoted text stands for.

    Raises:
        ValueError: it is not a text that Go's ``strconv.Unquote`` accepts.
    """
    if "\\" not in text:
        if '"' in text or "\n" in text:
            raise ValueError(f"a bare quote or line break in the name {text[:80]!r}")
        return text.encode("utf-8", "surrogatepass")
    parts: list[bytes] = []
    position = 0
    while position < len(text):
        slash = text.find("\\", position)
        plain = text[position:] if slash < 0 else text[position:slash]
        if '"' in plain or "\n" in plain:
            raise ValueError(f"a bare quote or line break in the name {text[:80]!r}")
        parts.append(plain.encode("utf-8", "surrogatepass"))
        if slash < 0:
            break
        match = _ESCAPE.match(text, slash)
        if match is None:
            raise ValueError(f"a bad escape in the name {text[:80]!r}")
        parts.append(_unquote_escape(match))
        position = match.end()
    return b"".join(parts)


def _unquote_escape(match: re.Match[str]) -> bytes:
    short, hexadecimal, four, eight, octal = match.groups()
    if short is not None:
        return bytes((_UNQUOTE_SHORT[short],))
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    if octal is not None:
        value = int(octal, 8)
        if value > 255:
            raise ValueError(N_("an octal escape over 255"))
        return bytes((value,))
    code = int(four or eight, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(N_("an escape that is no character"))
    return chr(code).encode("utf-8")


def name_problem(name: bytes) -> str | None:
    """Return why a node's name must never reach a file system, or None if it may."""
    if not name:
        return N_("it is empty")
    if name in (b".", b".."):
        return N_("it would leave its folder")
    if b"/" in name:
        return N_("it contains a slash")
    if b"\0" in name:
        return N_("it contains a NUL byte")
    return None


def are_plain(names: Sequence[str]) -> bool:
    """Tell whether quoted names all stand for themselves, and none has a problem (:func:`name_problem`): looked at
    together, which takes a tenth of the time. False means that they have to be looked at one by one."""
    joined = "/".join(names)
    return (_NOT_PLAIN.isdisjoint(names) and joined.count("/") == max(len(names) - 1, 0)
            and _DOUBTFUL.search(joined) is None)


def display_text(data: bytes) -> str:
    """Return bytes of a path as text that survives a round trip (``surrogateescape``)."""
    return data.decode("utf-8", "surrogateescape")
