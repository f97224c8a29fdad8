"""Who we are on this machine, and whether another process still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple


class ProcessIdentity(NamedTuple):
    """What a lock or a key says of its owner."""

    hostname: str
    username: str
    pid: int
    uid: int
    gid: int


def current_identity() -> ProcessIdentity:
    """Return the identity of this process, as restic on this machine would give it."""
    return ProcessIdentity(socket.gethostname(), _username(), os.getpid(), os.getuid(), os.getgid())


def _username() -> str:
    try:
        import pwd
    except ImportError:  # not a Unix
        return ""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def process_is_alive(pid: int, since_nanoseconds: int) -> bool:
    """Tell whether the process that had ``pid`` at an instant may still run.

    A process that began clearly later only inherited the number.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives, but belongs to somebody else
    started = _started_nanoseconds(pid)
    # Ten seconds of tolerance: the boot time is known to the second and clocks are set.
    return started is None or started <= since_nanoseconds + 10_000_000_000


def _started_nanoseconds(pid: int) -> int | None:
    """Return when a process began (Linux: proc(5), field 22 of stat), or None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        ticks = os.sysconf("SC_CLK_TCK")
        return int(boot.split()[1]) * 1_000_000_000 + int(fields[19]) * 1_000_000_000 // ticks
    except (OSError, ValueError, IndexError, StopIteration):
        return None
