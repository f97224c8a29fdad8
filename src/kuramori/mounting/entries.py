"""What a folder holds, made ready to be shown."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Final

import msgspec

from kuramori.browsing.walk import checked_name
from kuramori.errors import N_, DamagedError, HostileNameError, KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_nanoseconds
from kuramori.model.tree import Tree
from kuramori.mounting.layout import LATEST, Menu

LONGEST_NAME = 1024
"""Bytes; Linux refuses to list a folder in which one is longer."""
_NOBODY = 65534
_LARGEST_OWNER = 2**32 - 2
_LARGEST_SIZE = 2**63 - 1
_ENTRY_BYTES = 700
_KINDS: Final = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "dev": stat.S_IFBLK,
                 "chardev": stat.S_IFCHR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}


class Entry(msgspec.Struct, kw_only=True):
    """One entry of a folder that is shown."""

    name: bytes
    mode: int
    """As ``st_mode``: kind and permissions."""
    size: int = 0
    links: int = 1
    uid: int = 0
    gid: int = 0
    device: int = 0
    """Number of a device file."""
    modified: int = 0
    """Times are nanoseconds since 1970-01-01 UTC."""
    accessed: int = 0
    changed: int = 0
    target: bytes = b""
    """Of a symlink."""
    attributes: dict[bytes, bytes] | None = None
    """Extended ones."""
    content: bytes = b""
    """Of a file: the ids of its blobs, 32 bytes each."""
    link: tuple[int, int] | None = None
    """Device and inode, where a file may have several names."""
    tree: Id | None = None
    """Of a folder in a snapshot."""
    menu: Menu | None = None
    """Of a folder above the snapshots."""
    leads_to_snapshot: bool = False
    """A symlink that was not saved, but made here: its target is a name beside it."""
    problem: KuramoriError | None = None
    """Why it can be listed but not opened."""

    @property
    def is_folder(self) -> bool:
        """Whether it holds entries."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it has content."""
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Whether it only leads to another name."""
        return stat.S_ISLNK(self.mode)

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes, about."""
        more = sum(len(name) + len(value) + 150 for name, value in (self.attributes or {}).items())
        return _ENTRY_BYTES + len(self.name) + len(self.content) + len(self.target) + more


Folder = dict[bytes, Entry]
"""Entries by their names, in the order in which they are listed."""


def folder_of_menu(menu: Menu, owner: tuple[int, int]) -> Folder:
    """Return the entries of a folder above the snapshots.

    Args:
        owner: whom they belong to.
    """
    entries: Folder = {}
    for name, inner in sorted(menu.menus.items()):
        entries[name] = menu_entry(inner, owner, name)
    for name, stored in sorted(menu.snapshots.items()):
        entries[name] = _snapshot_entry(name, stored, owner)
    if menu.latest is not None:
        entries[LATEST] = _shown_entry(LATEST, stat.S_IFLNK | 0o777, menu.newest, owner)
        entries[LATEST].target, entries[LATEST].size = menu.latest, len(menu.latest)
        entries[LATEST].leads_to_snapshot = True
    return entries


def menu_entry(menu: Menu, owner: tuple[int, int], name: bytes = b"") -> Entry:
    """Return the entry of a folder above the snapshots."""
    entry = _shown_entry(name, stat.S_IFDIR | 0o555, menu.newest, owner)
    entry.menu = menu
    return entry


def _snapshot_entry(name: bytes, stored: StoredSnapshot, owner: tuple[int, int]) -> Entry:
    entry = _shown_entry(name, stat.S_IFDIR | 0o555, stored.snapshot.time_nanoseconds, owner)
    entry.tree = Id(bytes.fromhex(stored.snapshot.tree))
    return entry


def _shown_entry(name: bytes, mode: int, instant: int, owner: tuple[int, int]) -> Entry:
    return Entry(name=name, mode=mode, uid=owner[0], gid=owner[1], modified=instant, accessed=instant,
                 changed=instant)




def folder_of_tree(tree: Tree, path: bytes, on_error: Callable[[bytes, KuramoriError], object]) -> Folder:
    """Return the entries of a folder in a snapshot. What no folder may hold is left out and reported.

    Args:
        path: of the folder, for what is reported.
        on_error: takes a path and what is wrong there.
    """
    entries: Folder = {}
    for node in tree.nodes:
        try:
            name = checked_name(path, node)
            if len(name) > LONGEST_NAME:
                raise HostileNameError(path=display_text(name[:80]), detail=N_("it is too long"))
            if name in entries:
                raise HostileNameError(path=display_text(path + b"/" + name), detail=N_("it comes twice"))
            entries[name] = _entry_of_node(name, node)
        except KuramoriError as error:
            on_error(path, error)
    return entries


def _entry_of_node(name: bytes, node: Node) -> Entry:
    kind = _KINDS.get(node.type)
    if kind is None:
        raise DamagedError(what=display_text(name), detail=N_("it is of no known type"))
    entry = Entry(
        name=name, mode=kind | node.permissions, size=min(node.size, _LARGEST_SIZE), links=_number(node.links) or 1,
        uid=_owner(node.uid), gid=_owner(node.gid), modified=_instant(node.mtime), accessed=_instant(node.atime),
        changed=_instant(node.ctime))
    if kind == stat.S_IFREG:
        try:
            entry.content = b"".join(map(parse_id, node.content_ids))
        except ValueError as error:
            entry.problem = DamagedError(what=display_text(name), detail=str(error))
    elif kind == stat.S_IFDIR:
        try:
            entry.tree = parse_id(node.subtree or "")
        except ValueError:
            entry.problem = DamagedError(what=display_text(name), detail=N_("it names no tree"))
    elif kind == stat.S_IFLNK:
        entry.target = node.target_bytes
        entry.size = len(entry.target)
    elif kind in (stat.S_IFBLK, stat.S_IFCHR):
        entry.device = _number(node.device)
    if node.links > 1 and kind != stat.S_IFDIR and node.inode:
        entry.link = (node.device_id, node.inode)
    if node.extended_attributes:
        entry.attributes = {attribute.name.encode("utf-8", "surrogateescape"): attribute.value or b""
                            for attribute in node.extended_attributes}
    return entry


def _number(value: int) -> int:
    return min(value, 2**31 - 1)


def _owner(value: int) -> int:
    return value if value <= _LARGEST_OWNER else _NOBODY


def _instant(text: str) -> int:
    try:
        return parse_nanoseconds(text)
    except ValueError:
        return 0
