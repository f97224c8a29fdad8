"""What becomes of packs when the store fails in the middle."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

import pytest

from kuramori.crypto.master_key import MasterKey
from kuramori.errors import StorageError
from kuramori.ids import hash_id
from kuramori.model.blob import BlobType
from kuramori.repository.packer import Packer
from kuramori.storage.backend import Buffer, Handle, StagedFile
from kuramori.storage.memory import MemoryBackend

_BLOB = secrets.token_bytes(100_000)


class _Staged:
    """Dawdles while it is made durable, and tells if it is dropped meanwhile."""

    def __init__(self, inner: StagedFile, store: _Store) -> None:
        self._inner = inner
        self._store = store
        self._dropped = threading.Event()

    @property
    def size(self) -> int:
        return self._inner.size

    def write(self, parts: Sequence[Buffer]) -> None:
        if self._store.committing.is_set():
            raise StorageError(location="memory", operation="write", name="a pack", detail="Input/output error")
        self._inner.write(parts)

    def read_back(self) -> bytes:
        return self._inner.read_back()

    def commit(self, handle: Handle) -> None:
        self._store.committing.set()
        self._store.dropped_meanwhile |= self._dropped.wait(0.2)
        self._inner.commit(handle)

    def discard(self) -> None:
        self._dropped.set()
        self._inner.discard()


class _Store(MemoryBackend):
    """After the first commit has begun, nothing can be written any more."""

    def __init__(self) -> None:
        super().__init__()
        self.committing = threading.Event()
        self.dropped_meanwhile = False

    def stage(self) -> StagedFile:  # type: ignore[override]
        return _Staged(super().stage(), self)


def test_a_pack_that_is_being_made_durable_is_not_dropped() -> None:
    store = _Store()
    packer = Packer(store, MasterKey.random(), BlobType.DATA, lambda *_: None, pack_size=150_000)
    packer._bits = [1, 0]  # what chance would have said: one blob into each of two packs
    for _ in range(2):
        packer.add(hash_id(secrets.token_bytes(8)), _BLOB, 0)
    submit = packer._commits.submit

    def submit_and_wait(*arguments: object) -> object:
        future = submit(*arguments)  # type: ignore[arg-type]
        assert store.committing.wait(60)
        return future

    packer._commits.submit = submit_and_wait  # type: ignore[assignment, method-assign]
    with pytest.raises(StorageError):
        packer.flush()
    packer.discard()
    assert not store.dropped_meanwhile
    assert all(hash_id(content).hex() == handle.name for handle, content in store.snapshot().items())
    assert len(store.snapshot()) == 1
