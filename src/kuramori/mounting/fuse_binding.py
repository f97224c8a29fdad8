"""The library that speaks with the kernel, and what it is told beyond its defaults. Importing this
loads it, so others do that when they mount.

``mfusepy`` gives folders to the kernel by names alone; the kernel then asks for the status of each
entry, which is most of the time that ``ls -l`` takes. FUSE 3 takes both at once, so that is done here.
"""

from __future__ import annotations

import logging
from ctypes import memmove
from errno import ERANGE
from typing import Any

import mfusepy

from kuramori.mounting.fuse_operations import FuseOperations
from kuramori.mounting.virtual_tree import Located

_FILL_WITH_STATUS = 2
"""FUSE_FILL_DIR_PLUS: what is filled in is whole."""
_WANT_STATUS = 1 << 13
"""FUSE_CAP_READDIRPLUS: the kernel may ask for entries with their status ..."""
_WANT_STATUS_SOMETIMES = 1 << 14
"""... FUSE_CAP_READDIRPLUS_AUTO: and by itself does so only for the first page of a folder."""
_SECONDS_VALID = 60.0
"""How long the kernel believes what it was told. Snapshots do not change; the folders above them do, and
what is new there is listed at once all the same."""

logging.getLogger("fuse").addHandler(logging.NullHandler())
logging.getLogger("fuse").propagate = False


class Operations(FuseOperations):
    """The same, and the settings of the connection."""

    def init_with_config(self, connection: Any, config: Any) -> None:
        """The kernel begins to ask; say how. Replaces ``init``."""
        if config is not None and mfusepy.fuse_version_major == 3:
            config.use_ino = 1
            config.kernel_cache = 1
            config.entry_timeout = config.attr_timeout = _SECONDS_VALID
        if connection is not None and mfusepy.fuse_version_major == 3 and connection.want & _WANT_STATUS:
            connection.want &= ~_WANT_STATUS_SOMETIMES
        self.init("/")


class Connection(mfusepy.FUSE):  # type: ignore[misc]
    """One mount; making it serves the kernel until the mount ends. What is asked most is answered with
    less ado than the library's own methods need.

    Raises:
        RuntimeError: the library's exit code, 1 to 8.
    """

    operations: Operations

    def getattr_fuse_3(self, path: bytes, status: Any, info: Any) -> int:
        """Fill in the status of what is at a path."""
        fill_status(status.contents, self.operations.locate(path))
        return 0

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int, *position: int) -> int:
        """Copy an extended attribute; most files have none."""
        attributes = self.operations.attributes(path)
        found = attributes.get(name) if attributes else None
        if found is None:
            return -int(mfusepy.ENOATTR)
        if not value:
            return len(found)
        if len(found) > size:
            return -ERANGE
        memmove(value, found, len(found))
        return len(found)

    def readdir_fuse_3(self, path: bytes, buffer: Any, fill: Any, offset: int, info: Any, flags: int) -> int:
        """List a folder, with the status of each entry."""
        status = mfusepy.c_stat()
        for name, located in self.operations.list_folder(path):
            fill_status(status, located)
            if fill(buffer, name, status, 0, _FILL_WITH_STATUS):
                break
        return 0


def fill_status(status: Any, located: Located) -> None:
    """Write an entry into the library's ``struct stat``."""
    entry = located.entry
    status.st_mode, status.st_ino, status.st_nlink = entry.mode, located.inode, entry.links
    status.st_uid, status.st_gid, status.st_rdev = entry.uid, entry.gid, entry.device
    status.st_size, status.st_blksize, status.st_blocks = entry.size, 4096, -(-entry.size // 512)
    for field, instant in (("st_atimespec", entry.accessed), ("st_mtimespec", entry.modified),
                           ("st_ctimespec", entry.changed)):
        time = getattr(status, field)
        time.tv_sec, time.tv_nsec = divmod(instant, 1_000_000_000)


VERSION_3 = mfusepy.fuse_version_major == 3
"""Whether the system's library is FUSE 3."""
TAKES_THREADS = VERSION_3 and mfusepy.fuse_version_minor >= 12
"""Whether it knows the option that bounds its threads."""
