"""Japanese or English, by locale (gettext).

The catalogue has one entry for every text of ours and for the words of click that users see.
Command modules are imported after :func:`choose_language`, so their help texts are translated when
they are defined.
"""

from __future__ import annotations

import gettext as _gettext
import os
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

DOMAIN = "kuramori"
LOCALE_DIRECTORY = Path(__file__).resolve().parents[1] / "locale"
LANGUAGES = ("en", "ja")


def choose_language(arguments: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """Make :func:`translate` (and click) speak the user's language.

    ``--language`` decides, then ``KURAMORI_LANGUAGE``, then the locale (``LANGUAGE``, ``LC_ALL``,
    ``LC_MESSAGES``, ``LANG``). Must be called before command modules are imported.
    """
    wanted = _from_arguments(arguments) or environment.get("KURAMORI_LANGUAGE", "")
    if wanted:
        environment["LANGUAGE"] = wanted  # gettext asks this first
    _gettext.bindtextdomain(DOMAIN, LOCALE_DIRECTORY)
    _gettext.textdomain(DOMAIN)


def _from_arguments(arguments: Sequence[str]) -> str:
    for position, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith("--language="):
            return argument.partition("=")[2]
        if argument == "--language" and position + 1 < len(arguments):
            return arguments[position + 1]
    return ""


def translate(text: str) -> str:
    """Return ``text`` in the user's language; texts that the catalogue does not have as they are."""
    return _gettext.gettext(text) if text else ""


def translate_count(singular: str, plural: str, count: int) -> str:
    """Return the form of a text that fits a number."""
    return _gettext.ngettext(singular, plural, count)


def current_language() -> str:
    """Return the language that :func:`translate` speaks: ``en`` or ``ja``."""
    return "ja" if "Language: ja\n" in _gettext.gettext("") else "en"  # the catalogue's own header


def current_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ
