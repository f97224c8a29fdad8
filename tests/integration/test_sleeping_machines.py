"""A machine sleeps for two hours while it works on a repository, and another one prunes meanwhile: the
lock is stale by then, and what was stored looks unused."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import LockLostError, RepositoryLockedError
from kuramori.maintenance.copy import copy_snapshots
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import folder_contents, snapshot_contents
from kuramori.testing.faulty_backend import CallAt, FaultyBackend
from samples.broken_runs import create, judge_repository, reopen

_ALL = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))
_HOURS = 2 * 3600.0


class _Scene:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.memory, self.source = MemoryBackend(), MemoryBackend(name="source")
        for number, store in enumerate((self.memory, self.source)):
            create(store, self.clock)
            (folder / "file").write_bytes(random.Random(number).randbytes(5_000))
            self.back_up(store, self.clock)
            self.clock.advance(60)
        (folder / "file").write_bytes(random.Random(2).randbytes(5_000))

    def back_up(self, store: Backend, clock: Clock) -> None:
        back_up(reopen(store, clock), BackupOptions(paths=(os.fsencode(self.folder),), workers=1))

    def copy(self, store: Backend, clock: Clock) -> None:
        copy_snapshots(reopen(self.source, clock), reopen(store, clock))

    def prune(self) -> None:
        self.clock.advance(_HOURS)
        prune(reopen(self.memory, self.clock), _ALL)


@pytest.fixture
def scene(tmp_path: Path) -> _Scene:
    folder = tmp_path / "data"
    folder.mkdir()
    return _Scene(folder)


@pytest.mark.parametrize("kind", ["save", "commit", "load", "list"])
@pytest.mark.parametrize("command", ["back_up", "copy"])
def test_nothing_names_what_was_pruned_meanwhile(scene: _Scene, command: str, kind: str) -> None:
    """At every operation of the kind: the command says that it lost its lock, or what it made is whole."""
    before = scene.memory.snapshot()
    act: Callable[[Backend, Clock], None] = getattr(scene, command)
    lost = 0
    for number in range(1, 40):
        scene.memory = MemoryBackend(before)
        store = FaultyBackend(scene.memory, CallAt(number, scene.prune, kind))
        try:
            act(store, scene.clock)
        except (LockLostError, RepositoryLockedError):
            lost += 1
        if sum(operation.kind == kind for operation in store.operations) < number:
            break
        judge_repository(scene.memory.snapshot(), scene.clock)
        act(scene.memory, scene.clock)  # and the next run does it
        judge_repository(scene.memory.snapshot(), scene.clock)
    else:
        pytest.fail("there is no end")
    assert number > 2
    assert lost or kind == "list"


def test_a_backup_that_slept_has_stored_everything_the_next_time(scene: _Scene) -> None:
    with pytest.raises(LockLostError):
        scene.back_up(FaultyBackend(scene.memory, CallAt(2, scene.prune, "save")), scene.clock)
    assert len(list(scene.memory.list(FileType.SNAPSHOT))) == 1
    scene.back_up(scene.memory, scene.clock)
    repository = reopen(scene.memory, scene.clock)
    repository.load_index()
    newest = load_snapshots(repository)[-1]
    assert snapshot_contents(repository, newest.snapshot.tree, scene.folder) == folder_contents(scene.folder)
