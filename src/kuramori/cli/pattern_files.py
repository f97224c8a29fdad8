"""Files that hold patterns or paths, one a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument
from kuramori.errors import UsageError


def read_whole(name: str) -> bytes:
    """Return the content of a file; ``-`` is standard input.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(detail=_("{path} cannot be read: {error}").format(path=name, error=error.strerror)) from None


def read_lines(name: str) -> list[bytes]:
    """Return the lines of a file, without their ends.

    Raises:
        UsageError: it cannot be read.
    """
    return [line.removesuffix(b"\r") for line in read_whole(name).split(b"\n")]


def read_patterns(arguments: Sequence[str], files: Sequence[str]) -> tuple[bytes, ...]:
    """Return the patterns of arguments and of files: in files, comments and empty lines are left
    out and environment variables are expanded.

    Raises:
        UsageError: a file cannot be read.
    """
    found = [encode_argument(text) for text in arguments]
    for name in files:
        for line in read_lines(name):
            text = line.strip()
            if text and not text.startswith(b"#"):
                found.append(os.path.expandvars(text))
    return tuple(found)
