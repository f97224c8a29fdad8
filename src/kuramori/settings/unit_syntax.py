"""How words and paths are written in systemd's unit files (systemd.syntax(7))."""

from __future__ import annotations

import string
from collections.abc import Iterable

_PLAIN = frozenset(string.ascii_letters + string.digits + "-_./:,+@=")
"""Characters that mean nothing but themselves wherever they stand in a word."""


def quote_word(word: str) -> str:
    """Return a word as a list of a unit file has it: between double quotes where it needs them, with
    escapes for what would end it, and ``%`` doubled."""
    if word and all(character in _PLAIN for character in word):
        return word
    return '"' + "".join(map(_escape, word)) + '"'


def quote_command(words: Iterable[str]) -> str:
    """Return a command as ``ExecStart=`` has it; there ``$`` is doubled too."""
    return " ".join(quote_word(word).replace("$", "$$") for word in words)


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "%":
        return "%%"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
