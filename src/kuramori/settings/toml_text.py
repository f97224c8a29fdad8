"""Writing TOML: the standard library only reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_key(name: str) -> str:
    """Return a key, between quotes where it needs them."""
    return name if _PLAIN_KEY.fullmatch(name) else toml_text(name)


def toml_text(text: str) -> str:
    """Return a text between quotes."""
    return '"' + "".join(_SHORT_ESCAPES.get(each) or _escaped(each) for each in text) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:  # an undecodable byte of a path: TOML cannot say it
        return "\\uFFFD"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def toml_value(value: object) -> str:
    """Return a value on one line: a text, a number, true or false, a list, or a table in braces.

    Raises:
        TypeError: TOML has nothing like it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    raise TypeError(type(value).__name__)


def to_toml(document: Mapping[str, object], keys: tuple[str, ...] = ()) -> str:
    """Return a document, or a table of one, as the text of a file.

    Args:
        keys: the path of the table.
    """
    plain = {key: value for key, value in document.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    parts = []
    if keys and (plain or not tables):
        parts.append(f"[{'.'.join(map(toml_key, keys))}]\n")
    parts += [f"{toml_key(key)} = {toml_value(value)}\n" for key, value in plain.items()]
    text = "".join(parts)
    for key, value in tables.items():
        inner = to_toml(value, (*keys, key))
        text += f"\n{inner}" if text else inner
    return text
