"""Making a file: all of a small one at once, or the beginning of a large one."""

from __future__ import annotations

import os
from contextlib import suppress

from kuramori.restoring.metadata import Metadata, MetadataApplier
from kuramori.restoring.target import clear_at

SMALL_BLOB = 128 * 1024
"""Bytes below which a blob costs system calls and Python rather than arithmetic."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_file(name: bytes, directory: int, mode: int = 0o600) -> int:
    """Make a new empty file in an open folder, in place of what stands there; return a descriptor.

    Args:
        mode: less what the process masks.

    Raises:
        OSError: that is not possible; a folder is only replaced if it is empty.
    """
    try:
        return os.open(name, _CREATE, mode, dir_fd=directory)
    except FileExistsError:
        clear_at(name, directory)
        return os.open(name, _CREATE, mode, dir_fd=directory)


def write_whole_file(name: bytes, directory: int, data: bytes | memoryview, metadata: Metadata,
                     applier: MetadataApplier, mode: int = 0o600) -> None:
    """Make a file with its content and metadata. If that fails, nothing is left of it.

    Args:
        mode: what it has until its metadata is applied.

    Raises:
        OSError, OverflowError, ValueError: it failed.
    """
    fd = create_file(name, directory, mode)
    try:
        write_all(fd, data, None)
        applier.apply_to_open(fd, metadata, new=True)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview, offset: int | None) -> None:
    """Write everything, at the position or at ``offset``.

    Raises:
        OSError
    """
    while data:
        count = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
        if count == len(data):
            return
        data = memoryview(data)[count:]
        if offset is not None:
            offset += count
