"""A pack is closed not only when it is long enough, but also when it holds many blobs."""

from __future__ import annotations

import pytest

from kuramori.crypto.master_key import MasterKey
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.repository import packer as packer_module
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer
from kuramori.storage.backend import FileType
from kuramori.storage.memory import MemoryBackend


def test_tiny_blobs_do_not_gather_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packer_module, "_MAXIMUM_BLOBS", 10)
    backend, key = MemoryBackend(), MasterKey.random()
    backend.create()
    stored: dict[Id, list[bytes]] = {}

    def note(described: PackDescription) -> None:
        stored[described.pack] = list(described.ids())

    packer = Packer(backend, key, BlobType.DATA, note)
    blobs = [hash_id(b"%d" % number) for number in range(95)]
    for number, blob_id in enumerate(blobs):
        packer.add(blob_id, key.seal(b"%d" % number), 0)
    packer.flush()
    packer.discard()
    # The last two that are open may become one.
    assert sum(len(ids) > 10 for ids in stored.values()) <= 1
    assert all(len(ids) <= 20 for ids in stored.values())
    assert sorted(blob_id for ids in stored.values() for blob_id in ids) == sorted(blobs)
    assert {info.name for info in backend.list(FileType.PACK)} == {pack.hex() for pack in stored}
    assert len(stored) >= 9
