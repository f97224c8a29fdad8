"""The process dies, or one operation fails, at every operation that init, backup and key changes
ask of the store, one after the other. Afterwards what was complete is whole, the repository is
sound, and the next run of the same command succeeds without any help."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import KuramoriError, RepositoryExistsError, StorageError, UsageError, WrongPasswordError
from kuramori.repository.keys import add_key, change_password, list_keys, remove_key
from kuramori.repository.locks import hold_lock
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.broken_runs import (
    AWAY,
    BROKEN,
    CHEAP,
    FULL,
    OLD,
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

NEW = Secret("new password")


# --- the scenes ------------------------------------------------------------------------------


def init_scene(tmp_path: Path) -> Scene:
    def judge(files: Files, clock: Clock) -> None:
        if CONFIG_HANDLE in files:
            judge_repository(files, clock)
        assert {handle.type for handle in files} <= {FileType.CONFIG, FileType.KEY}

    def again(backend: Backend, clock: Clock) -> None:
        try:
            create(backend, clock)
        except RepositoryExistsError:
            backend.load(CONFIG_HANDLE)  # it was complete already
        judge_repository(files_of(backend), clock)

    return Scene({}, create, judge, again)


def first_backup_scene(tmp_path: Path) -> Scene:
    memory = MemoryBackend()
    create(memory, FakeClock())
    return _backup_scene(tmp_path, memory, {})


def second_backup_scene(tmp_path: Path) -> Scene:
    memory, clock = MemoryBackend(), FakeClock()
    create(memory, clock)
    source = _make_source(tmp_path)
    clock.advance(3600)
    _back_up(memory, clock, source)
    (first,) = load_snapshots(reopen(memory, clock))
    return _backup_scene(tmp_path, memory, {first.id: folder_contents(source)})


def _backup_scene(tmp_path: Path, memory: MemoryBackend, complete: dict[str, Contents]) -> Scene:
    source = _make_source(tmp_path)
    _change_source(source)
    expected = folder_contents(source)

    def judge(files: Files, clock: Clock) -> None:
        judge_repository(files, clock)
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        stored = load_snapshots(repository)
        assert set(complete) <= {snapshot.id for snapshot in stored}
        for snapshot in stored:
            found = snapshot_contents(repository, snapshot.snapshot.tree, source)
            assert found == complete.get(snapshot.id, expected)

    def again(backend: Backend, clock: Clock) -> None:
        snapshots = len([*backend.list(FileType.SNAPSHOT)])
        result = _back_up(backend, clock, source)
        assert not result
        assert len([*backend.list(FileType.SNAPSHOT)]) == snapshots + 1
        files = files_of(backend)
        assert not [handle for handle in files if handle.type is FileType.LOCK]
        judge(files, clock)

    return Scene(memory.snapshot(), lambda backend, clock: _back_up(backend, clock, source), judge, again)


def add_key_scene(tmp_path: Path) -> Scene:
    before = _two_snapshots(tmp_path)

    def act(backend: Backend, clock: Clock) -> None:
        repository = reopen(backend, clock)
        with hold_lock(repository):
            add_key(repository, NEW, parameters=CHEAP)

    def again(backend: Backend, clock: Clock) -> None:
        act(backend, clock)
        for password in (OLD, NEW):
            judge_repository(files_of(backend), clock, password)

    return Scene(before, act, judge_repository, again)


def change_password_scene(tmp_path: Path) -> Scene:
    before = _two_snapshots(tmp_path)

    def act(backend: Backend, clock: Clock) -> None:
        repository = reopen(backend, clock)
        with hold_lock(repository, exclusive=True):
            change_password(repository, NEW, parameters=CHEAP)

    def judge(files: Files, clock: Clock) -> None:
        try:
            judge_repository(files, clock, OLD)
        except WrongPasswordError:
            judge_repository(files, clock, NEW)

    def again(backend: Backend, clock: Clock) -> None:
        with suppress(WrongPasswordError):  # it was changed already
            act(backend, clock)
        judge_repository(files_of(backend), clock, NEW)
        with pytest.raises(WrongPasswordError):
            reopen(backend, clock, OLD)

    return Scene(before, act, judge, again)


def remove_key_scene(tmp_path: Path) -> Scene:
    memory, clock = MemoryBackend(_two_snapshots(tmp_path)), FakeClock()
    doomed = add_key(reopen(memory, clock), NEW, parameters=CHEAP)

    def act(backend: Backend, clock: Clock) -> None:
        repository = reopen(backend, clock)
        with hold_lock(repository, exclusive=True):
            remove_key(repository, doomed)

    def again(backend: Backend, clock: Clock) -> None:
        try:
            act(backend, clock)
        except UsageError:
            assert doomed not in {info.id for info in list_keys(reopen(backend, clock))}
        judge_repository(files_of(backend), clock)
        with pytest.raises(WrongPasswordError):
            reopen(backend, clock, NEW)

    return Scene(memory.snapshot(), act, judge_repository, again)


SCENES = {
    "init": init_scene, "first backup": first_backup_scene, "second backup": second_backup_scene,
    "key add": add_key_scene, "key passwd": change_password_scene, "key remove": remove_key_scene,
}


def _two_snapshots(tmp_path: Path) -> Files:
    scene = second_backup_scene(tmp_path)
    memory, clock = MemoryBackend(scene.before), FakeClock()
    clock.advance(2 * 3600)
    scene.act(memory, clock)
    return memory.snapshot()


def _back_up(backend: Backend, clock: Clock, source: Path) -> tuple[KuramoriError, ...]:
    options = BackupOptions(paths=(os.fsencode(source),), pack_size=4 * 1024 * 1024)
    return back_up(reopen(backend, clock), options).errors


def _make_source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    if not source.exists():
        chance = random.Random(1)
        (source / "images" / "empty").mkdir(parents=True)
        for number in range(5):
            (source / f"log {number}").write_bytes(b"2026-11-23 all is well\n" * 100 * number)
            (source / "images" / f"{number}.jpg").write_bytes(chance.randbytes(600_000))
        (source / "database").write_bytes(chance.randbytes(2_500_000))
        (source / "link").symlink_to("database")
    return source


def _change_source(source: Path) -> None:
    chance = random.Random(2)
    (source / "images" / "new.jpg").write_bytes(chance.randbytes(3_000_000))
    (source / "images" / "0.jpg").unlink()
    (source / "log 1").write_bytes(b"2026-11-24 something happened\n" * 300)
    (source / "later").mkdir()
    (source / "later" / "note").write_text("written later")


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return SCENES[request.param](tmp_path)


# --- the faults ------------------------------------------------------------------------------


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
