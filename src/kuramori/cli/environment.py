"""Settings from the environment: ``KURAMORI_*``, and restic's where ours are not set."""

from __future__ import annotations

import os


def variable(name: str) -> str | None:
    """Return ``KURAMORI_<name>``, or ``RESTIC_<name>``, or None if neither is set."""
    value = os.environ.get(f"KURAMORI_{name}")
    return value if value is not None else os.environ.get(f"RESTIC_{name}")


def debugging() -> bool:
    """Tell whether tracebacks are wanted (``KURAMORI_DEBUG``)."""
    return bool(os.environ.get("KURAMORI_DEBUG"))
