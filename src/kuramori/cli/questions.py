"""Asking on the terminal. End of input and Ctrl-C at any question end the program (exit code 130)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from kuramori.cli.output import say
from kuramori.cli.translation import translate as _
from kuramori.errors import Interrupted

T = TypeVar("T")
_YES = ("y", "yes", "はい", "h")
_NO = ("n", "no", "いいえ", "i")


def ask_line(question: str, default: str = "") -> str:
    """Return what is typed, without white space around it; the default for an empty line.

    Raises:
        Interrupted: the input ended.
    """
    shown = f"{question} [{default}]: " if default else f"{question}: "
    sys.stdout.write(shown)
    sys.stdout.flush()
    # Bytes, so that a path in an old encoding stays what it is.
    line = sys.stdin.buffer.readline()
    if not line:
        say()
        raise Interrupted
    return os.fsdecode(line).strip() or default


def ask_hidden(question: str) -> str:
    """Return what is typed on the terminal without showing it, without white space around it.

    Raises:
        Interrupted: the input ended.
    """
    import getpass

    try:
        return getpass.getpass(f"{question}: ").strip()
    except EOFError:
        say()
        raise Interrupted from None


def ask_yes(question: str, *, default: bool = True) -> bool:
    """Return whether the answer is yes; asked again until it is yes or no."""
    while True:
        answer = ask_line(f"{question} {'[Y/n]' if default else '[y/N]'}").casefold()
        if not answer:
            return default
        if answer in _YES + _NO:
            return answer in _YES
        say(_("please answer y (yes) or n (no)"))


def ask_until(question: str, convert: Callable[[str], T], default: str = "") -> T:
    """Ask until ``convert`` takes the answer.

    Args:
        convert: returns what the answer means; raises ValueError with what is wrong with it, in the
            user's language.
    """
    while True:
        try:
            return convert(ask_line(question, default))
        except ValueError as error:
            say(str(error))
