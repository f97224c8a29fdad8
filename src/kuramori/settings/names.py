"""What repositories, jobs and components may be called.

Names become tags of snapshots (which commas split), parts of file names and words of the command
line. Letters of every language are welcome.
"""

from __future__ import annotations

import unicodedata

from kuramori.errors import N_, Phrase

MANIFEST = "manifest"
"""The component that every run writes last: nobody else's may be called so."""

_FORBIDDEN = ",=/\\:"
_LONGEST_BYTES = 120


def check_name(name: str) -> Phrase | None:
    """Return what is wrong with the name of a repository or a job, None if it is good."""
    if not name.strip():
        return Phrase(N_("a name cannot be empty"))
    if name != name.strip() or name[0] in ".-":
        return Phrase(N_("a name cannot begin with a dot, a hyphen or a space, or end with a space"))
    if not name.isprintable():
        return Phrase(N_("a name cannot hold control characters"))
    for character in _FORBIDDEN:
        if character in name:
            return Phrase(N_("a name cannot hold {character!s}"), character=character)
    if name != unicodedata.normalize("NFC", name):
        return Phrase(N_("the letters and accents of this name are stored apart; type it anew"))
    if len(name.encode()) > _LONGEST_BYTES:
        return Phrase(N_("a name cannot be longer than {count} bytes"), count=_LONGEST_BYTES)
    return None


def check_component_name(name: str) -> Phrase | None:
    """Return the same for a component."""
    if name.casefold() == MANIFEST:
        return Phrase(N_('the name "manifest" is kept for the list that each run writes'))
    return check_name(name)
