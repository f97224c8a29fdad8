"""A repair of packs or snapshots, a rewrite or a recovery dies, or one operation fails, at every operation that it
asks of the store. Nothing that was intact is lost, and the next run does the rest."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.ids import Id, parse_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.recover import recover
from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs
from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, repair_snapshots
from kuramori.maintenance.rewrite import RewriteOptions, rewrite
from kuramori.model.blob import BlobType
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.broken_runs import (
    AWAY,
    BROKEN,
    FULL,
    Files,
    Scene,
    create,
    files_of,
    reopen,
    survive_crashes,
    survive_failures,
    survive_stacked_crashes,
)

_Blobs = set[tuple[BlobType, Id]]


def _history(tmp_path: Path) -> tuple[MemoryBackend, FakeClock]:
    """Return a repository with two snapshots of a folder that changed in between."""
    memory, clock, source = MemoryBackend(), FakeClock(), tmp_path / "source"
    create(memory, clock)
    chance = random.Random(1)
    (source / "deep").mkdir(parents=True)
    for day in range(2):
        (source / "deep" / f"{day}.jpg").write_bytes(chance.randbytes(30_000))
        (source / f"{day}.txt").write_bytes(b"all is well\n" * (day + 1))
        clock.advance(3600)
        back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),)))
    return memory, clock


def _flip_in_packs(memory: MemoryBackend, clock: FakeClock) -> tuple[str, ...]:
    """Damage one blob each in the largest packs of data and of trees; return these packs."""
    repository = reopen(memory, clock)
    repository.load_index()
    packs = []
    for kind in BlobType:
        pack, blobs = max(((pack, blobs) for pack, blobs in repository.index.packs() if blobs[0].type is kind),
                          key=lambda found: len(found[1]))
        assert len(blobs) > 1
        handle = Handle(FileType.PACK, pack.hex())
        content = bytearray(memory.load(handle))
        content[blobs[0].offset + 20] ^= 1
        memory.remove(handle)
        memory.save(handle, [bytes(content)])
        packs.append(pack.hex())
    return tuple(packs)


def _intact(files: Files, clock: Clock) -> _Blobs:
    """Return every blob of which an intact copy is indexed."""
    repository = reopen(MemoryBackend(files), clock)
    repository.load_index()
    found: _Blobs = set()
    for pack, blobs in repository.index.packs():
        found |= {(blob.type, blob.id) for blob, plain in repository.read_blobs(pack, blobs)
                  if isinstance(plain, bytes)}
    return found


def _snapshots(files: Files, clock: Clock) -> list[StoredSnapshot]:
    return load_snapshots(reopen(MemoryBackend(files), clock))


def _assert_sound(files: Files, clock: Clock) -> None:
    found = check(reopen(MemoryBackend(files), clock), CheckOptions(read_data=True, no_lock=True))
    assert not found.errors, found.errors


def _repair_packs_scene(tmp_path: Path) -> Scene:
    memory, clock = _history(tmp_path)
    packs = _flip_in_packs(memory, clock)
    before = memory.snapshot()
    intact = _intact(before, clock)
    copies = tmp_path / "copies"
    copies.mkdir()

    def act(backend: Backend, clock: Clock) -> None:
        repair_packs(reopen(backend, clock), RepairPacksOptions(packs, copies=str(copies)))

    def judge(files: Files, clock: Clock) -> None:
        assert _intact(files, clock) == intact
        gone = [pack for pack in packs if Handle(FileType.PACK, pack) not in files]
        assert all((copies / f"pack-{pack}").read_bytes() == before[Handle(FileType.PACK, pack)] for pack in gone)

    def again(backend: Backend, clock: Clock) -> None:
        result = repair_packs(reopen(backend, clock), RepairPacksOptions(packs, copies=str(copies)))
        assert not result.errors
        files = files_of(backend)
        judge(files, clock)
        assert not [pack for pack in packs if Handle(FileType.PACK, pack) in files]
        assert not [*backend.list(FileType.LOCK)]
        repository = reopen(backend, clock)
        repository.load_index()
        assert not list(repository.index.duplicates()), "what a broken run had saved was not saved again"
        repair_snapshots(reopen(backend, clock), RepairSnapshotsOptions(forget=True))
        _assert_sound(files_of(backend), clock)

    return Scene(before, act, judge, again)


def _lose_blobs(memory: MemoryBackend, clock: FakeClock) -> None:
    repair_packs(reopen(memory, clock), RepairPacksOptions(_flip_in_packs(memory, clock)))


def _replacing_scene(memory: MemoryBackend, clock: FakeClock, run: Callable[[Repository], object],
                     forget: bool) -> Scene:
    """A command that puts other snapshots in the place of two: for each there is always an old one or a new
    one that is sound, and at last just what an undisturbed run leaves."""
    before = memory.snapshot()
    undisturbed = MemoryBackend(before)
    run(reopen(undisturbed, clock))
    old = {stored.id: stored.snapshot for stored in _snapshots(before, clock)}
    wanted = sorted((stored.snapshot.original or "", stored.snapshot.tree)
                    for stored in _snapshots(undisturbed.snapshot(), clock))

    def act(backend: Backend, clock: Clock) -> None:
        run(reopen(backend, clock))

    def judge(files: Files, clock: Clock) -> None:
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        stored = _snapshots(files, clock)
        for original in old:
            assert any(original in (each.id, each.snapshot.original) for each in stored)
        for each in stored:
            if each.id not in old:
                assert repository.load_tree(parse_id(each.snapshot.tree)).nodes

    def again(backend: Backend, clock: Clock) -> None:
        run(reopen(backend, clock))
        files = files_of(backend)
        judge(files, clock)
        assert sorted((each.snapshot.original or "", each.snapshot.tree)
                      for each in _snapshots(files, clock)) == wanted, "each just once"
        assert not [*backend.list(FileType.LOCK)]
        if forget:
            _assert_sound(files, clock)

    return Scene(before, act, judge, again)


def _repair_snapshots_scene(tmp_path: Path, forget: bool) -> Scene:
    memory, clock = _history(tmp_path)
    _lose_blobs(memory, clock)
    return _replacing_scene(memory, clock, lambda repository: repair_snapshots(
        repository, RepairSnapshotsOptions(forget=forget)), forget)


def _rewrite_scene(tmp_path: Path, forget: bool) -> Scene:
    memory, clock = _history(tmp_path)
    return _replacing_scene(memory, clock, lambda repository: rewrite(
        repository, RewriteOptions(exclude_patterns=(b"0.jpg",), forget=forget)), forget)


def _recover_scene(tmp_path: Path) -> Scene:
    memory, clock = _history(tmp_path)
    lost = _snapshots(memory.snapshot(), clock)[0]
    memory.remove(Handle(FileType.SNAPSHOT, lost.id))
    memory.remove(next(Handle(FileType.INDEX, info.name) for info in memory.list(FileType.INDEX)))
    before = memory.snapshot()

    def act(backend: Backend, clock: Clock) -> None:
        recover(reopen(backend, clock))

    def judge(files: Files, clock: Clock) -> None:
        again(MemoryBackend(files), clock)

    def again(backend: Backend, clock: Clock) -> None:
        act(backend, clock)
        files = files_of(backend)
        _assert_sound(files, clock)
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        recovered = [each for each in _snapshots(files, clock) if each.snapshot.tags == ["recovered"]]
        found = {node.subtree or "" for each in recovered
                 for node in repository.load_tree(parse_id(each.snapshot.tree)).nodes}
        # A run that was broken off has left the tree of its snapshot, which is then a root by itself.
        found |= {node.subtree or "" for root in found for node in repository.load_tree(parse_id(root)).nodes}
        assert lost.snapshot.tree in found

    return Scene(before, act, judge, again)


_SCENES: dict[str, Callable[[Path], Scene]] = {
    "repair packs": _repair_packs_scene,
    "repair snapshots": lambda path: _repair_snapshots_scene(path, forget=False),
    "repair snapshots --forget": lambda path: _repair_snapshots_scene(path, forget=True),
    "rewrite": lambda path: _rewrite_scene(path, forget=False),
    "rewrite --forget": lambda path: _rewrite_scene(path, forget=True),
    "recover": _recover_scene,
}


@pytest.fixture(params=_SCENES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return _SCENES[request.param](tmp_path)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation(scene: Scene, after: bool) -> None:
    survive_crashes(scene, after=after)


@pytest.mark.parametrize(("error", "forever", "after"), [
    (BROKEN, False, False), (FULL, True, False), (AWAY, False, True), (AWAY, True, False),
], ids=["fails once", "full from then on", "answer lost", "away from then on"])
def test_every_operation_fails(scene: Scene, error: StorageError, forever: bool, after: bool) -> None:
    survive_failures(scene, error, forever=forever, after=after)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(scene: Scene) -> None:
    survive_stacked_crashes(scene)
