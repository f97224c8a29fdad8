"""Snapshots that vanish from the store: nothing is removed before somebody says that it was meant."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import (
    KuramoriError,
    LedgerDamagedError,
    RolledBackError,
    SnapshotsReturnedHint,
    SnapshotsVanishedError,
    SnapshotVanishedError,
)
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.rewrite import RewriteOptions, rewrite
from kuramori.maintenance.tag import TagOptions, tag_snapshots
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import CrashAt, FaultyBackend, SimulatedCrash
from samples.broken_runs import OLD, create, judge_repository
from samples.kuramori_command import Kuramori
from samples.repositories import PASSWORD, make_repository

_KEEP_ONE = ForgetOptions(policy=RetentionPolicy(last=1), prune=True)


class Home:
    """A repository with some snapshots, and a machine that remembers them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "repository"
        self.source = base / "source"
        self.source.mkdir()
        self.warnings: list[KuramoriError] = []
        self.clock = FakeClock()
        make_repository(base).close()

    def open(self) -> Repository:
        """Open it as the next process does."""
        return open_repository(LocalBackend(self.folder), PASSWORD, OpenOptions(
            clock=self.clock, ledger_directory=self.base / "ledger", ledger_warning=self.warnings.append))

    def back_up(self) -> str:
        """Make one more snapshot."""
        (self.source / f"file {len(list(self.source.iterdir()))}").write_bytes(os.urandom(3000))
        self.clock.advance(3600)
        snapshot = back_up(self.open(), BackupOptions(paths=(os.fsencode(self.source),), workers=0)).snapshot_id
        assert snapshot is not None
        return snapshot

    def lose(self, *snapshots: str) -> None:
        """Somebody deletes snapshots."""
        for name in snapshots:
            (self.folder / "snapshots" / name).unlink()

    def files(self) -> set[Path]:
        """Return every file of the repository."""
        return {path for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _refused(home: Home, action: object) -> str:
    before = home.files()
    with pytest.raises(SnapshotsVanishedError) as caught:
        action(home.open())  # type: ignore[operator]
    assert home.files() == before
    return caught.value.text()


@pytest.mark.parametrize("action", [
    lambda repository: prune(repository, PruneOptions()),
    lambda repository: prune(repository, PruneOptions(dry_run=True)),
    lambda repository: prune(repository, PruneOptions(allow_no_snapshots=True)),
    lambda repository: forget(repository, ForgetOptions(policy=RetentionPolicy(last=1))),
    lambda repository: forget(repository, _KEEP_ONE),
], ids=["prune", "dry run", "remove all", "forget by rules", "forget and prune"])
def test_nothing_is_removed_when_a_snapshot_is_gone(home: Home, action: object) -> None:
    first = home.back_up()
    home.back_up()
    home.lose(first)
    assert first[:8] in _refused(home, action)
    # and it is no matter of the first time
    assert "1 of 2" in _refused(home, action)


def test_a_store_that_suddenly_lists_nothing(home: Home) -> None:
    names = [home.back_up() for _ in range(3)]
    home.lose(*names)
    text = _refused(home, lambda repository: prune(repository, PruneOptions(allow_no_snapshots=True)))
    assert "3 of 3" in text


def test_a_listing_that_leaves_something_out_once(home: Home) -> None:
    """The second look shows it: no alarm, and the prune still does not go by the first look."""
    home.back_up()
    home.back_up()

    class Forgetful(LocalBackend):
        looks = 0

        def list(self, file_type: FileType) -> Iterator[object]:  # type: ignore[override]
            found = list(super().list(file_type))
            if file_type is FileType.SNAPSHOT:
                Forgetful.looks += 1
                found = found[1:] if Forgetful.looks == 1 else found
            return iter(found)

    repository = open_repository(Forgetful(home.folder), PASSWORD, OpenOptions(
        clock=home.clock, ledger_directory=home.base / "ledger"))
    before = home.files()
    with pytest.raises(KuramoriError, match="appeared meanwhile"):
        prune(repository, PruneOptions())
    assert home.files() == before


def test_to_name_snapshots_is_to_mean_them(home: Home) -> None:
    first, second, third = home.back_up(), home.back_up(), home.back_up()
    home.lose(first)
    assert forget(home.open(), ForgetOptions(ids=(second,))).removed
    assert list_snapshots(home.open()) == {third}
    _refused(home, lambda repository: prune(repository, PruneOptions()))


@pytest.mark.parametrize("way", ["prune", "forget", "check"])
def test_accepting_is_remembered(home: Home, way: str) -> None:
    first, second, _ = home.back_up(), home.back_up(), home.back_up()
    home.lose(first)
    if way == "prune":
        prune(home.open(), PruneOptions(accept_missing=True))
    elif way == "forget":
        forget(home.open(), ForgetOptions(policy=RetentionPolicy(last=1), accept_missing=True))
    else:
        assert check(home.open(), CheckOptions(accept_missing=True)).sound
    result = prune(home.open(), PruneOptions())
    assert not result.errors
    home.lose(*list_snapshots(home.open()) & {second})


def test_a_dry_run_accepts_nothing(home: Home) -> None:
    first = home.back_up()
    home.back_up()
    home.lose(first)
    assert prune(home.open(), PruneOptions(accept_missing=True, dry_run=True)).plan.counts.unused.blobs
    _refused(home, lambda repository: prune(repository, PruneOptions()))


def test_check_names_what_is_gone(home: Home) -> None:
    first, second = home.back_up(), home.back_up()
    home.lose(first)
    for _ in range(2):
        result = check(home.open())
        assert result.vanished == [first]
        assert [type(error) for error in result.errors] == [SnapshotVanishedError]
        assert first[:8] in result.errors[0].text()
    assert list_snapshots(home.open()) == {second}


def test_check_notices_a_rollback(home: Home, tmp_path: Path) -> None:
    """An old copy of the whole repository is put in its place."""
    home.back_up()
    home.back_up()
    shutil.copytree(home.folder, tmp_path / "old copy")
    forget(home.open(), _KEEP_ONE)
    check(home.open())
    home.back_up()
    shutil.rmtree(home.folder)
    shutil.copytree(tmp_path / "old copy", home.folder)
    result = check(home.open())
    assert {type(error) for error in result.errors} == {RolledBackError, SnapshotVanishedError}
    _refused(home, lambda repository: prune(repository, PruneOptions()))


def test_check_notices_what_came_back(home: Home, tmp_path: Path) -> None:
    home.back_up()
    home.back_up()
    shutil.copytree(home.folder, tmp_path / "old copy")
    forget(home.open(), _KEEP_ONE)
    assert not check(home.open()).hints
    shutil.rmtree(home.folder)
    shutil.copytree(tmp_path / "old copy", home.folder)
    result = check(home.open())
    assert result.sound
    assert [type(hint) for hint in result.hints] == [SnapshotsReturnedHint]


def test_everything_of_ours_that_removes_snapshots_is_remembered(home: Home) -> None:
    home.back_up()
    tag_snapshots(home.open(), TagOptions(add=("new",)))
    home.back_up()
    rewrite(home.open(), RewriteOptions(exclude_patterns=(b"file 0",), forget=True))
    home.back_up()
    forget(home.open(), _KEEP_ONE)
    result = check(home.open())
    assert result.sound, result.errors
    assert not result.vanished
    assert not prune(home.open(), PruneOptions()).errors


def test_another_machine_knows_only_what_it_saw(home: Home) -> None:
    first = home.back_up()
    home.back_up()
    other = open_repository(LocalBackend(home.folder), PASSWORD, OpenOptions(
        clock=home.clock, ledger_directory=home.base / "other"))
    home.lose(first)
    prune(other, PruneOptions())
    assert check(other).sound


def test_without_a_ledger_nothing_is_noticed(home: Home) -> None:
    first = home.back_up()
    home.back_up()
    home.lose(first)
    repository = open_repository(LocalBackend(home.folder), PASSWORD, OpenOptions(clock=home.clock))
    assert not prune(repository, PruneOptions()).errors


def test_a_damaged_ledger_is_said_and_stops_nothing(home: Home) -> None:
    home.back_up()
    ledger = home.open().ledger
    assert ledger is not None
    ledger.path.write_bytes(b"damage" * 1000)
    home.back_up()
    assert [type(error) for error in home.warnings] == [LedgerDamagedError]
    assert forget(home.open(), _KEEP_ONE).removed


# --- crashes -----------------------------------------------------------------------------------


def _open(backend: Backend, clock: Clock, ledger: Path) -> Repository:
    return open_repository(backend, OLD, OpenOptions(clock=clock, ledger_directory=ledger))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_no_crash_makes_a_false_alarm(tmp_path: Path, after: bool) -> None:
    """A backup and a forget with its prune die at every third operation: what follows goes through."""
    memory, clock, source, base = MemoryBackend(), FakeClock(), tmp_path / "source", tmp_path / "base"
    source.mkdir()
    create(memory, clock)
    for number in range(2):
        (source / str(number)).write_bytes(os.urandom(2000))
        clock.advance(60)
        back_up(_open(memory, clock, base), BackupOptions(paths=(os.fsencode(source),), workers=0))
    before = memory.snapshot()
    (source / "last").write_bytes(os.urandom(2000))
    for number in count(2 if after else 1, 3):
        store, ledger, clock = MemoryBackend(before), tmp_path / f"ledger {number}", FakeClock()
        clock.advance(24 * 3600)
        shutil.copytree(base, ledger)
        dying = FaultyBackend(store, CrashAt(number, after=after))
        with suppress(SimulatedCrash, KuramoriError):
            back_up(_open(dying, clock, ledger), BackupOptions(paths=(os.fsencode(source),), workers=0))
            forget(_open(dying, clock, ledger), _KEEP_ONE)
        if len(dying.operations) < number:
            assert number > 40
            return
        clock.advance(3600)
        assert not check(_open(store, clock, ledger)).vanished
        forget(_open(store, clock, ledger), _KEEP_ONE)
        prune(_open(store, clock, ledger), PruneOptions())
        assert not check(_open(store, clock, ledger)).vanished
        judge_repository(store.snapshot(), clock)
        # and the alarm still works
        last = min(list_snapshots(_open(store, clock, ledger)))
        store.remove(Handle(FileType.SNAPSHOT, last))
        with pytest.raises(SnapshotsVanishedError):
            prune(_open(store, clock, ledger), PruneOptions(allow_no_snapshots=True))
        shutil.rmtree(ledger)


# --- the command -------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    ours = Kuramori(tmp_path / "repository", "x", environment={"KURAMORI_STATE_DIR": str(tmp_path / "state")})
    ours.init_quickly()
    (tmp_path / "source").mkdir()
    first = ours.backup(tmp_path / "source")["snapshot_id"]
    ours.backup("--force", tmp_path / "source")
    (tmp_path / "repository" / "snapshots" / first).unlink()
    process = ours.start("prune", stdout=-1, stderr=-1)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.decode().count("\n") == 1
    assert first[:8] in stderr.decode()
    assert "--accept-missing" in stderr.decode()
    ours.run("check", codes=(1,))
    summary = json.loads(ours.run("check", "--json", codes=(1,)).splitlines()[-1])
    assert summary["vanished_snapshots"] == [first]
    ours.run("forget", "--keep-last", "1", codes=(1,))
    ours.run("forget", "--keep-last", "1", "--accept-missing")
    ours.run("prune")
    ours.run("check")
    assert "vanished_snapshots" not in json.loads(ours.run("check", "--json").splitlines()[-1])
