"""Repositories of many small blobs, always the same history for the same size, made without a source to back up.

Four snapshots of some thousand folders with 32 small files each. Two folders of three never change; in the third, each
snapshot has eight files of new content. So what the two oldest snapshots alone use lies scattered in packs that the
newer ones need as well, as it does in a repository that is used every day.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from kuramori.clock import SystemClock
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.model.node import Node, encode_node
from kuramori.model.snapshot import Snapshot
from kuramori.model.tree import join_nodes
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.repository.packer import Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer
from kuramori.repository.snapshots import save_snapshot
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend

SNAPSHOTS = 4
_FILES = 32
_CHANGED_FILES = 8
_FOLDERS_TOGETHER = 200
_BLOBS_PER_THREE_FOLDERS = 3 * _FILES + (SNAPSHOTS - 1) * _CHANGED_FILES + 2 + SNAPSHOTS
_DIRECTORY_MODE = 1 << 31 | 0o755
_WORDS = [b"soil", b"moisture", b"pump", b"sensor", b"temperature", b"humidity", b"light", b"reading", b"valve"]


def make_repository(folder: Path, blobs: int, password: str) -> None:
    """Write a repository of about so many blobs into ``folder``, which must not exist."""
    create = CreateOptions(clock=SystemClock())
    repository = create_repository(LocalBackend(folder), Secret(password), create)
    maker = _Maker(repository)
    try:
        for number in range(SNAPSHOTS):
            maker.make_snapshot(number, folders=blobs * 3 // _BLOBS_PER_THREE_FOLDERS)
    finally:
        maker.close()
        repository.close()


class _Maker:
    """Stores each different blob once, as a backup does."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._sealer = BlobSealer(repository.key, repository.version, Compression.AUTO)
        self._writer = IndexWriter(repository)
        self._packers = {blob_type: Packer(repository.backend, repository.key, blob_type, self._writer.describe_columns)
                         for blob_type in BlobType}
        self._stable: dict[int, bytes] = {}
        """The nodes of folders that never change."""

    def make_snapshot(self, number: int, folders: int) -> None:
        """Store a snapshot and all that it needs and earlier ones do not have."""
        groups = [self._store_group(number, first, min(first + _FOLDERS_TOGETHER, folders))
                  for first in range(0, folders, _FOLDERS_TOGETHER)]
        root = self._store_tree([self._folder_node("data", self._store_tree(groups), number)])
        for packer in self._packers.values():
            packer.flush()
        self._writer.flush()
        save_snapshot(self._repository, Snapshot(
            time=f"2026-11-{number + 1:02d}T02:00:00+09:00", tree=root.hex(), paths=["/data"], hostname="planter",
            username="keeper", program_version="kuramori"))

    def _store_group(self, number: int, first: int, end: int) -> bytes:
        nodes = [self._store_folder(number, folder) for folder in range(first, end)]
        return self._folder_node(f"group-{first:07d}", self._store_tree(nodes), number)

    def _store_folder(self, number: int, folder: int) -> bytes:
        changing = folder % 3 == 2
        if not changing and folder in self._stable:
            return self._stable[folder]
        nodes = [self._store_file(folder, file, number if changing and file < _CHANGED_FILES else 0, number)
                 for file in range(_FILES)]
        node = self._folder_node(f"folder-{folder:07d}", self._store_tree(nodes), number if changing else 0)
        if not changing:
            self._stable[folder] = node
        return node

    def _store_file(self, folder: int, file: int, version: int, number: int) -> bytes:
        generator = random.Random((folder * _FILES + file) * SNAPSHOTS + version)
        content = b"%d " % generator.getrandbits(64) + b" ".join(generator.choices(_WORDS, k=generator.randint(5, 60)))
        blob_id = hash_id(content)
        if version == number:
            self._packers[BlobType.DATA].add(blob_id, *self._sealer.seal(BlobType.DATA, blob_id, content))
        time = f"2026-10-{version + 1:02d}T{folder % 24:02d}:{file:02d}:17.{generator.getrandbits(29):09d}+09:00"
        return encode_node(Node(
            name=f"reading-{file:03d}.txt", type="file", mode=0o644, mtime=time, atime=time, ctime=time, uid=1000,
            gid=1000, user="keeper", group="keeper", inode=folder * _FILES + file + 1, device_id=2049,
            size=len(content), links=1, content=[blob_id.hex()]))

    def _folder_node(self, name: str, tree: Id, version: int) -> bytes:
        time = f"2026-10-{version + 1:02d}T01:00:00.5+09:00"
        return encode_node(Node(name=name, type="dir", mode=_DIRECTORY_MODE, mtime=time, atime=time, ctime=time,
                                uid=1000, gid=1000, user="keeper", group="keeper", inode=7, device_id=2049,
                                subtree=tree.hex()))

    def _store_tree(self, nodes: Sequence[bytes]) -> Id:
        document = join_nodes(nodes)
        tree = hash_id(document)
        self._packers[BlobType.TREE].add(tree, *self._sealer.seal(BlobType.TREE, tree, document))
        return tree

    def close(self) -> None:
        """Drop what is not durable."""
        for packer in self._packers.values():
            packer.discard()


def sample_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of a few files for a small backup."""
    generator = random.Random(count)
    for number in range(count):
        yield f"note-{number:03d}.txt", generator.randbytes(2000)
