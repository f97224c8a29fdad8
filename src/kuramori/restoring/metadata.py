"""Owner, attributes, times and mode of what was restored (format section 5.7)."""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

from kuramori.model.node import ExtendedAttribute, Node
from kuramori.model.times import parse_nanoseconds

_UNSUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP}
_REFUSED = {errno.EPERM, errno.EACCES}
_LARGEST_ID = 2**32 - 2
_HAS_ATTRIBUTES = hasattr(os, "setxattr")


class Metadata(Protocol):
    """What of a node can be applied."""

    @property
    def uid(self) -> int:
        """Number of the owner."""
        ...

    @property
    def gid(self) -> int:
        """Number of the group."""
        ...

    @property
    def permissions(self) -> int:
        """The mode as ``chmod`` takes it."""
        ...

    @property
    def mtime(self) -> str:
        """Time of the last change, as the format writes it."""
        ...

    @property
    def atime(self) -> str:
        """Time of the last access."""
        ...

    @property
    def extended_attributes(self) -> list[ExtendedAttribute] | None:
        """The attributes; None for none."""
        ...


class MetadataApplier:
    """Applies the metadata of nodes. May be used by several threads."""

    def __init__(self) -> None:
        """Note whether everything should be allowed to us."""
        self._root = os.geteuid() == 0

    def apply_to_open(self, fd: int, node: Metadata, new: bool) -> None:
        """Apply to an open file or folder, in the order owner, attributes, times, mode.

        Args:
            new: it was just made by this process, so that it has no attributes yet.

        Raises:
            OSError: something could not be applied, though we should be allowed to.
        """
        status = os.fstat(fd)
        same_mode = stat.S_IMODE(status.st_mode) == node.permissions
        if status.st_uid != node.uid or status.st_gid != node.gid:
            self._change_owner(fd, node)
            same_mode = False  # it takes set-id bits away
        if not new or node.extended_attributes:
            self._set_attributes(fd, node, new, follow=True)
            same_mode = False  # an access list is a mode, too
        _set_times(fd, node)
        if not same_mode:
            os.fchmod(fd, node.permissions)

    def apply_to_name(self, name: bytes, directory: int, node: Node) -> None:
        """Apply to a symlink, FIFO or device that was just made in an open folder.

        Raises:
            OSError: something could not be applied, though we should be allowed to.
        """
        try:
            os.chown(name, _owner(node.uid), _owner(node.gid), dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if self._root or error.errno not in _REFUSED:
                raise
        if node.extended_attributes:
            self._set_attributes(b"/proc/self/fd/%d/%s" % (directory, name), node, True, follow=False)
        moment = parse_nanoseconds(node.mtime)
        os.utime(name, ns=(parse_nanoseconds(node.atime), moment), dir_fd=directory, follow_symlinks=False)
        if node.type != "symlink":
            # No *at call changes a mode without following; what stands there was made a moment ago, and
            # a link that took its place is noticed by opening it as what it should be.
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.chmod(b"/proc/self/fd/%d" % fd, node.permissions)
            finally:
                os.close(fd)

    def _change_owner(self, fd: int, node: Metadata) -> None:
        try:
            os.fchown(fd, _owner(node.uid), _owner(node.gid))
        except OSError as error:
            if self._root or error.errno not in _REFUSED:
                raise

    def _set_attributes(self, target: int | bytes, node: Metadata, new: bool, follow: bool) -> None:
        if not _HAS_ATTRIBUTES:
            return
        wanted = {attribute.name: attribute.value or b"" for attribute in node.extended_attributes or ()}
        try:
            present = [] if new else os.listxattr(target, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            present = []
        for name in present:
            if name not in wanted:
                self._tolerate(os.removexattr, target, name, follow_symlinks=follow)
        for name, value in wanted.items():
            self._tolerate(os.setxattr, target, name, value, follow_symlinks=follow)

    def _tolerate(self, call: object, *arguments: object, **keywords: object) -> None:
        """Call, and let pass what an ordinary user or another file system is not allowed."""
        assert callable(call)
        try:
            call(*arguments, **keywords)
        except OSError as error:
            allowed = error.errno in _UNSUPPORTED or error.errno == errno.ENODATA
            if not allowed and (self._root or error.errno not in _REFUSED):
                raise


def _owner(number: int) -> int:
    """Return an id as the system takes it; one beyond its range is left as it is (-1)."""
    return number if number <= _LARGEST_ID else -1


def _set_times(fd: int, node: Metadata) -> None:
    modified = parse_nanoseconds(node.mtime)
    accessed = modified if node.atime == node.mtime else parse_nanoseconds(node.atime)
    os.utime(fd, ns=(accessed, modified))
