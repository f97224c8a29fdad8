"""A forget, with or without a prune, or a change of tags dies, or one operation fails, at every
operation that it asks of the store. Afterwards every snapshot that was to stay restores equal, check
finds nothing, and the next run does the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.maintenance.tag import TagOptions, tag_snapshots
from kuramori.model.calendar import CalendarDuration
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.broken_runs import (
    AWAY,
    BROKEN,
    FULL,
    MOST_CRASHES,
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
_DAYS = 6


def _history(tmp_path: Path) -> tuple[Files, dict[str, Contents]]:
    """Return a repository of six days, each with a file of its own, and what its snapshots hold,
    from the oldest to the newest."""
    memory, clock, source = MemoryBackend(), FakeClock(), tmp_path / "source"
    clock.set(clock.now_nanoseconds() - 100 * 86_400 * 10**9)
    create(memory, clock)
    made: dict[str, Contents] = {}
    source.mkdir()
    for day in range(_DAYS):
        clock.advance(16 * 86_400)
        (source / f"image {day}.jpg").write_bytes(os.urandom(20_000))
        (source / "log").write_bytes(b"all is well\n" * 500 * (day + 1))
        if day:
            (source / f"image {day - 1}.jpg").unlink()
        tags = ("keep",) if day == 1 else ("daily",)
        result = back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),), tags=tags))
        assert result.snapshot_id is not None
        made[result.snapshot_id] = folder_contents(source)
    return memory.snapshot(), made


def _contents(files: Files, clock: Clock, tmp_path: Path) -> dict[str, Contents]:
    """Return what each snapshot holds; the repository is sound."""
    judge_repository(files, clock)
    repository = reopen(MemoryBackend(files), clock)
    repository.load_index()
    return {stored.id: snapshot_contents(repository, stored.snapshot.tree, tmp_path / "source")
            for stored in load_snapshots(repository)}


def _forget_scene(tmp_path: Path, *, pruning: bool, naming: bool) -> Scene:
    before, made = _history(tmp_path)
    ids = list(made)
    going = [ids[0], ids[2], ids[3]]
    policy = RetentionPolicy(last=2, tags=(("keep",),), within_daily=CalendarDuration(days=10))
    options = ForgetOptions(ids=tuple(going)) if naming else ForgetOptions(policy=policy)
    options = ForgetOptions(ids=options.ids, policy=options.policy, prune=pruning, prune_policy=_EVERYTHING)

    def act(backend: Backend, clock: Clock) -> None:
        forget(reopen(backend, clock), options)

    def judge(files: Files, clock: Clock) -> None:
        left = _contents(files, clock, tmp_path)
        assert left.items() <= made.items()
        assert set(ids) - set(going) <= set(left)

    def again(backend: Backend, clock: Clock) -> None:
        result = forget(reopen(backend, clock), options)
        assert not result.errors
        assert set(_contents(files_of(backend), clock, tmp_path)) == set(ids) - set(going)
        assert not [*backend.list(FileType.LOCK)]
        prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING))
        assert prune(reopen(backend, clock), PruneOptions(policy=_EVERYTHING, dry_run=True)).plan.empty

    return Scene(before, act, judge, again)


def _tag_scene(tmp_path: Path, options: TagOptions) -> Scene:
    before, made = _history(tmp_path)
    tagged = {"daily", "new"} if options.replace is None else set(options.replace)

    def act(backend: Backend, clock: Clock) -> None:
        tag_snapshots(reopen(backend, clock), options)

    def first_ids(files: Files, clock: Clock) -> list[str]:
        left = _contents(files, clock, tmp_path)
        found = {stored.id: stored.snapshot.original or stored.id
                 for stored in load_snapshots(reopen(MemoryBackend(files), clock))}
        assert all(left[name] == made[first] for name, first in found.items())
        return sorted(found.values())

    def judge(files: Files, clock: Clock) -> None:
        found = first_ids(files, clock)
        assert set(found) == set(made)
        assert len(found) <= _DAYS + MOST_CRASHES, "at most the one at which each run broke off is there twice"

    def again(backend: Backend, clock: Clock) -> None:
        result = tag_snapshots(reopen(backend, clock), options)
        assert not result.errors
        files = files_of(backend)
        assert first_ids(files, clock) == sorted(made)
        for stored in load_snapshots(reopen(backend, clock)):
            tags = stored.snapshot.tags or []
            assert sorted(tags) == sorted(tagged if "keep" not in tags else {"keep", "new"})
            assert stored.snapshot.original in made
        assert not [*backend.list(FileType.LOCK)]

    return Scene(before, act, judge, again)


_SCENES: dict[str, Callable[[Path], Scene]] = {
    "forget": lambda path: _forget_scene(path, pruning=False, naming=False),
    "forget ids": lambda path: _forget_scene(path, pruning=False, naming=True),
    "forget and prune": lambda path: _forget_scene(path, pruning=True, naming=False),
    "tag add": lambda path: _tag_scene(path, TagOptions(add=("new",))),
    "tag set": lambda path: _tag_scene(path, TagOptions(replace=("one", "two"))),
}


@pytest.fixture(params=_SCENES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return _SCENES[request.param](tmp_path)


def test_the_scene_has_much_to_remove(tmp_path: Path) -> None:
    scene = _forget_scene(tmp_path, pruning=True, naming=False)
    memory, clock = MemoryBackend(scene.before), FakeClock()
    scene.act(memory, clock)
    sizes = [sum(map(len, files.values())) for files in (memory.snapshot(), scene.before)]
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation(scene: Scene, after: bool) -> None:
    survive_crashes(scene, after=after)


@pytest.mark.parametrize(("error", "forever", "after"), [
    (BROKEN, False, False), (FULL, True, False), (AWAY, False, True),
], ids=["fails once", "full from then on", "answer lost"])
def test_every_operation_fails(scene: Scene, error: StorageError, forever: bool, after: bool) -> None:
    survive_failures(scene, error, forever=forever, after=after)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(scene: Scene) -> None:
    survive_stacked_crashes(scene)
