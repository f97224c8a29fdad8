"""What a program that works for us said last on its standard error."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from kuramori.errors import printable

_TIME = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_LONGEST = 300


class LastWords:
    """Keeps the last line that tells of trouble. May be used by several threads at once."""

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        """Nothing was said yet.

        Args:
            clean: takes secrets out of a line.
        """
        self._clean = clean
        self._guard = threading.Lock()
        self._complaint = ""
        self._other = ""

    def take(self, line: bytes) -> None:
        """Hear a line."""
        text = _TIME.sub("", printable(line.decode("utf-8", "replace").strip()))
        if not text:
            return
        text = self._clean(text)[:_LONGEST]
        with self._guard:
            if text.startswith(("NOTICE", "INFO", "DEBUG")):
                self._other = text
            else:
                self._complaint = text

    @property
    def text(self) -> str:
        """The last complaint; where there was none, the last line; else nothing."""
        with self._guard:
            return self._complaint or self._other
