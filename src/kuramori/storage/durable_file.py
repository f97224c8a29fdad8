"""Writing so that it is on the disk, and reading ranges, with plain file descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence

from kuramori.storage.backend import Buffer

_MOST_PARTS = min(os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16, 1024)
_NOT_SUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP}
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def write_all(fd: int, parts: Sequence[Buffer]) -> int:
    """Write the buffers one after the other, whole; return how many bytes.

    Raises:
        OSError: a part of it may be written.
    """
    views = [view for view in (memoryview(part).cast("B") for part in parts) if len(view)]
    total = sum(map(len, views))
    first = 0
    while first < len(views):
        written = os.writev(fd, views[first : first + _MOST_PARTS])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]
    return total


def read_range(fd: int, offset: int, length: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or fewer where the file ends before.

    Raises:
        OSError: it cannot be read.
    """
    data = os.pread(fd, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    done = len(data)
    while data and done < length:  # Linux reads at most 2 GiB at once
        data = os.pread(fd, length - done, offset + done)
        pieces.append(data)
        done += len(data)
    return b"".join(pieces)


def sync_file(fd: int) -> None:
    """Return when everything written to ``fd`` is on the disk, if the file system can tell.

    Raises:
        OSError: it may not be there. Do not try again: write the file anew.
    """
    try:
        if _FULL_SYNC is not None:  # macOS: fsync alone leaves data in the disk's own cache
            fcntl.fcntl(fd, _FULL_SYNC)
        else:
            os.fsync(fd)
    except OSError as error:
        if error.errno == errno.ENOTTY and _FULL_SYNC is not None:
            os.fsync(fd)
        elif error.errno not in _NOT_SUPPORTED:
            raise


def sync_folder(path: str) -> None:
    """Return when the names in a folder are on the disk, if the file system can tell.

    Raises:
        OSError: they may not be there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED | {errno.EINVAL}:
            raise
    finally:
        os.close(fd)


def make_folder(path: str, mode: int) -> bool:
    """Make one folder if there is none; return whether it was made. Its name is not synced.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return False
    return True


def make_folders(path: str, mode: int) -> None:
    """Make a folder and those above it, as far as they are missing, and sync their names.

    Raises:
        OSError: one cannot be made.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make_folders(above, mode)
    if make_folder(path, mode):
        sync_folder(above)


def lock_if_possible(fd: int) -> bool:
    """Take the exclusive lock (flock) of an open file without waiting; it goes with the last
    descriptor, also of a killed process. Return False where somebody holds it. A file system
    without such locks counts as one where nobody does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
