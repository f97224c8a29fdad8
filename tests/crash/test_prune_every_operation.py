"""A prune, or a repair of the index, dies, or one operation fails, at every operation that it asks
of the store. Afterwards every snapshot that was kept restores equal, check finds nothing, and the
next run does the rest by itself."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.ids import hash_id
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.maintenance.repair_index import repair_index
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.broken_runs import (
    AWAY,
    BROKEN,
    FULL,
    Files,
    Scene,
    create,
    files_of,
    judge_repository,
    reopen,
    survive_crashes,
    survive_failures,
    survive_stacked_crashes,
)

_EVERYTHING = PrunePolicy(max_unused=UnusedLimit(size=0), pack_size=64 * 1024)
_LIMITED = PrunePolicy(max_unused=UnusedLimit(size=0), max_repack_size=200_000, pack_size=64 * 1024)


def _back_up(memory: MemoryBackend, clock: FakeClock, source: Path) -> str:
    clock.advance(3600)
    result = back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),)))
    assert result.snapshot_id is not None
    return result.snapshot_id


def _change(source: Path, day: int) -> None:
    chance = random.Random(day)
    (source / f"folder {day}").mkdir(parents=True)
    for number in range(3):
        (source / f"folder {day}" / f"{number}.jpg").write_bytes(chance.randbytes(30_000 + 1000 * number))
    (source / "log").write_bytes(b"all is well\n" * 500 * day)
    if day > 1:
        (source / f"folder {day - 1}" / "0.jpg").unlink()
    if day > 2:
        (source / f"folder {day - 2}" / "1.jpg").unlink()


def _history(tmp_path: Path) -> tuple[Files, dict[str, Contents]]:
    """Return a repository of which half is not used any more: whole packs and parts of packs, and
    with them a pack in no index and blobs in two packs; and what its snapshots hold."""
    memory, clock, source = MemoryBackend(), FakeClock(), tmp_path / "source"
    create(memory, clock)
    kept: dict[str, Contents] = {}
    for day in range(1, 5):
        _change(source, day)
        before = memory.snapshot()
        snapshot = _back_up(memory, clock, source)
        if day in (2, 4):
            kept[snapshot] = folder_contents(source)
        else:
            memory.remove(Handle(FileType.SNAPSHOT, snapshot))
        if day == 4:
            # Another machine saves the same at the same moment: its packs hold the same blobs.
            other = MemoryBackend(before)
            kept[_back_up(other, clock, source)] = folder_contents(source)
            memory = MemoryBackend({**other.snapshot(), **memory.snapshot()})
    leftover = random.Random(99).randbytes(5000)
    memory.save(Handle(FileType.PACK, hash_id(leftover).hex()), [leftover])
    return memory.snapshot(), kept


def _judge(tmp_path: Path, kept: dict[str, Contents]) -> Callable[[Files, Clock], None]:
    def judge(files: Files, clock: Clock) -> None:
        judge_repository(files, clock)
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        stored = load_snapshots(repository)
        assert {snapshot.id for snapshot in stored} == set(kept)
        for snapshot in stored:
            assert snapshot_contents(repository, snapshot.snapshot.tree, tmp_path / "source") == kept[snapshot.id]

    return judge


def _assert_nothing_left_to_do(backend: Backend, clock: Clock) -> None:
    assert not [*backend.list(FileType.LOCK)]
    plan = prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING, dry_run=True)).plan
    assert plan.empty
    assert not plan.counts.unused_bytes


def _prune_scene(tmp_path: Path, policy: PrunePolicy) -> Scene:
    before, kept = _history(tmp_path)
    judge = _judge(tmp_path, kept)

    def act(backend: Backend, clock: Clock) -> None:
        prune(reopen(backend, clock), PruneOptions(policy=policy))

    def again(backend: Backend, clock: Clock) -> None:
        result = prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING))
        assert not result.errors
        judge(files_of(backend), clock)
        _assert_nothing_left_to_do(backend, clock)

    return Scene(before, act, judge, again)


def _without_room_scene(tmp_path: Path) -> Scene:
    """A prune that deletes the index first. Broken off, it needs a repaired index, and no more."""
    before, kept = _history(tmp_path)
    judge = _judge(tmp_path, kept)

    def act(backend: Backend, clock: Clock) -> None:
        repository = reopen(backend, clock)
        prune(repository, PruneOptions(recover_without_space=repository.id))

    def judge_repaired(files: Files, clock: Clock) -> None:
        backend = MemoryBackend(files)
        repair_index(reopen(backend, clock))
        judge(files_of(backend), clock)

    def again(backend: Backend, clock: Clock) -> None:
        repair_index(reopen(backend, clock))
        act(backend, clock)
        judge(files_of(backend), clock)

    return Scene(before, act, judge_repaired, again)


def _repair_index_scene(tmp_path: Path) -> Scene:
    """Of the index one file is gone, one is damaged and one tells of a pack that is gone too, which
    nobody needs."""
    files, kept = _history(tmp_path)
    memory, clock = MemoryBackend(files), FakeClock()
    plan = prune(reopen(memory, clock), PruneOptions(policy=_EVERYTHING, dry_run=True)).plan
    memory.remove(Handle(FileType.PACK, plan.removed[0].hex()))
    indexes = sorted(info.name for info in memory.list(FileType.INDEX))
    memory.remove(Handle(FileType.INDEX, indexes[0]))
    memory.save(Handle(FileType.INDEX, indexes[1]), [b"nonsense"])
    judge = _judge(tmp_path, kept)

    def act(backend: Backend, clock: Clock) -> None:
        repair_index(reopen(backend, clock))

    def judge_again(files: Files, clock: Clock) -> None:
        again(MemoryBackend(files), clock)

    def again(backend: Backend, clock: Clock) -> None:
        act(backend, clock)
        judge(files_of(backend), clock)
        assert not repair_index(reopen(backend, clock)).changed

    return Scene(memory.snapshot(), act, judge_again, again)


_SCENES: dict[str, Callable[[Path], Scene]] = {
    "all": lambda path: _prune_scene(path, _EVERYTHING), "limited": lambda path: _prune_scene(path, _LIMITED),
    "no room": _without_room_scene, "repair index": _repair_index_scene,
}


@pytest.fixture(params=_SCENES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return _SCENES[request.param](tmp_path)


def test_the_scene_has_something_to_do_of_every_kind(tmp_path: Path) -> None:
    scene = _prune_scene(tmp_path, _EVERYTHING)
    memory, clock = MemoryBackend(scene.before), FakeClock()
    clock.advance(24 * 3600)
    result = prune(reopen(memory, clock), PruneOptions(policy=_EVERYTHING))
    counts = result.plan.counts
    assert result.plan.unreferenced
    assert result.plan.removed
    assert len(result.plan.repacked) >= 3
    assert counts.duplicate.blobs
    assert counts.repack_removed.blobs
    assert result.packs_written >= 3
    assert sum(map(len, memory.snapshot().values())) < 0.7 * sum(map(len, scene.before.values()))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation(scene: Scene, after: bool) -> None:
    survive_crashes(scene, after=after)


@pytest.mark.parametrize(("error", "forever", "after"), [
    (BROKEN, False, False), (FULL, True, False), (AWAY, False, True),
], ids=["fails once", "full from then on", "answer lost"])
def test_every_operation_fails(tmp_path: Path, error: StorageError, forever: bool, after: bool) -> None:
    scene = _prune_scene(tmp_path, _EVERYTHING)
    survive_failures(scene, error, forever=forever, after=after)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(scene: Scene) -> None:
    survive_stacked_crashes(scene)
