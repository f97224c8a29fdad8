"""What of a snapshot can still be read, looked for without any code of the repairs."""

from __future__ import annotations

import os
from pathlib import Path

from kuramori.errors import KuramoriError
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.repository.repository import Repository
from kuramori.testing.contents import Contents


def surviving_contents(repository: Repository, tree: str, folder: Path) -> tuple[Contents, bool]:
    """Return what can be read below ``folder``, and whether that is everything. The index must be
    loaded.

    A folder that cannot be read is there, with nothing in it; a file of which one blob is missing is
    not. If a folder above ``folder`` cannot be read, nothing is there; and if the snapshot has no
    such folder, nothing is everything.
    """
    tree_id = parse_id(tree)
    for part in os.fsencode(folder).split(b"/")[1:]:
        try:
            nodes = {node.name_bytes: node for node in repository.load_tree(tree_id).nodes}
        except KuramoriError:
            return {}, False
        if part not in nodes:
            return {}, True
        tree_id = parse_id(nodes[part].subtree or "")
    found: Contents = {}
    return found, _collect(repository, tree_id, b"", found)


def _collect(repository: Repository, tree_id: Id, prefix: bytes, found: Contents) -> bool:
    try:
        nodes = repository.load_tree(tree_id).nodes
    except KuramoriError:
        return False
    whole = True
    for node in nodes:
        path = prefix + node.name_bytes
        if node.type == "dir":
            found[path] = ("dir", b"")
            whole &= _collect(repository, parse_id(node.subtree or ""), path + b"/", found)
        elif node.type == "file":
            try:
                blobs = [repository.load_blob(BlobType.DATA, parse_id(text)) for text in node.content_ids]
                found[path] = ("file", b"".join(blobs))
            except KuramoriError:
                whole = False
        else:
            found[path] = ("symlink", node.target_bytes)
    return whole
