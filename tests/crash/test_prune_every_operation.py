"""A prune dies, or one operation fails, at every operation that it asks of the store. Afterwards
every snapshot that was kept restores equal, check finds nothing, and the next prune does the rest
by itself."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import KuramoriError, StorageError
from kuramori.ids import hash_id
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from kuramori.testing.faulty_backend import CrashAt, FailAt, FaultyBackend, SimulatedCrash
from samples.broken_runs import (
    AWAY,
    BROKEN,
    FULL,
    Files,
    Scene,
    broken_runs,
    create,
    files_of,
    judge_repository,
    reopen,
)

_EVERYTHING = PrunePolicy(max_unused=UnusedLimit(size=0), pack_size=64 * 1024)
_LIMITED = PrunePolicy(max_unused=UnusedLimit(size=0), max_repack_size=200_000, pack_size=64 * 1024)
_POLICIES = {"all": _EVERYTHING, "limited": _LIMITED}


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


def _prune_scene(tmp_path: Path, policy: PrunePolicy) -> Scene:
    before, kept = _history(tmp_path)

    def act(backend: Backend, clock: Clock) -> None:
        prune(reopen(backend, clock), PruneOptions(policy=policy))

    def judge(files: Files, clock: Clock) -> None:
        judge_repository(files, clock)
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        stored = load_snapshots(repository)
        assert {snapshot.id for snapshot in stored} == set(kept)
        for snapshot in stored:
            assert snapshot_contents(repository, snapshot.snapshot.tree, tmp_path / "source") == kept[snapshot.id]

    def again(backend: Backend, clock: Clock) -> None:
        result = prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING))
        assert not result.errors
        files = files_of(backend)
        assert not [handle for handle in files if handle.type is FileType.LOCK]
        judge(files, clock)
        plan = prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING, dry_run=True)).plan
        assert plan.empty
        assert not plan.counts.unused_bytes

    return Scene(before, act, judge, again)


@pytest.fixture(params=_POLICIES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return _prune_scene(tmp_path, _POLICIES[request.param])


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
    for number, memory, clock in broken_runs(scene, lambda number: CrashAt(number, after=after)):
        try:
            scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)
        except BaseException as error:
            error.add_note(f"after a crash {'after' if after else 'before'} operation {number}")
            raise


@pytest.mark.parametrize(("error", "forever", "after"), [
    (BROKEN, False, False), (FULL, True, False), (AWAY, False, True),
], ids=["fails once", "full from then on", "answer lost"])
def test_every_operation_fails(tmp_path: Path, error: StorageError, forever: bool, after: bool) -> None:
    scene = _prune_scene(tmp_path, _EVERYTHING)
    for number, memory, clock in broken_runs(
            scene, lambda number: FailAt(number, error, forever=forever, after=after)):
        try:
            scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)
        except BaseException as problem:
            problem.add_note(f"after {type(error).__name__} at operation {number}")
            raise


def test_a_second_crash_while_the_first_is_cleared_up(tmp_path: Path) -> None:
    scene = _prune_scene(tmp_path, _EVERYTHING)
    for number, memory, clock in broken_runs(scene, lambda number: CrashAt(number, after=True)):
        if number % 3:
            continue
        faulty = FaultyBackend(memory, CrashAt(5 + number % 31))
        with suppress(SimulatedCrash, KuramoriError):
            scene.act(faulty, clock)
        clock.advance(60)
        scene.judge(memory.snapshot(), clock)
        clock.advance(60)
        scene.again(memory, clock)
