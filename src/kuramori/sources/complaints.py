"""What the complaints of other programs mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kuramori.errors import KuramoriError
from kuramori.sources.child_process import last_line
from kuramori.sources.server_address import ServerAddress

Meanings = Sequence[tuple[type[KuramoriError], Sequence[str]]]
"""Errors, and the patterns of the words that mean them; the first that fits."""


def explain_complaint(meanings: Meanings, messages: str, address: ServerAddress, database: str) -> KuramoriError | None:
    """Return the error that a program's complaint means, or None. The last line that means something
    is taken for the reason."""
    for line in reversed(messages.splitlines()):
        for kind, patterns in meanings:
            if any(re.search(pattern, line, re.IGNORECASE) for pattern in patterns):
                return kind(server=address.shown, database=database, detail=last_line(line))
    return None
