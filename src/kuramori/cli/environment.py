"""Settings from the environment: ``KURAMORI_*``, and restic's where ours are not set."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # what is imported here comes before everything else: without modules that take their time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PREFIXES = ("KURAMORI_", "RESTIC_")


def variable(name: str) -> str | None:
    """Return ``KURAMORI_<name>``, or ``RESTIC_<name>``, or None if neither is set. Empty is not set."""
    found = first_set((name,))
    return found[1] if found else None


def first_set(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first of several settings that exclude each other, and its value.

    Ours come before restic's: with ``KURAMORI_PASSWORD_FILE`` a ``RESTIC_PASSWORD`` means nothing.
    """
    for prefix in _PREFIXES:
        for name in names:
            value = os.environ.get(prefix + name)
            if value:
                return name, value
    return None


def state_directory() -> Path:
    """Return the folder for what this machine must remember: ``KURAMORI_STATE_DIR``, or where the
    system keeps such things. It may not exist yet."""
    from pathlib import Path

    chosen = os.environ.get("KURAMORI_STATE_DIR")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/kuramori")  # not root's home: a service that may not touch homes must find it
    import platformdirs

    return Path(platformdirs.user_state_dir("kuramori"))


def time_zone() -> str:
    """Return what ``TZ`` says; empty if it is not set."""
    return os.environ.get("TZ", "")


def debugging() -> bool:
    """Tell whether tracebacks are wanted (``KURAMORI_DEBUG``)."""
    return bool(os.environ.get("KURAMORI_DEBUG"))
