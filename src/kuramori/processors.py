"""How much can be done at once on this machine."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Return on how many processors this process may run: fewer than there are under ``taskset``, in a container that
    was given some, or in a service with ``CPUAffinity``."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
