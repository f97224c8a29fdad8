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
        self._heard = threading.Condition()
        self._complaint = ""
        self._other = ""
        self._untold = 0

    def take(self, line: bytes) -> None:
        """Hear a line."""
        text = _TIME.sub("", printable(line.decode("utf-8", "replace").strip()))
        if not text:
            return
        text = self._clean(text)[:_LONGEST]
        with self._heard:
            if text.startswith(("NOTICE", "INFO", "DEBUG")):
                self._other = text
                return
            self._complaint = text
            self._untold += 1
            self._heard.notify()

    def text(self, patience: float = 0.0) -> str:
        """Return the last complaint; where there was none, the last line; else nothing.

        Args:
            patience: seconds to wait for a complaint that was not told yet. An answer comes by another way than what is
                said about it, and may be quicker.
        """
        with self._heard:
            self._heard.wait_for(lambda: self._untold > 0, patience)
            self._untold = max(self._untold - 1, 0)
            return self._complaint or self._other
