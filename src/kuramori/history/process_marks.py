"""Which process an operation belongs to, so that it can be told later whether that one still lives.

A process id alone is given away again, and the wall clock of a machine without a battery is no
help. Linux tells the boot (a random id) and the tick of that boot at which a process began: both
together with the process id name one process for ever.
"""

from __future__ import annotations

import os
from pathlib import Path

from kuramori.repository.process_identity import process_is_alive

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def process_mark(pid: int | None = None) -> str:
    """Return what names a process beside its number (default: this one); empty if the system does
    not tell, or there is no such process."""
    try:
        boot = _BOOT.read_text().strip()
        # proc(5): the command's name stands in brackets and may hold anything; field 22 is the 20th after it.
        ticks = Path(f"/proc/{pid or os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}/{ticks}"


def still_runs(pid: int, mark: str, since_nanoseconds: int) -> bool:
    """Tell whether the process that had ``pid`` and ``mark`` may still run.

    Args:
        since_nanoseconds: an instant at which it ran, used only where there is no mark.
    """
    return process_mark(pid) == mark if mark else process_is_alive(pid, since_nanoseconds)
