"""A copy dies, or one operation fails, at every operation that it asks of the target's store, or of
the source's. Afterwards every snapshot in the target restores equal, check finds nothing in both,
and the next run copies the rest."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import Interrupted, KuramoriError, StorageError
from kuramori.maintenance import blob_copying
from kuramori.maintenance.copy import CopyAction, CopyOptions, CopyResult, copy_snapshots
from kuramori.repository import packer
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType
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
    judge_repository,
    moments,
    reopen,
    survive_stacked_crashes,
)

_WINDOW = 100_000
"""The bytes of one window, where little data shall take many."""


@pytest.fixture(autouse=True)
def many_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small packs and windows, so that little data takes many of each."""
    monkeypatch.setattr("kuramori.maintenance.copy.MINIMUM_PACK_SIZE", 1)
    monkeypatch.setattr(blob_copying, "_WINDOW_BYTES", _WINDOW)
    monkeypatch.setattr(blob_copying, "_PIECE_BYTES", 30_000)
    monkeypatch.setattr(packer, "_WRITE_SIZE", 20_000)


@dataclass
class Origin:
    """The source's files, and what its snapshots hold by their ids."""

    files: Files
    kept: dict[str, Contents]
    folder: Path


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """Three snapshots that share data."""
    memory, clock, source = MemoryBackend(), FakeClock(), tmp_path / "source"
    create(memory, clock)
    kept: dict[str, Contents] = {}
    for day in range(1, 4):
        chance = random.Random(day)
        (source / f"folder {day}").mkdir(parents=True)
        for number in range(2):
            (source / f"folder {day}" / f"{number}.jpg").write_bytes(chance.randbytes(40_000 + 1000 * number))
        (source / "log").write_bytes(b"all is well\n" * 500 * day)
        clock.advance(3600)
        result = back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),)))
        assert result.snapshot_id is not None
        kept[result.snapshot_id] = folder_contents(source)
    return Origin(memory.snapshot(), kept, source)


@contextmanager
def _noted(note: str) -> Iterator[None]:
    """Say of an error where it happened."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise


def _target(clock: Clock) -> MemoryBackend:
    """Return a repository that holds a snapshot of its own."""
    memory = MemoryBackend()
    create(memory, clock)
    return memory


def _copy(source: Backend, target: Backend, clock: Clock, **options: object) -> CopyResult:
    return copy_snapshots(reopen(source, clock), reopen(target, clock),
                          CopyOptions(pack_size=64 * 1024, **options))  # type: ignore[arg-type]


def _judge(origin: Origin, files: Files, clock: Clock) -> int:
    """Return how many snapshots there are."""
    judge_repository(files, clock)
    repository = reopen(MemoryBackend(files), clock)
    repository.load_index()
    stored = load_snapshots(repository)
    originals = [snapshot.snapshot.original for snapshot in stored]
    assert len(originals) == len(set(originals)), "one was copied twice"
    for snapshot in stored:
        assert snapshot.snapshot.original is not None
        contents = snapshot_contents(repository, snapshot.snapshot.tree, origin.folder)
        assert contents == origin.kept[snapshot.snapshot.original]
    return len(stored)


def _scene(origin: Origin) -> Scene:
    def act(backend: Backend, clock: Clock) -> None:
        _copy(MemoryBackend(origin.files), backend, clock)

    def judge(files: Files, clock: Clock) -> None:
        _judge(origin, files, clock)

    def again(backend: Backend, clock: Clock) -> None:
        _finish(origin, MemoryBackend(origin.files), backend, clock)

    return Scene(_target(FakeClock()).snapshot(), act, judge, again)


def _finish(origin: Origin, source: Backend, target: Backend, clock: Clock) -> None:
    """Copy what is missing, and see that all is there."""
    result = _copy(source, target, clock)
    assert not result.failures
    assert isinstance(target, MemoryBackend)
    assert _judge(origin, target.snapshot(), clock) == len(origin.kept)
    assert not [*target.list(FileType.LOCK)]
    assert not [*source.list(FileType.LOCK)]
    assert len(_copy(source, target, clock).of(CopyAction.SKIPPED)) == len(origin.kept)


def test_the_scene_takes_many_steps(origin: Origin) -> None:
    clock = FakeClock()
    clock.advance(24 * 3600)
    faulty = FaultyBackend(_target(clock))
    _copy(MemoryBackend(origin.files), faulty, clock)
    kinds = [(operation.kind, operation.subject.split("/")[0]) for operation in faulty.operations]
    assert kinds.count(("commit", "data")) >= 5
    saved = [subject for kind, subject in kinds if kind == "save" and subject in ("index", "snapshots")]
    assert saved.count("snapshots") == 3
    assert saved.count("index") >= 2
    assert saved[0] == "index"
    assert saved.index("snapshots") < len(saved) - 1 - saved[::-1].index("index"), "in several windows"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation_on_the_target(origin: Origin, after: bool) -> None:
    scene = _scene(origin)
    for number, memory, clock in broken_runs(scene, lambda number: CrashAt(number, after=after)):
        with _noted(f"after a crash {'after' if after else 'before'} operation {number}"):
            scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)


@pytest.mark.parametrize(("error", "forever", "after"), [
    (BROKEN, False, False), (FULL, True, False), (AWAY, False, True),
], ids=["fails once", "full from then on", "answer lost"])
def test_every_operation_on_the_target_fails(origin: Origin, error: StorageError, forever: bool, after: bool) -> None:
    scene = _scene(origin)
    for number, memory, clock in broken_runs(
            scene, lambda number: FailAt(number, error, forever=forever, after=after)):
        with _noted(f"after {type(error).__name__} at operation {number}"):
            scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(origin: Origin) -> None:
    survive_stacked_crashes(_scene(origin))


@pytest.mark.parametrize("fault", [
    lambda number: CrashAt(number), lambda number: FailAt(number, BROKEN), lambda number: FailAt(number, AWAY),
    lambda number: FailAt(number, AWAY, forever=True),
], ids=["dies", "fails once", "is away once", "is away from then on"])
def test_every_operation_on_the_source(origin: Origin, fault: Callable[[int], CrashAt | FailAt]) -> None:
    for number in moments():
        source, clock = MemoryBackend(origin.files), FakeClock()
        clock.advance(24 * 3600)
        target = _target(clock)
        faulty = FaultyBackend(source, fault(number))
        with suppress(SimulatedCrash, KuramoriError):
            _copy(faulty, target, clock)
        if len(faulty.operations) < number:
            assert number > 20
            return
        clock.advance(60)
        with _noted(f"operation {number}"):
            judge_repository(source.snapshot(), clock)
            _judge(origin, target.snapshot(), clock)
            clock.advance(3600)
            _finish(origin, source, target, clock)


def test_what_was_stored_is_kept_when_it_is_interrupted(origin: Origin) -> None:
    """At every moment at which the copy asks whether it shall end."""
    bytes_left = []
    for number in count(1):
        clock = FakeClock()
        target, source = _target(clock), MemoryBackend(origin.files)
        asked = count(1)
        try:
            _copy(source, target, clock, cancelled=lambda asked=asked, number=number: next(asked) >= number)
        except Interrupted:
            pass
        else:
            break
        _judge(origin, target.snapshot(), clock)
        repository = reopen(target, clock)
        repository.load_index()
        packs = {info.name for info in target.list(FileType.PACK)}
        assert packs == {pack.hex() for pack in repository.index.pack_ids()}, "nothing is stored in vain"
        bytes_left.append(_copy(source, target, clock).bytes_copied)
        assert _judge(origin, target.snapshot(), clock) == len(origin.kept)
    assert len(bytes_left) > 10
    # Which ranges had come when it asked is a matter of the threads that read them; a window at most.
    assert all(later <= earlier + _WINDOW for earlier, later in pairwise(bytes_left))
    assert bytes_left[-1] < bytes_left[0] / 10


@pytest.mark.parametrize("kind", ["source", "target"])
def test_a_source_that_goes_away_costs_nothing_that_was_copied(origin: Origin, kind: str) -> None:
    """A target that does may cost what was not in an index yet."""
    clock = FakeClock()
    clock.advance(24 * 3600)
    source, target = MemoryBackend(origin.files), _target(clock)
    faulty = FaultyBackend(source if kind == "source" else target)
    ends = (faulty, target) if kind == "source" else (source, faulty)
    total = len(_operations(origin, kind))
    faulty.inject(FailAt(total * 3 // 4, AWAY, forever=True))
    with pytest.raises(KuramoriError):
        _copy(*ends, clock)
    clock.advance(3600)
    repository = reopen(target, clock)
    repository.load_index()
    packs = {info.name for info in target.list(FileType.PACK)}
    if kind == "source":
        assert packs == {pack.hex() for pack in repository.index.pack_ids()}
        assert len(packs) > 1
    _finish(origin, source, target, clock)


def _operations(origin: Origin, kind: str) -> list[object]:
    clock = FakeClock()
    clock.advance(24 * 3600)
    source, target = MemoryBackend(origin.files), _target(clock)
    faulty = FaultyBackend(source if kind == "source" else target)
    _copy(*((faulty, target) if kind == "source" else (source, faulty)), clock)
    return list(faulty.operations)
