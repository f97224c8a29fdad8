"""The folder that is restored into, entered only through descriptors.

Whatever a repository says and whoever plants links in the target meanwhile: every name is opened
relative to the descriptor of its folder, with ``O_NOFOLLOW``, so that no byte and no attribute
lands outside. A path of any length and depth works.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_FOLDER = {errno.ENOTDIR, errno.ELOOP}
_CACHED = 128


class _Handle:
    __slots__ = ("fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0


class TargetFolder:
    """A folder and everything below it. Paths are bytes relative to it, ``b""`` is itself.

    May be used by several threads. The number of open descriptors is bounded.
    """

    def __init__(self, path: bytes) -> None:
        """Open ``path``, and make it and what leads to it if it is not there.

        Raises:
            OSError: that is not possible.
        """
        os.makedirs(path, mode=0o700, exist_ok=True)
        self._begin(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def from_descriptor(cls, fd: int) -> TargetFolder:
        """Take over an open folder."""
        target = cls.__new__(cls)
        target._begin(fd)
        return target

    def _begin(self, root: int) -> None:
        self._root = root
        self._handles: OrderedDict[bytes, _Handle] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def descriptor(self) -> int:
        """The open descriptor of the folder itself."""
        return self._root

    def close(self) -> None:
        """Close all descriptors. May be called more than once."""
        with self._guard:
            for handle in self._handles.values():
                os.close(handle.fd)
            self._handles.clear()
            if self._root >= 0:
                os.close(self._root)
                self._root = -1

    @contextmanager
    def folder(self, path: bytes) -> Iterator[int]:
        """Lend a descriptor of the folder at ``path``, which must be there.

        Raises:
            OSError: it is not there, or a component is no folder (a link is none).
        """
        if not path:
            yield self._root
            return
        handle = self._borrow(path)
        try:
            yield handle.fd
        finally:
            with self._guard:
                handle.users -= 1

    def _borrow(self, path: bytes) -> _Handle:
        with self._guard:
            handle = self._handles.get(path)
            if handle is not None:
                self._handles.move_to_end(path)
                handle.users += 1
                return handle
        opened = _Handle(self._walk(path))
        opened.users = 1
        with self._guard:
            handle = self._handles.get(path)
            if handle is not None:  # another thread was quicker
                os.close(opened.fd)
                handle.users += 1
                return handle
            self._handles[path] = opened
            self._shrink()
        return opened

    def _shrink(self) -> None:
        """Close what was not used for longest and is used by nobody."""
        if len(self._handles) <= _CACHED:
            return
        unused = [path for path, handle in self._handles.items() if not handle.users]
        for path in unused[: len(self._handles) - _CACHED]:
            os.close(self._handles.pop(path).fd)

    def _walk(self, path: bytes) -> int:
        """Open a folder from the nearest one that is open, one component at a time."""
        known, rest = self._nearest(path)
        fd = known
        for part in rest:
            try:
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _nearest(self, path: bytes) -> tuple[int, list[bytes]]:
        parts: list[bytes] = []
        above = path
        with self._guard:
            while above:
                handle = self._handles.get(above)
                if handle is not None:
                    return os.dup(handle.fd), parts
                above, _, part = above.rpartition(b"/")
                parts.insert(0, part)
            return os.dup(self._root), parts

    def make_folder(self, outer: bytes, name: bytes) -> bool:
        """Make sure that ``name`` in the folder ``outer`` is a folder; what else stands there is
        removed, never followed.

        Returns:
            True if it is new.

        Raises:
            OSError: that is not possible.
        """
        with self.folder(outer) as fd:
            for _ in range(8):  # somebody may race with us; do not let him win for ever
                try:
                    os.mkdir(name, 0o700, dir_fd=fd)
                    return True
                except FileExistsError:
                    pass
                try:
                    os.close(os.open(name, _FOLDER_FLAGS, dir_fd=fd))
                    return False
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno not in _NOT_A_FOLDER:
                        raise
                _unlink(name, fd)
        raise OSError(errno.EBUSY, "something keeps taking its place")

    def status(self, outer: bytes, name: bytes) -> os.stat_result | None:
        """Return what ``lstat`` says of ``name`` in the folder ``outer``; None if nothing is there."""
        with self.folder(outer) as fd:
            return status_at(name, fd)

    def clear_for(self, outer: bytes, name: bytes) -> None:
        """Remove what stands at ``name`` so that something that is no folder can take its place. A
        folder goes only if it is empty.

        Raises:
            OSError: it cannot be removed.
        """
        with self.folder(outer) as fd:
            clear_at(name, fd)

    def remove_tree(self, outer: bytes, name: bytes) -> Iterator[bytes]:
        """Remove ``name`` and all below it; yield the path of everything removed. Links are removed
        and not followed.

        Raises:
            OSError: something cannot be removed.
        """
        path = b"/".join((outer, name)) if outer else name
        with self.folder(outer) as fd:
            status = status_at(name, fd)
            if status is None:
                return
            if not stat.S_ISDIR(status.st_mode):
                _unlink(name, fd)
                yield path
                return
        stack = [(outer, name, False)]
        while stack:
            above, entry, emptied = stack.pop()
            inner = b"/".join((above, entry)) if above else entry
            if emptied:
                self._forget(inner)
                with self.folder(above) as fd:
                    os.rmdir(entry, dir_fd=fd)
                yield inner
                continue
            stack.append((above, entry, True))
            with self.folder(inner) as fd:
                for found in os.listdir(fd):
                    child = os.fsencode(found)
                    status = os.stat(child, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        stack.append((inner, child, False))
                    else:
                        _unlink(child, fd)
                        yield b"/".join((inner, child))

    def tree_below(self, outer: bytes, name: bytes) -> Iterator[bytes]:
        """Yield the paths that :meth:`remove_tree` would remove, and remove nothing.

        Raises:
            OSError: a folder cannot be read.
        """
        stack = [(outer, name)]
        while stack:
            above, entry = stack.pop()
            path = join(above, entry)
            status = self.status(above, entry)
            if status is not None:
                yield path
            if status is not None and stat.S_ISDIR(status.st_mode):
                with self.folder(path) as fd:
                    stack.extend((path, os.fsencode(found)) for found in sorted(os.listdir(fd), reverse=True))

    def _forget(self, path: bytes) -> None:
        with self._guard:
            handle = self._handles.get(path)
            if handle is not None and not handle.users:
                del self._handles[path]
                os.close(handle.fd)


def existing_folder(path: bytes) -> TargetFolder | None:
    """Return the folder at ``path``, or None if there is none that can be opened."""
    try:
        return TargetFolder.from_descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return None


def status_at(name: bytes, fd: int) -> os.stat_result | None:
    """Return what ``lstat`` says of a name in an open folder; None if nothing is there."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def clear_at(name: bytes, fd: int) -> None:
    """Remove what stands at a name in an open folder; a folder only if it is empty.

    Raises:
        OSError: it cannot be removed.
    """
    status = status_at(name, fd)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(name, dir_fd=fd)
    else:
        _unlink(name, fd)


def _unlink(name: bytes, fd: int) -> None:
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass


def join(outer: bytes, name: bytes) -> bytes:
    """Return the relative path of ``name`` in the folder ``outer``."""
    return outer + b"/" + name if outer else name
