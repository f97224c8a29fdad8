"""Reading from a store that is far away: several files at once, each pack in one request."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import StorageRetryableError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import CopyOptions, copy_snapshots
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.model.blob import BlobType
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.repository.transfers import TransferThreads, end_transfers, fetch_ahead
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from kuramori.sources.excludes import ExcludeOptions
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.retry import RetryBackend
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK

_SECONDS = 30


class _FarStore(MemoryBackend):
    """Gives the first file of a kind only when a second one of it was asked for meanwhile: whoever reads them one
    after the other is found out. Kinds are folders, ``trees`` for packs of trees, and ``removals`` of packs."""

    def __init__(self, files: dict[Handle, bytes], connections: int = 4) -> None:
        super().__init__(files, connections=connections)
        repository = _opened(MemoryBackend(files))
        repository.load_index()
        self._trees = {pack.hex() for pack, blobs in repository.index.packs() if blobs[0].type is BlobType.TREE}
        self.data_packs = {pack.hex() for pack in repository.index.pack_ids()} - self._trees
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self.met: set[str] = set()
        self.most_running: Counter[str] = Counter()
        self.watched: frozenset[str] = frozenset()
        self.loads: list[tuple[Handle, int]] = []

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        with self._changed:
            self.loads.append((handle, offset))
        with self._meeting("trees" if handle.name in self._trees else handle.type.value):
            return super().load(handle, offset, length)

    def remove(self, handle: Handle) -> None:
        with self._meeting("removals") if handle.type is FileType.PACK else nullcontext():
            super().remove(handle)

    @contextmanager
    def _meeting(self, kind: str) -> Iterator[None]:
        with self._changed:
            self._running[kind] += 1
            self.most_running[kind] = max(self.most_running[kind], self._running[kind])
            if self._running[kind] >= 2:
                self.met.add(kind)
                self._changed.notify_all()
            if kind in self.watched and not self._changed.wait_for(lambda: kind in self.met, _SECONDS):
                self.watched = frozenset()  # nobody comes: do not wait again, the test fails anyway
        try:
            yield
        finally:
            with self._changed:
                self._running[kind] -= 1


class _Scene:
    """A repository of three snapshots, as a dictionary of files."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "images"
        self.source.mkdir()
        noise = random.Random(3)
        backend = MemoryBackend()
        create_repository(backend, PASSWORD, CreateOptions(kdf=QUICK))
        for run in range(3):
            for number in range(6):
                (self.source / f"image{run}{number}").write_bytes(noise.randbytes(1_100_000))
            for number in range(200):
                (self.source / f"note{run}{number}").write_bytes(noise.randbytes(500))
            back_up(open_repository(backend, PASSWORD), BackupOptions(
                paths=(os.fsencode(self.source),), pack_size=4 << 20, workers=1))
        self.files = backend.snapshot()

    def store(self, *watched: str, connections: int = 4) -> _FarStore:
        store = _FarStore(self.files, connections)
        store.watched = frozenset(watched)
        return store


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> _Scene:
    """One for all, which nobody changes."""
    return _Scene(tmp_path_factory.mktemp("far"))


def _opened(store: MemoryBackend) -> Repository:
    return open_repository(store, PASSWORD)


def test_indexes_and_snapshots_are_read_together(scene: _Scene) -> None:
    store = scene.store("index", "snapshots")
    repository = _opened(store)
    repository.load_index()
    assert len(load_snapshots(repository)) == 3
    assert store.met == {"index", "snapshots"}
    assert max(store.most_running.values()) <= 4
    alone = _opened(MemoryBackend(scene.files))
    alone.load_index()
    assert len(repository.index) == len(alone.index)


def test_a_restore_reads_packs_together_and_each_of_them_once(scene: _Scene, tmp_path: Path) -> None:
    store = scene.store("data")
    result = restore(_opened(store), "latest", RestoreOptions(target=os.fsencode(tmp_path / "out"), no_lock=True))
    assert result.errors == []
    assert "data" in store.met
    loads = Counter(handle.name for handle, _ in store.loads if handle.name in store.data_packs)
    assert len(loads) > 3
    assert set(loads.values()) == {1}
    restored = tmp_path / "out" / str(scene.source).lstrip("/")
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {
        path.name: path.read_bytes() for path in scene.source.iterdir()}


def test_a_check_reads_packs_together(scene: _Scene) -> None:
    store = scene.store("data")
    assert check(_opened(store), CheckOptions(read_data=True, no_lock=True)).sound
    assert "data" in store.met
    assert store.most_running["data"] <= 4


def test_a_check_of_a_store_far_away_finds_the_same_damage(scene: _Scene) -> None:
    store = scene.store()
    damaged = Handle(FileType.PACK, min(store.data_packs))
    content = bytearray(store.snapshot()[damaged])
    content[1000] ^= 1
    store.save(damaged, [content])
    result = check(_opened(store), CheckOptions(read_data=True, no_lock=True))
    assert not result.sound
    assert result.broken_packs == [damaged.name]


def test_a_prune_reads_together_what_it_writes_anew(scene: _Scene) -> None:
    store = scene.store()
    before = tuple(stored.id for stored in load_snapshots(_opened(store)))
    # What is left needs a part of every pack.
    back_up(_opened(store), BackupOptions(paths=(os.fsencode(scene.source),), workers=1,
                                          excludes=ExcludeOptions(patterns=(b"image?[024]", b"note*"))))
    forget(_opened(store), ForgetOptions(ids=before))
    store = _FarStore(store.snapshot())
    store.watched = frozenset({"data", "removals"})
    result = prune(_opened(store), PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(percent=0.0))))
    assert result.packs_written > 0
    assert {"data", "removals"} <= store.met
    assert check(_opened(MemoryBackend(store.snapshot())), CheckOptions(read_data=True)).sound


def test_a_copy_reads_together_and_each_pack_once(scene: _Scene) -> None:
    store = scene.store("data")
    target = MemoryBackend(connections=3)
    create_repository(target, PASSWORD, CreateOptions(kdf=QUICK))
    result = copy_snapshots(_opened(store), _opened(target), CopyOptions(no_lock=True))
    assert result.failures == 0
    assert "data" in store.met
    starts = Counter((handle.name, offset) for handle, offset in store.loads if handle.name in store.data_packs)
    assert set(starts.values()) == {1}, "nothing is read twice"
    assert check(_opened(target), CheckOptions(read_data=True)).sound


# --- the threads -----------------------------------------------------------------------------


def test_what_is_fetched_ahead_comes_in_order_and_is_bounded() -> None:
    store = MemoryBackend(connections=3)
    guard = threading.Lock()
    fetched: list[int] = []

    def fetch(number: int) -> int:
        with guard:
            fetched.append(number)
        if number == 5:
            raise StorageRetryableError(location="x", operation="load", name="y", detail="away")
        return number * 2

    came: list[tuple[int, int | None]] = []
    for count, (item, take) in enumerate(fetch_ahead(store, fetch, range(20))):
        assert len(fetched) <= count + 3, "no more are held than there are connections"
        try:
            came.append((item, take()))
        except StorageRetryableError:
            came.append((item, None))
    assert came == [(number, None if number == 5 else number * 2) for number in range(20)]


def test_at_a_disk_nothing_is_fetched_before_it_is_asked_for() -> None:
    class _Disk(MemoryBackend):
        @property
        def worker_location(self) -> str | None:
            return "/disk"

    threads = set[str]()
    pairs = list(fetch_ahead(_Disk(connections=9), lambda item: threads.add(threading.current_thread().name), [1, 2]))
    assert threads == set()
    pairs[0][1]()
    assert threads == {threading.current_thread().name}


class _GatedStore(MemoryBackend):
    """After its first answer it holds every read back, and then fails it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.loads = 0
        self._guard_loads = threading.Lock()

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        with self._guard_loads:
            self.loads += 1
            if self.loads == 1:
                return super().load(handle, offset, length)
        assert self.gate.wait(60)
        raise StorageRetryableError(location="x", operation="load", name="y", detail="away")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_work_that_is_given_up_is_not_tried_again() -> None:
    """Of two hundred reads of a store that is away two are at it, and end with the error that they get."""
    store = _GatedStore()
    handle = Handle(FileType.KEY, "0" * 64)
    store.save(handle, [b"key"])
    patient = RetryBackend(store, clock=FakeClock())
    assert patient.load(handle) == b"key"
    threads: TransferThreads[bytes] = TransferThreads(2)
    futures = [threads.submit(patient.load, handle) for _ in range(200)]
    _until(lambda: store.loads == 3)
    ending = threading.Thread(target=end_transfers, args=(patient, futures))
    ending.start()
    _until(lambda: patient._impatient == 1)
    store.gate.set()
    ending.join(60)
    assert all(future.done() for future in futures)
    assert store.loads == 3
    threads.close(wait=True)
