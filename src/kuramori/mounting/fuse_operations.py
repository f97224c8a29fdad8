"""What the kernel asks of a file system, answered from a virtual tree.

The methods have the names and arguments that FUSE's libraries for Python agree on, so they work
without the kernel as well. What goes wrong is an ``OSError`` with the number that the asking program
gets to see.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator

from kuramori.errors import KuramoriError, NoSuchEntryError, NotAFolderError
from kuramori.mounting.file_reader import FileReader
from kuramori.mounting.virtual_tree import Located, VirtualTree

_BLOCK = 512
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT
Status = dict[str, int]
"""Fields of ``struct stat`` by their names; times in nanoseconds."""


class FuseOperations:
    """Answers of a file system that can only be read. May be used by several threads.

    Attributes:
        use_ns: tells the library that times are nanoseconds.
    """

    use_ns = True

    def __init__(self, tree: VirtualTree, on_ready: Callable[[], None] | None = None) -> None:
        """Show ``tree``.

        Args:
            on_ready: called once, when the kernel begins to ask.
        """
        self._tree = tree
        self._on_ready = on_ready
        self._readers: dict[int, FileReader] = {}
        self._last_handle = 0
        self._guard = threading.Lock()

    def init(self, path: str) -> None:
        """The kernel begins to ask."""
        if self._on_ready is not None:
            self._on_ready()

    # --- what is there -------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> Status:
        """Return the status of what is at a path."""
        return status_of(self.locate(encoded(path)))

    def readdir(self, path: str, fh: int) -> list[tuple[str, Status, int]]:
        """Return the names in a folder with their status (and 0 for the place in the list)."""
        return [(name.decode("utf-8", "surrogateescape"), status_of(located), 0)
                for name, located in self.list_folder(encoded(path))]

    def locate(self, path: bytes) -> Located:
        """Return what is at a path."""
        with _AS_SYSTEM_ERRORS:
            return self._tree.find(_without_slash(path))

    def attributes(self, path: bytes) -> dict[bytes, bytes] | None:
        """Return the extended attributes of what is at a path."""
        with _AS_SYSTEM_ERRORS:
            return self._tree.find_entry(_without_slash(path)).attributes

    def list_folder(self, path: bytes) -> Iterator[tuple[bytes, Located]]:
        """Yield the names in a folder with what they stand for; also ``.`` and ``..``."""
        folder = _without_slash(path)
        own, above = self.locate(folder), self.locate(folder.rpartition(b"/")[0])
        with _AS_SYSTEM_ERRORS:
            entries = self._tree.list_folder(folder)
        yield b".", own
        yield b"..", above
        for located in entries:
            yield located.entry.name, located

    def readlink(self, path: str) -> str:
        """Return the target of a symlink."""
        entry = self.locate(encoded(path)).entry
        if not entry.is_symlink:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return entry.target.decode("utf-8", "surrogateescape")

    def listxattr(self, path: str) -> list[str]:
        """Return the names of the extended attributes."""
        return [name.decode("utf-8", "surrogateescape") for name in self.attributes(encoded(path)) or ()]

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """Return an extended attribute."""
        value = (self.attributes(encoded(path)) or {}).get(encoded(name))
        if value is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return value

    def statfs(self, path: str) -> dict[str, int]:
        """Return what there is of room: none."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}

    # --- reading -------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        """Open a file; return the number by which it is read."""
        if flags & _WRITING:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        with _AS_SYSTEM_ERRORS:
            reader = self._tree.open_file(encoded(path))
        with self._guard:
            self._last_handle += 1
            self._readers[self._last_handle] = reader
            return self._last_handle

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Return bytes of an open file."""
        with _AS_SYSTEM_ERRORS:
            try:
                return self._readers[fh].read(offset, size)
            except KuramoriError as error:
                raise self._tree.report(encoded(path), error) from None

    def release(self, path: str, fh: int) -> int:
        """Close a file."""
        with self._guard:
            self._readers.pop(fh, None)
        return 0


def status_of(located: Located) -> Status:
    """Return the fields of ``struct stat`` of an entry."""
    entry = located.entry
    return {
        "st_mode": entry.mode, "st_ino": located.inode, "st_nlink": entry.links, "st_uid": entry.uid,
        "st_gid": entry.gid, "st_rdev": entry.device, "st_size": entry.size, "st_blksize": 4096,
        "st_blocks": -(-entry.size // _BLOCK), "st_atime": entry.accessed, "st_mtime": entry.modified,
        "st_ctime": entry.changed,
    }


class _SystemErrors:
    """Turns our errors into those of the system in a ``with`` block. Details were reported where they
    arose."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, KuramoriError):
            return
        number = errno.EIO
        if isinstance(error, NoSuchEntryError):
            number = errno.ENOENT
        elif isinstance(error, NotAFolderError):
            number = errno.ENOTDIR
        raise OSError(number, os.strerror(number)) from None


_AS_SYSTEM_ERRORS = _SystemErrors()


def _without_slash(path: bytes) -> bytes:
    """Return a path as the tree wants it: the root is empty."""
    return b"" if path == b"/" else path


def encoded(text: str) -> bytes:
    """Return a path or a name as bytes."""
    return text.encode("utf-8", "surrogateescape")
