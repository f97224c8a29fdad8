"""Storing trees outside of a backup: for what is made of trees that are there already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from kuramori.errors import KuramoriError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.repository.compression import Compression
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import DEFAULT_PACK_SIZE, Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer


class TreeStore:
    """Stores trees that the repository does not have. Used by one thread."""

    def __init__(self, repository: Repository, check: Callable[[], None], *,
                 compression: Compression = Compression.AUTO, pack_size: int = DEFAULT_PACK_SIZE) -> None:
        """Write into ``repository``, whose index is loaded.

        Args:
            check: called before a tree is stored; raises to end it.
        """
        self._repository = repository
        self._check = check
        self._sealer = BlobSealer(repository.key, repository.version, compression)
        self._index_writer = IndexWriter(repository, check)
        self._packer = Packer(repository.backend, repository.key, BlobType.TREE, self._stored, pack_size)
        self._known: set[Id] = set()
        """Trees that were stored here, or read and found sound."""
        self.stored = 0

    def store(self, document: bytes) -> Id:
        """Store a tree unless a sound copy is there already; return its id. It is durable after
        :meth:`flush`.

        Raises:
            StorageError, SealVerificationError, LockLostError: what was not durable is lost.
        """
        tree_id = hash_id(document)
        if tree_id in self._known:
            return tree_id
        if not self._has_sound_copy(tree_id):
            self._check()
            self._packer.add(tree_id, *self._sealer.seal(BlobType.TREE, tree_id, document))
            self.stored += 1
        self._known.add(tree_id)
        return tree_id

    def _has_sound_copy(self, tree_id: Id) -> bool:
        """Tell whether the repository has the tree. That an index names it is not enough here: it
        may be the very tree whose pack is damaged."""
        if not self._repository.index.has(BlobType.TREE, tree_id):
            return False
        try:
            self._repository.load_blob(BlobType.TREE, tree_id)
        except KuramoriError:
            return False
        return True

    def flush(self) -> None:
        """Return when all that was stored is durable, packs and index.

        Raises:
            StorageError
        """
        self._packer.flush()
        self._index_writer.flush()

    def close(self) -> None:
        """Drop what is not durable. May be called more than once, and after errors."""
        with suppress(KuramoriError):
            self._packer.discard()

    def _stored(self, described: PackDescription) -> None:
        self._index_writer.add(described)
