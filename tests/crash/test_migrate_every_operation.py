"""A migration dies, or fails, at every operation: the config is the old or the new one, and the next run ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import ConfigCopyError, MigrationRefusedError, StorageError, UsageError
from kuramori.maintenance.migrate import MigrateOptions, MigrateResult, applicable_migrations, migrate
from kuramori.model.config import decode_config
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.broken_runs import (
    AWAY,
    CHEAP,
    FULL,
    OLD,
    Files,
    Scene,
    files_of,
    judge_repository,
    reopen,
    survive_crashes,
    survive_failures,
    survive_stacked_crashes,
)


def _old_repository(tmp_path: Path) -> MemoryBackend:
    memory, clock, source = MemoryBackend(), FakeClock(), tmp_path / "source"
    create_repository(memory, OLD, CreateOptions(version=1, clock=clock, kdf=CHEAP))
    source.mkdir()
    (source / "log").write_bytes(b"all is well\n" * 1000)
    back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),), workers=0))
    return memory


def _migrate(repository: Repository, copies: Path | None = None) -> MigrateResult:
    return migrate(repository, "upgrade_repo_v2", MigrateOptions(copies=None if copies is None else str(copies)))


def _scene(tmp_path: Path) -> Scene:
    memory = _old_repository(tmp_path)
    before = memory.snapshot()

    def judge(files: Files, clock: Clock) -> None:
        """Only the config may differ, and every old byte of the rest is there."""
        assert {handle: content for handle, content in files.items() if handle.type is not FileType.LOCK}.keys() == \
            before.keys()
        judge_repository(files, clock)
        config = reopen(MemoryBackend(files), clock).config
        assert config.id == reopen(MemoryBackend(before), clock).id
        assert config.version == 2 or files[CONFIG_HANDLE] == before[CONFIG_HANDLE]

    def again(backend: Backend, clock: Clock) -> None:
        _migrate(reopen(backend, clock), tmp_path / "copies")
        judge(files_of(backend), clock)
        repository = reopen(backend, clock)
        assert repository.version == 2
        back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), workers=0))
        judge_repository(files_of(backend), clock)

    return Scene(before, lambda backend, clock: _migrate(reopen(backend, clock), tmp_path / "copies"), judge, again)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation(tmp_path: Path, after: bool) -> None:
    survive_crashes(_scene(tmp_path), after=after)


@pytest.mark.parametrize(("error", "forever", "after"), [(FULL, True, False), (AWAY, False, True)])
def test_every_operation_fails(tmp_path: Path, error: StorageError, forever: bool, after: bool) -> None:
    survive_failures(_scene(tmp_path), error, forever=forever, after=after)


def test_crashes_of_the_runs_that_clear_up_after_a_crash(tmp_path: Path) -> None:
    survive_stacked_crashes(_scene(tmp_path))


def test_the_old_config_is_kept_and_brings_the_old_version_back(tmp_path: Path) -> None:
    memory, clock = _old_repository(tmp_path), FakeClock()
    old = memory.load(CONFIG_HANDLE)
    repository = reopen(memory, clock)
    assert [each.name for each in applicable_migrations(repository)] == ["upgrade_repo_v2"]
    result = _migrate(repository, tmp_path / "copies")
    assert result.applied
    assert result.copy is not None
    assert Path(result.copy).read_bytes() == old
    assert (repository.version, reopen(memory, clock).version) == (2, 2)
    assert not applicable_migrations(repository)
    assert not _migrate(repository).applied
    memory.save(CONFIG_HANDLE, [old])
    assert reopen(memory, clock).version == 1


def test_somebody_else_was_quicker(tmp_path: Path) -> None:
    memory, clock = _old_repository(tmp_path), FakeClock()
    late = reopen(memory, clock)
    _migrate(reopen(memory, clock))
    config = memory.load(CONFIG_HANDLE)
    assert not _migrate(late).applied
    assert late.version == 2
    assert memory.load(CONFIG_HANDLE) == config


def test_a_damaged_repository_is_left_alone(tmp_path: Path) -> None:
    memory, clock = _old_repository(tmp_path), FakeClock()
    pack = next(iter(memory.list(FileType.PACK))).name
    memory.remove(Handle(FileType.PACK, pack))
    before = memory.load(CONFIG_HANDLE)
    with pytest.raises(MigrationRefusedError):
        _migrate(reopen(memory, clock))
    assert memory.load(CONFIG_HANDLE) == before
    assert list_snapshots(reopen(memory, clock))


def test_no_copy_no_change(tmp_path: Path) -> None:
    memory, clock = _old_repository(tmp_path), FakeClock()
    (tmp_path / "file").write_text("in the way")
    repository = reopen(memory, clock)
    with pytest.raises(ConfigCopyError):
        _migrate(repository, tmp_path / "file")
    assert decode_config(repository.key.open(memory.load(CONFIG_HANDLE))).version == 1


def test_unknown_migrations(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        migrate(reopen(_old_repository(tmp_path), FakeClock()), "upgrade_repo_v3")
