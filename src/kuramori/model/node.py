"""A node of a tree: one entry of a directory (format sections 2.2 and 2.4)."""

from __future__ import annotations

import stat
from functools import lru_cache
from typing import Annotated

import msgspec

from kuramori.model.json import decode_json, escape_html, go_string
from kuramori.model.names import unquote_name

Unsigned = Annotated[int, msgspec.Meta(ge=0)]

NODE_TYPES = ("file", "dir", "symlink", "dev", "chardev", "fifo", "socket")

# Go's os.FileMode bits (format section 2.4).
_GO_DIR = 1 << 31
_GO_SYMLINK = 1 << 27
_GO_DEVICE = 1 << 26
_GO_FIFO = 1 << 25
_GO_SOCKET = 1 << 24
_GO_SETUID = 1 << 23
_GO_SETGID = 1 << 22
_GO_CHARDEV = 1 << 21
_GO_STICKY = 1 << 20

_KINDS: dict[int, tuple[str, int]] = {
    stat.S_IFREG: ("file", 0),
    stat.S_IFDIR: ("dir", _GO_DIR),
    stat.S_IFLNK: ("symlink", _GO_SYMLINK),
    stat.S_IFBLK: ("dev", _GO_DEVICE),
    stat.S_IFCHR: ("chardev", _GO_DEVICE | _GO_CHARDEV),
    stat.S_IFIFO: ("fifo", _GO_FIFO),
    stat.S_IFSOCK: ("socket", _GO_SOCKET),
}


class ExtendedAttribute(msgspec.Struct, frozen=True):
    """One extended attribute."""

    name: str
    value: bytes | None = b""
    """Base64 in JSON; an absent value is read as empty."""


class Node(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One entry of a directory. The order of the fields is the order in the file.

    ``name`` is the quoted form (:mod:`kuramori.model.names`); times are the format's text
    (:mod:`kuramori.model.times`); ids are hexadecimal.
    """

    name: str
    type: str
    mode: Unsigned = 0
    """Go's ``os.FileMode``."""
    mtime: str = "0001-01-01T00:00:00Z "
    atime: str = "0001-01-01T00:00:00Z "
    ctime: str = "0001-01-01T00:00:00Z "
    uid: Unsigned = 2**64 - 1
    gid: Unsigned = 2**64 - 1
    user: str = ""
    group: str = ""
    inode: Unsigned = 0
    device_id: Unsigned = 0
    size: Unsigned = 0
    links: Unsigned = 0
    linktarget: str = ""
    linktarget_raw: bytes | None = None
    extended_attributes: list[ExtendedAttribute] | None = None
    generic_attributes: dict[str, msgspec.Raw] | None = None
    device: Unsigned = 0
    content: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    subtree: str | None = None
    error: str = ""

    @property
    def name_bytes(self) -> bytes:
        """The name as it was on disk.

        Raises:
            ValueError: the quoted form is malformed.
        """
        return unquote_name(self.name)

    @property
    def target_bytes(self) -> bytes:
        """The target of a symlink, as it was on disk."""
        if self.linktarget_raw:
            return self.linktarget_raw
        return self.linktarget.encode("utf-8", "surrogateescape")

    @property
    def content_ids(self) -> list[str]:
        """The ids of a file's blobs in order; empty for everything else."""
        return self.content or []

    @property
    def permissions(self) -> int:
        """The mode as ``chmod`` takes it: permission, set-id and sticky bits."""
        return to_unix_permissions(self.mode)


def to_go_mode(st_mode: int) -> tuple[str, int]:
    """Return the node type and Go's mode for a ``st_mode``; an unknown kind is ``irregular``."""
    kind, bits = _KINDS.get(stat.S_IFMT(st_mode), ("irregular", 1 << 19))
    mode = bits | (st_mode & 0o777)
    if st_mode & stat.S_ISUID:
        mode |= _GO_SETUID
    if st_mode & stat.S_ISGID:
        mode |= _GO_SETGID
    if st_mode & stat.S_ISVTX:
        mode |= _GO_STICKY
    return kind, mode


@lru_cache(maxsize=1024)
def to_unix_permissions(go_mode: int) -> int:
    """Return the twelve bits that ``chmod`` sets for Go's mode."""
    mode = go_mode & 0o777
    if go_mode & _GO_SETUID:
        mode |= stat.S_ISUID
    if go_mode & _GO_SETGID:
        mode |= stat.S_ISGID
    if go_mode & _GO_STICKY:
        mode |= stat.S_ISVTX
    return mode


_ENCODER = msgspec.json.Encoder()
_NODE_DECODER = msgspec.json.Decoder(Node)


def set_link_target(node: Node, target: bytes) -> None:
    """Store a symlink's target; one that is not UTF-8 is kept raw as well."""
    try:
        node.linktarget = target.decode("utf-8")
    except UnicodeDecodeError:
        node.linktarget = target.decode("utf-8", "surrogateescape")
        node.linktarget_raw = target


def encode_node(node: Node) -> bytes:
    """Return the node's JSON, byte for byte as restic writes it.

    Times, ``uid``, ``gid`` and ``content`` must be set; they are always written.
    """
    if node.linktarget_raw is None:
        return escape_html(_ENCODER.encode(node))
    # The lossy text holds one \ufffd escape per invalid byte, which no str can say: encode with
    # a stand-in that cannot be in the rest, and put Go's text in its place.
    target = go_string(node.target_bytes)
    kept, node.linktarget = node.linktarget, "\x00kuramori-target\x00"
    try:
        document = escape_html(_ENCODER.encode(node))
    finally:
        node.linktarget = kept
    return document.replace(b'"\\u0000kuramori-target\\u0000"', target, 1)


def decode_node(document: bytes) -> Node:
    """Return the node of a JSON object.

    Raises:
        msgspec.DecodeError: it is not one (also ``ValidationError``).
    """
    return decode_json(_NODE_DECODER, document)
