"""Reading a small file of the user's, whatever may lie at its path instead."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """Something that is no regular file has the name: a folder, a pipe, a device."""

    def __init__(self, mode: int) -> None:
        """Keep the mode, as ``stat`` has it."""
        super().__init__()
        self.folder = stat.S_ISDIR(mode)


def read_regular_file(path: Path, most_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return at most so many bytes of a file, and its status at that time. Never waits for a pipe's other end.

    Raises:
        NotRegularError: it is no regular file.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(status.st_mode)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes), status
    finally:
        os.close(descriptor)
