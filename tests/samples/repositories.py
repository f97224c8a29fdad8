"""Small repositories for tests, and what is in them."""

from __future__ import annotations

import os
from pathlib import Path

from kuramori.archiving.backup import BackupResult
from kuramori.browsing.walk import walk_tree
from kuramori.crypto.derivation import KdfParameters
from kuramori.ids import parse_id
from kuramori.model.blob import BlobType
from kuramori.model.node import Node
from kuramori.model.snapshot import Snapshot
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend

PASSWORD = Secret("x")
QUICK = KdfParameters(N=1024, r=8, p=1)
"""Cheap, for tests only."""


def make_repository(folder: Path, name: str = "repository", version: int = 2) -> Repository:
    """Make a repository in ``folder``."""
    return create_repository(LocalBackend(folder / name), PASSWORD, CreateOptions(kdf=QUICK, version=version))


def reopened(folder: Path, name: str = "repository") -> Repository:
    """Open the repository in ``folder`` anew, as another process would."""
    return open_repository(LocalBackend(folder / name), PASSWORD)


def nodes_by_path(repository: Repository, snapshot: Snapshot) -> dict[bytes, Node]:
    """Return every node of a snapshot by its path."""
    repository.load_index()
    return {walked.path: walked.node for walked in walk_tree(repository, parse_id(snapshot.tree))}


def snapshot_files(repository: Repository, result: BackupResult, below: Path) -> dict[bytes, bytes]:
    """Return the content of every regular file of a snapshot, by its path below ``below``."""
    prefix = os.fsencode(below).rstrip(b"/")
    found = {}
    for path, node in nodes_by_path(repository, result.snapshot).items():
        if node.type == "file" and path.startswith(prefix):
            blobs = [repository.load_blob(BlobType.DATA, parse_id(text)) for text in node.content_ids]
            found[path[len(prefix):]] = b"".join(blobs)
    return found
