"""A text that must not be shown."""

from __future__ import annotations

import hmac


class Secret:
    """A password or token. It never shows itself in ``repr``, ``str``, logs or tracebacks.

    Read it with :meth:`reveal`, as late and as locally as possible.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep ``text`` (any string, may be empty)."""
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")
