"""Packs on their way to a store beyond the network: several at once, and never more than a few."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest

from kuramori.crypto.master_key import MasterKey
from kuramori.errors import Interrupted, StorageError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.repository import pack_commits
from kuramori.repository.pack_commits import PackCommits
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.packer import Packer
from kuramori.repository.transfers import parallel_transfers
from kuramori.storage.backend import Buffer, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.spooled_file import SpooledFile

_PACK = 100_000
_PATIENCE = 60


class _Store(MemoryBackend):
    """Takes packs whole; ``on_save`` may dawdle or fail."""

    def __init__(self, connections: int = 4) -> None:
        super().__init__(connections=connections)
        self.staged = 0
        self.running = 0
        self.most_running = 0
        self.guard = threading.Lock()
        self.gate = threading.Event()
        self.refused: set[int] = set()
        self._saves = 0

    def stage(self) -> SpooledFile:  # type: ignore[override]
        self.staged += 1
        return SpooledFile(self.save, self.location)

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        with self.guard:
            self._saves += 1
            number = self._saves
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            self.dawdle(number)
            if number in self.refused:
                raise StorageError(location=self.location, operation="save", name=str(handle), detail="refused")
            super().save(handle, parts)
        finally:
            with self.guard:
                self.running -= 1

    def dawdle(self, number: int) -> None:
        assert self.gate.wait(_PATIENCE)


class _MeetingStore(_Store):
    """A pack is only taken when as many others are on their way as there are connections."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections)
        self._meeting = threading.Barrier(connections)

    def dawdle(self, number: int) -> None:
        self._meeting.wait(_PATIENCE)


def _add_packs(packer: Packer, count: int) -> None:
    """Each blob fills a pack."""
    source = random.Random(7)
    for _ in range(count):
        content = source.randbytes(_PACK)
        packer.add(hash_id(content), content, 0)


def _packer(store: _Store, stored: list[Id], **settings: object) -> Packer:
    def note(described: PackDescription) -> None:
        name = described.pack.hex()
        assert [handle for handle in store.snapshot() if handle.name == name], "it is there before it is told"
        stored.append(described.pack)

    return Packer(store, MasterKey.random(), BlobType.DATA, note, _PACK, **settings)  # type: ignore[arg-type]


@pytest.mark.timeout(120)
def test_as_many_as_there_are_connections_are_on_their_way_at_once() -> None:
    stored: list[Id] = []
    store = _MeetingStore(4)
    packer = _packer(store, stored)
    _add_packs(packer, 16)
    packer.flush()
    packer.discard()
    assert len(stored) == len(store.snapshot()) == 16
    assert store.most_running == 4


def test_a_disk_of_this_machine_gets_one_after_the_other() -> None:
    class _Disk(_Store):
        @property
        def worker_location(self) -> str | None:
            return "/disk"

    store = _Disk()
    store.gate.set()
    stored: list[Id] = []
    packer = _packer(store, stored)
    _add_packs(packer, 6)
    packer.flush()
    packer.discard()
    assert parallel_transfers(store) == store.most_running == 1
    assert len(stored) == 6


def test_what_is_made_faster_than_it_is_sent_waits() -> None:
    """However long nothing is taken, no more packs than a few are held; and whoever waits may give up."""
    stored: list[Id] = []
    store = _Store(connections=3)
    looked = 0

    def give_up() -> None:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise Interrupted

    packer = _packer(store, stored, waiting=give_up)
    with pytest.raises(Interrupted):
        _add_packs(packer, 1000)
    assert store.staged <= 3 + 1 + 2
    assert stored == []
    store.gate.set()
    packer.rescue()
    packer.discard()
    assert {pack.hex() for pack in stored} == {handle.name for handle in store.snapshot()}
    assert stored


def test_packers_share_the_connections() -> None:
    store = _MeetingStore(2)
    stored: list[Id] = []
    commits = PackCommits(store)
    packers = [_packer(store, stored, commits=commits) for _ in range(3)]
    for packer in packers:
        _add_packs(packer, 2)
    for packer in packers:
        packer.flush()
        packer.discard()
    commits.close()
    commits.close()
    assert store.most_running == 2
    assert len(stored) == 6


def test_a_pack_that_is_refused_ends_it_and_what_arrived_is_whole() -> None:
    store = _Store(connections=4)
    store.gate.set()
    store.refused = {3}
    stored: list[Id] = []
    packer = _packer(store, stored)
    with pytest.raises(StorageError, match="refused"):
        _add_packs(packer, 100)
        packer.flush()
    packer.discard()
    packer.discard()
    assert all(hash_id(content).hex() == handle.name for handle, content in store.snapshot().items())
    assert {pack.hex() for pack in stored} <= {handle.name for handle in store.snapshot()}


def test_after_an_interruption_nobody_waits_for_a_store_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived is told, what is on its way is left alone, and the rest is dropped."""
    monkeypatch.setattr(pack_commits, "_PATIENCE_SECONDS", 0.05)

    class _Stuck(_Store):
        def dawdle(self, number: int) -> None:
            assert number <= 2 or self.gate.wait(_PATIENCE)

    stored: list[Id] = []
    store = _Stuck(connections=2)
    packer = _packer(store, stored)
    _add_packs(packer, 4)
    packer.rescue()
    assert len(stored) == len(store.snapshot()) == 2
    packer.discard()
    store.gate.set()
    packer.discard()
