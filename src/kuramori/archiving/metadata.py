"""What a node says of a file besides its content (format sections 2.2 and 2.4)."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Sequence

from kuramori.errors import SourceError
from kuramori.model.json import replace_undecodable
from kuramori.model.names import display_text, quote_name
from kuramori.model.node import ExtendedAttribute, Node, encode_node, set_link_target, to_go_mode
from kuramori.model.times import format_nanoseconds

_NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ENODATA})
_HAS_ATTRIBUTES = hasattr(os, "listxattr")

_PLAIN_NAMES = re.compile(rb"[A-Za-z0-9._ +,=@:;~#%^()\[\]{}!?*$|'`/-]+")
"""File names, with slashes between them, that stand in JSON as they are, also in Go's."""
BETWEEN_IDS = '","'
"""What stands between the ids of a node's blobs."""
_TEMPLATES = 4096
_WITH_LINKS = frozenset({"file", "symlink", "dev", "chardev"})


class OwnerNames:
    """Names of users and groups, looked up once each."""

    def __init__(self) -> None:
        """Begin with nothing looked up."""
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        """Return the user's name, or an empty string if there is none."""
        name = self._users.get(uid)
        if name is None:
            name = self._users[uid] = _look_up_user(uid)
        return name

    def group(self, gid: int) -> str:
        """Return the group's name, or an empty string if there is none."""
        name = self._groups.get(gid)
        if name is None:
            name = self._groups[gid] = _look_up_group(gid)
        return name


def _look_up_user(uid: int) -> str:
    import pwd

    try:
        return replace_undecodable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return ""


def _look_up_group(gid: int) -> str:
    import grp

    try:
        return replace_undecodable(grp.getgrgid(gid).gr_name)
    except (KeyError, OverflowError):
        return ""


class _Template:
    """What the nodes of files of one owner, mode and device have in common, as JSON with gaps."""

    __slots__ = ("gaps",)

    _MARKS = ("\x01name", "\x01mtime", "\x01atime", "\x01ctime")
    _NUMBERS = (2**64 - 59, 2**64 - 83)  # no inode and no size, and no part of one another

    def __init__(self, node: Node) -> None:
        """Take what ``node`` has besides name, times, inode, size and content."""
        node.name, node.mtime, node.atime, node.ctime = self._MARKS
        node.inode, node.size = self._NUMBERS
        node.content = ["\x01id"]
        rest = encode_node(node).decode()
        self.gaps: list[str] | None = []
        for mark in (*(f"\\u0001{mark[1:]}" for mark in self._MARKS), *map(str, self._NUMBERS), '"\\u0001id"'):
            before, found, rest = rest.partition(mark)
            if not found or mark in rest:
                self.gaps = None  # the name of an owner looks like it
                return
            self.gaps.append(before)
        self.gaps.append(rest)


class NodeBuilder:
    """Makes nodes from ``stat`` results."""

    def __init__(self, with_atime: bool = False) -> None:
        """Make nodes that hold the time of last access only if ``with_atime``."""
        self._with_atime = with_atime
        self.names = OwnerNames()
        self._templates: dict[tuple[int, int, int, int, int], _Template] = {}

    def build(self, name: bytes, status: os.stat_result) -> Node:
        """Return a node without content, subtree, link target and attributes."""
        kind, mode = to_go_mode(status.st_mode)
        mtime = format_nanoseconds(status.st_mtime_ns)
        ctime_ns = status.st_ctime_ns
        return Node(
            name=quote_name(name), type=kind, mode=mode, mtime=mtime,
            atime=format_nanoseconds(status.st_atime_ns) if self._with_atime else mtime,
            ctime=mtime if ctime_ns == status.st_mtime_ns else format_nanoseconds(ctime_ns),
            uid=status.st_uid, gid=status.st_gid,
            user=self.names.user(status.st_uid), group=self.names.group(status.st_gid),
            inode=status.st_ino, device_id=status.st_dev,
            links=status.st_nlink if kind in _WITH_LINKS else 0,
            device=status.st_rdev if kind in ("dev", "chardev") else 0,
            content=None,
        )

    def encode_plain_files(self, names: Sequence[bytes], statuses: Iterable[os.stat_result], sizes: Sequence[int],
                           contents: Iterable[str]) -> list[bytes] | None:
        """Return the encoded nodes of regular files without attributes, byte for byte as :func:`encode_node` encodes
        what :meth:`build` makes, in a fifth of the time; None where that is to be asked for one of them.

        Args:
            sizes: bytes of the content of each.
            contents: hexadecimal ids of the blobs of each, with :data:`BETWEEN_IDS` between them.
        """
        joined = b"/".join(names)
        if 0 in sizes or _PLAIN_NAMES.fullmatch(joined) is None:
            return None
        texts = joined.decode().split("/")
        if len(texts) != len(names):
            return None  # no name of a file holds a slash
        encoded: list[bytes] = []
        owner: tuple[int, ...] = ()
        gaps: list[str] | None = None
        for name, status, size, content in zip(texts, statuses, sizes, contents, strict=True):
            this = (status.st_mode, status.st_uid, status.st_gid, status.st_dev, status.st_nlink)
            if this != owner:
                owner, gaps = this, self._gaps(this, status)
            inode = status.st_ino
            if gaps is None or not inode or not content:
                return None
            modified, changed = status.st_mtime_ns, status.st_ctime_ns
            mtime = format_nanoseconds(modified)
            ctime = mtime if changed == modified else format_nanoseconds(changed)
            atime = format_nanoseconds(status.st_atime_ns) if self._with_atime else mtime
            first, second, third, fourth, fifth, sixth, seventh, last = gaps
            encoded.append((f"{first}{name}{second}{mtime}{third}{atime}{fourth}{ctime}{fifth}{inode}{sixth}{size}"
                            f'{seventh}"{content}"{last}').encode())
        return encoded

    def _gaps(self, owner: tuple[int, int, int, int, int], status: os.stat_result) -> list[str] | None:
        """Return the text between what differs of files of one owner, mode, device and number of links."""
        template = self._templates.get(owner)
        if template is None:
            if len(self._templates) > _TEMPLATES:
                self._templates.clear()
            template = self._templates[owner] = _Template(self.build(b"name", status))
        return template.gaps

    def build_other(self, name: bytes, path: bytes, status: os.stat_result, directory: int) -> Node:
        """Return the whole node of a symlink, FIFO or device.

        Args:
            path: its path, for attributes and errors.
            directory: a descriptor of its directory.

        Raises:
            SourceError: it could not be read.
        """
        node = self.build(name, status)
        try:
            if stat.S_ISLNK(status.st_mode):
                set_link_target(node, os.readlink(name, dir_fd=directory))
            node.extended_attributes = read_attributes(entry_path(path, name, directory))
        except OSError as error:
            raise SourceError(path=display_text(path), detail=error.strerror or str(error)) from None
        return node


def entry_path(path: bytes, name: bytes, directory: int) -> bytes:
    """Return a path to an entry that the system accepts, also where the real one is too long."""
    if len(path) < 4000:
        return path
    return b"/proc/self/fd/%d/%s" % (directory, name)


def read_attributes(target: bytes | int) -> list[ExtendedAttribute] | None:
    """Return the extended attributes of a path (links are not followed) or an open file, in the
    system's order; None if there are none or the file system has none.

    Raises:
        OSError: they exist and could not be read.
    """
    if not _HAS_ATTRIBUTES:
        return None
    followed = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=followed)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return None
        raise
    if not names:
        return None
    found = []
    for name in names:
        try:
            value = os.getxattr(target, name, follow_symlinks=followed)
        except OSError as error:
            if error.errno in _NO_ATTRIBUTES:
                continue  # gone meanwhile, or not ours to read
            raise
        found.append(ExtendedAttribute(replace_undecodable(name), value))
    return found or None
