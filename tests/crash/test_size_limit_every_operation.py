"""A forget for the size dies at every operation: what is left is sound, and the next run ends it as it was meant; by
single snapshots, and by sets of them, as a cleanup of runs has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuramori.clock import Clock
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.size_limit import measure
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend
from property.test_snapshot_weights import make_snapshots
from samples.broken_runs import (
    Files,
    Scene,
    files_of,
    judge_repository,
    reopen,
    survive_crashes,
    survive_stacked_crashes,
)


def _scene(tmp_path: Path, *, in_sets: bool = False) -> Scene:
    memory, clock = make_snapshots(tmp_path, [{"a": number, "b": 1, "deep/a": number // 2} for number in range(5)])
    names = [stored.id for stored in load_snapshots(reopen(memory, clock))]
    limit = measure(reopen(memory, clock)) * 8 // 10
    sets = ((names[0], names[1]), (names[2],), (names[3],)) if in_sets else None
    options = ForgetOptions(max_size=limit, prune=True, expendable=sets)

    def judge(files: Files, clock: Clock) -> None:
        judge_repository(files, clock)

    def again(backend: Backend, clock: Clock) -> None:
        forget(reopen(backend, clock), options)
        repository = reopen(backend, clock)
        left = [stored.id for stored in load_snapshots(repository)]
        assert 2 <= len(left) < len(names)
        assert not in_sets or names[1] not in left, "a set goes whole, also if it takes two attempts"
        assert left == names[-len(left):]
        assert measure(repository) <= limit
        judge_repository(files_of(backend), clock)

    return Scene(memory.snapshot(), lambda backend, clock: forget(reopen(backend, clock), options), judge, again)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("in_sets", [False, True], ids=["singly", "in sets"])
def test_the_process_dies_at_every_operation(tmp_path: Path, after: bool, in_sets: bool) -> None:
    survive_crashes(_scene(tmp_path, in_sets=in_sets), after=after)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(tmp_path: Path) -> None:
    survive_stacked_crashes(_scene(tmp_path))
