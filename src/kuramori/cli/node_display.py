"""Entries of snapshots, as lines and as restic's JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kuramori.cli.output import mode_text, shown, size_text, time_text
from kuramori.cli.translation import translate as _
from kuramori.model.names import display_text
from kuramori.model.node import Node


def human_readable_option() -> Callable[[Any], Any]:
    """Return the option ``--human-readable``."""
    return click.option("--human-readable", is_flag=True, help=_("print sizes as people read them"))


def node_line(path: bytes, node: Node, *, long: bool, human_readable: bool = False) -> str:
    """Return the line that shows an entry: its path, or with ``long`` also mode, owner, size and time."""
    name = shown(path or b"/")
    if not long:
        return name
    size = size_text(node.size) if human_readable else f"{node.size:6d}"
    target = f" -> {shown(node.target_bytes)}" if node.type == "symlink" else ""
    return f"{mode_text(node)} {node.uid:5d} {node.gid:5d} {size} {time_text(node.mtime)} {name}{target}"


def _times(node: Node) -> dict[str, Any]:
    return {"mtime": node.mtime.strip(), "atime": node.atime.strip(), "ctime": node.ctime.strip()}


def listed_json(path: bytes, node: Node) -> dict[str, Any]:
    """Return an entry as ``restic ls --json`` prints it."""
    fields: dict[str, Any] = {"name": display_text(node.name_bytes), "type": node.type, "path": display_text(path),
                              "uid": node.uid, "gid": node.gid}
    if node.type == "file":
        fields["size"] = node.size
    fields |= {"mode": node.mode, "permissions": mode_text(node), **_times(node)}
    if node.inode:
        fields["inode"] = node.inode
    return fields | {"message_type": "node", "struct_type": "node"}


def found_json(path: bytes, node: Node) -> dict[str, Any]:
    """Return an entry as ``restic find --json`` prints it."""
    fields: dict[str, Any] = {"path": display_text(path), "permissions": mode_text(node), "type": node.type,
                              "mode": node.mode, **_times(node), "uid": node.uid, "gid": node.gid}
    for name in ("user", "group", "inode", "device_id", "size", "links", "linktarget", "device"):
        value = getattr(node, name)
        if value:
            fields[name] = value
    return fields
