"""What somebody may have meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(text: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return the known name that ``text`` is most like, or an empty text.

    Args:
        likeness: how much alike they must be, from 0 (not at all) to 1 (equal), as ``difflib`` measures it.
    """
    import difflib  # 8 ms, and most who type make no mistake

    return next(iter(difflib.get_close_matches(text, list(known), 1, likeness)), "")
