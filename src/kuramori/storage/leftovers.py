"""Names of temporary files, and which of them nobody will finish."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
from typing import NamedTuple

from kuramori.storage.durable_file import lock_if_possible

_NAME = re.compile(r"(?:kuramori|config|[0-9a-f]{64})-tmp-(?P<host>[^/]+)-(?P<pid>[0-9]{1,10})-[0-9a-f]{16}")


def leftover_name(stem: str) -> str:
    """Return a new name for a temporary file.

    Args:
        stem: ``kuramori``, ``config`` or the 64 digits of the name it will get. Neither we nor
            restic take the result for a file of the repository.
    """
    return f"{stem}-tmp-{_host()}-{os.getpid()}-{secrets.token_hex(8)}"


class LeftoverWriter(NamedTuple):
    """Who writes or wrote a temporary file, as its name tells."""

    is_here: bool
    """On a machine with our name; another container may have it, too."""
    process: int
    is_alive: bool
    """A process of this number runs on this machine, as far as we can see."""


def leftover_writer(name: str) -> LeftoverWriter | None:
    """Return who writes a temporary file; None for other files.

    Args:
        name: of any file, without a folder.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    process = int(match["pid"])
    return LeftoverWriter(match["host"] == _host(), process, _process_exists(process))


def is_abandoned(path: str, before_nanoseconds: int) -> bool:
    """Tell whether ``path`` is a temporary file of ours that nobody will finish: its process on
    this host is gone, or it was last written before an instant, and nobody holds it open.

    Args:
        path: any file; names that are not ours are never abandoned.
        before_nanoseconds: since 1970-01-01 UTC.

    Raises:
        OSError: it cannot be looked at (``FileNotFoundError``: it is gone).
    """
    writer = leftover_writer(os.path.basename(path))
    if writer is None:
        return False
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return False
    owner_gone = writer.is_here and not writer.is_alive
    if not owner_gone and status.st_mtime_ns >= before_nanoseconds:
        return False
    # A process number says nothing about another container, which may share host name and disk:
    # the lock does.
    fd = _open(path)
    try:
        return lock_if_possible(fd)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS grants an exclusive lock only to a writer
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)  # it was read-only already: about to be renamed


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._]", "_", socket.gethostname())[:64] or "_"


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
