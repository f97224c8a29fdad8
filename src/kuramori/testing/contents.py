"""What is in a folder and in a snapshot, in a form that can be compared with ``==``.

It goes its own way to the data, past the restoring code that tests may want to judge with it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.repository.repository import Repository

Contents = dict[bytes, tuple[str, bytes]]
"""Path below the folder -> kind (``dir``, ``file``, ``symlink`` or another node type) and the
bytes of a file or the target of a symlink."""


def folder_contents(folder: Path) -> Contents:
    """Return everything below ``folder``. Links are not followed."""
    found: Contents = {}
    _collect_folder(os.fsencode(folder), b"", found)
    return found


def _collect_folder(folder: bytes, prefix: bytes, found: Contents) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                found[path] = ("dir", b"")
                _collect_folder(entry.path, path + b"/", found)
            elif stat.S_ISLNK(mode):
                found[path] = ("symlink", os.readlink(entry.path))
            elif stat.S_ISREG(mode):
                found[path] = ("file", Path(os.fsdecode(entry.path)).read_bytes())
            else:
                found[path] = ("fifo" if stat.S_ISFIFO(mode) else "other", b"")


def snapshot_contents(repository: Repository, tree: str, folder: Path) -> Contents:
    """Return everything that a snapshot has below ``folder``, an absolute path. The index must be
    loaded. Every blob is read and verified.

    Raises:
        KeyError: the snapshot has no such folder.
        DamagedError, StorageError: something cannot be read.
    """
    tree_id = parse_id(tree)
    for part in os.fsencode(folder).split(b"/")[1:]:
        nodes = {node.name_bytes: node for node in repository.load_tree(tree_id).nodes}
        tree_id = parse_id(nodes[part].subtree or "")
    found: Contents = {}
    _collect_tree(repository, tree_id, b"", found)
    return found


def _collect_tree(repository: Repository, tree_id: Id, prefix: bytes, found: Contents) -> None:
    for node in repository.load_tree(tree_id).nodes:
        path = prefix + node.name_bytes
        if node.type == "dir":
            found[path] = ("dir", b"")
            _collect_tree(repository, parse_id(node.subtree or ""), path + b"/", found)
        elif node.type == "symlink":
            found[path] = ("symlink", node.target_bytes)
        elif node.type == "file":
            blobs = [repository.load_blob(BlobType.DATA, parse_id(text)) for text in node.content_ids]
            content = b"".join(blobs)
            if len(content) != node.size:
                raise AssertionError(f"{path!r} has {len(content)} bytes and its node says {node.size}")
            found[path] = ("file", content)
        else:
            found[path] = (node.type, b"")
