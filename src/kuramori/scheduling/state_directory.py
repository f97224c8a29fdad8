"""The folder where the daemon keeps what it must not forget, for one daemon at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kuramori.errors import DaemonRunningError, StateError
from kuramori.storage.durable_file import lock_if_possible, make_folders

_LOCK = "daemon.lock"


@contextmanager
def sole_daemon(state_directory: Path) -> Iterator[None]:
    """Make the folder if it is missing (for the owner only) and hold it for a ``with`` block. The lock
    (flock) goes with the process, however that ends.

    Raises:
        DaemonRunningError: another process holds it.
        StateError: it cannot be made or written.
    """
    try:
        make_folders(str(state_directory.absolute()), 0o700)
        fd = os.open(state_directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(path=str(state_directory), detail=error.strerror or "") from None
    try:
        if not lock_if_possible(fd):
            raise DaemonRunningError(path=str(state_directory))
        yield
    finally:
        os.close(fd)


def daemon_runs(state_directory: Path) -> bool:
    """Tell whether a daemon works with a state directory. Makes nothing."""
    try:
        fd = os.open(state_directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not lock_if_possible(fd)
    finally:
        os.close(fd)
