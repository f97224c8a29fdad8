"""What single values of a settings file may be: texts, numbers, sizes, durations, paths, commands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import N_, Phrase
from kuramori.settings.quantities import parse_bytes, parse_seconds
from kuramori.settings.reader import Expected, Refused, describe, nearest_name, number_of

_QUOTES = Phrase(N_("true or false, without quotes"))
_LONGEST_TEXT = 4096
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#]+\S*")
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]*):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What relative paths refer to."""

    folder: Path
    """Of the settings file; absolute."""
    home: Path | None
    """What ``~`` stands for."""


def _text_of(value: object) -> str:
    """Return a text that is not empty and that the system could take as a name or an argument.

    Raises:
        Refused: it is something else.
    """
    if not isinstance(value, str):
        raise Refused
    if not value.strip():
        raise Refused(Phrase(N_("found an empty text")))
    if len(value) > _LONGEST_TEXT:
        raise Refused(Phrase(N_("found a text of {count} characters"), count=len(value)))
    if "\0" in value:
        raise Refused(Phrase(N_("found a text with a NUL character in it")))
    return value


def text(allowed: Phrase, *, secret: bool = False) -> Expected[str]:
    """Any text that is not empty."""
    return Expected(allowed, _text_of, secret)


def one_word(allowed: Phrase) -> Expected[str]:
    """A text that is not empty and begins with no hyphen: programs would take it for an option."""

    def convert(value: object) -> str:
        found = _text_of(value)
        if found.startswith("-") or not found.isprintable():
            raise Refused
        return found

    return Expected(allowed, convert)


def choice(names: Sequence[str]) -> Expected[str]:
    """One of a few words."""

    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise Refused(nearest=nearest_name(value, names) if isinstance(value, str) else "")
        return value

    return Expected(Phrase("{names!s}", names=", ".join(f'"{name}"' for name in names)), convert)


def _flag_of(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused
    return value


FLAG = Expected(_QUOTES, _flag_of)


def whole_number(least: int, most: int) -> Expected[int]:
    """A whole number in a range. One between quotes is explained, not taken."""

    def convert(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(_number_in_quotes(value))
        if not least <= value <= most:
            raise Refused
        return value

    return Expected(Phrase(N_("a whole number from {least} to {most}"), least=least, most=most), convert)


def _number_in_quotes(value: object) -> Phrase | None:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", value.strip()):
        return Phrase(N_('found the text "{value!s}", where a number is meant: write it without quotes'), value=value)
    return None


def count_of_snapshots(unlimited: int) -> Expected[int]:
    """A number of snapshots from 1, or ``unlimited``, which becomes the number that stands for it."""
    plain = whole_number(1, 1_000_000)

    def convert(value: object) -> int:
        return unlimited if value == "unlimited" else plain.convert(value)

    return Expected(Phrase(N_('a whole number from 1, or "unlimited"')), convert)


def _share_of(value: object) -> float:
    number = number_of(value)
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", value.strip())):
        number = float(found[1]) / 100
    if number is None or not 0 < number <= 1:
        raise Refused(_number_in_quotes(value))
    return float(number)


SHARE = Expected(Phrase(N_('a part of the whole, such as 0.9 or "90%"; 1 for never')), _share_of)


def duration(least: float, most: float, example: str = "10m") -> Expected[float]:
    """Seconds, written as ``10m``; within bounds, in seconds."""

    def convert(value: object) -> float:
        if number_of(value) is not None:
            raise Refused(Phrase(N_("found a number without a unit")))
        if not isinstance(value, str):
            raise Refused
        try:
            seconds = parse_seconds(value.strip())
        except ValueError:
            raise Refused from None
        if not least <= seconds <= most:
            raise Refused
        return seconds

    return Expected(Phrase(N_('a duration such as "{example!s}", from {least} to {most} seconds'), example=example,
                           least=int(least), most=int(most)), convert)


def _size_of(value: object) -> int:
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            size = value
        elif isinstance(value, str):
            size = parse_bytes(value)
        else:
            raise Refused
    except ValueError:
        raise Refused from None
    if not 1 <= size <= 2**62:
        raise Refused
    return size


SIZE = Expected(Phrase(N_('a size such as "500K", "10M" or "2G"')), _size_of)


# --- paths -----------------------------------------------------------------------------------


def absolute_path(value: str, around: Surroundings) -> Path:
    """Return a path of the file as an absolute one: ``~`` is the home folder, a relative path begins
    at the settings file's folder.

    Raises:
        Refused: it names somebody else's home folder, or ours is not known.
    """
    if value.startswith("~"):
        if around.home is None or value[1:2] not in ("", "/"):
            raise Refused(Phrase(N_('found "{value!s}", whose home folder is not known here'), value=value[:40]),
                          Phrase(N_("a path that begins with / or with ~/")))
        value = str(around.home) + value[1:]
    # normpath and not resolve: a link on the way to a source is the user's business.
    return Path(os.path.normpath(os.path.join(around.folder, value)))


def path(around: Surroundings, allowed: Phrase) -> Expected[Path]:
    """A path, made absolute."""

    def convert(value: object) -> Path:
        return absolute_path(_text_of(value), around)

    return Expected(allowed, convert)


# --- commands and addresses ------------------------------------------------------------------


def _words_of(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise Refused(allowed=_as_list(value))
    if not isinstance(value, list) or not value:
        raise Refused(Phrase(N_("found an empty list")) if value == [] else None)
    for number, word in enumerate(value):
        if not isinstance(word, str):
            raise Refused(Phrase(N_("word {number} of the command is no text: {found}"), number=number + 1,
                                 found=describe(word, secret=True)))
        if "\0" in word:
            raise Refused(Phrase(N_("found a text with a NUL character in it")))
    if not value[0].strip():
        raise Refused(Phrase(N_("the command has no name")))
    return tuple(value)


def _as_list(command: str) -> Phrase:
    """Return how a command that was written as one text is written as a list. Its words are not
    repeated: a password may be among them."""
    try:
        count = len(shlex.split(command))
    except ValueError:
        count = 0
    if count > 1:
        return Phrase(N_('a list of words, such as ["systemctl", "stop", "planter"]: there is no shell that would '
                         "split a text"))
    return _WORDS


_WORDS = Phrase(N_('a command and its arguments as a list of words, such as ["systemctl", "stop", "planter"]'))
WORDS = Expected(_WORDS, _words_of, secret=True)
"""A command. It is secret, because people write tokens into commands."""


def _command_of(value: object) -> tuple[str, ...]:
    """Return the words of a command that may be written as one text, as on the command line."""
    if not isinstance(value, str):
        return _words_of(value)
    try:
        words = tuple(shlex.split(_text_of(value)))
    except ValueError:
        raise Refused(Phrase(N_("found a text whose quotes do not match"))) from None
    if not words:
        raise Refused(Phrase(N_("the command has no name")))
    return words


COMMAND_LINE = Expected(Phrase(N_('a command such as "pass show backup", or a list of its words')), _command_of,
                        secret=True)


def _address_of(value: object) -> str:
    found = _text_of(value)
    if _WEB_ADDRESS.fullmatch(found) is None:
        raise Refused
    return found


WEB_ADDRESS = Expected(Phrase(N_("an address that begins with https:// or http://")), _address_of, secret=True)


def _listen_of(value: object) -> str:
    found = _text_of(value)
    match = _LISTEN.fullmatch(found)
    if match is None or not 0 < int(match[2]) < 65536:
        raise Refused
    return found if match[1] else f"127.0.0.1{found}"


LISTEN = Expected(Phrase(N_('host and port, such as "127.0.0.1:9470"')), _listen_of)


def checked(allowed: Phrase, check: Callable[[str], Phrase | None]) -> Expected[str]:
    """A text that ``check`` finds nothing wrong with."""

    def convert(value: object) -> str:
        found = _text_of(value)
        wrong = check(found)
        if wrong is not None:
            raise Refused(wrong)
        return found

    return Expected(allowed, convert)
