"""Object lock: what is written is retained, what is referenced for longer, and who may not delete yet is told so."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.errors import (
    ObjectLockedError,
    ObjectLockUnsupportedError,
    RetainedPacksNote,
    RetainedSnapshotsNote,
    StorageError,
    StoragePermissionError,
    StoreOptionError,
)
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import copy_snapshots
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.model.retention import RetentionPolicy
from kuramori.progress import NoProgress
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Buffer, FileType, Handle
from kuramori.storage.location import open_backend
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.retention import RETAINED_TYPES
from kuramori.storage.retry import RetryBackend
from kuramori.storage.s3 import S3Backend
from kuramori.testing.backend_contract import BackendContract, handle_of
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK
from samples.seaweedfs import ADMIN, SeaweedServer

_DAYS = 30
_DAY = 24 * 3600.0
_ALL = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))


class _Warnings(NoProgress):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def warning(self, error: Exception) -> None:
        self.errors.append(error)


# --- a store whose time we make pass ------------------------------------------------------------


class RetainingMemory(MemoryBackend):
    """A store that retains what is written to it, as S3 does."""

    retention_days: int | None = _DAYS

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._until: dict[Handle, datetime] = {}
        self.extended: list[Handle] = []
        self.failing = False

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        super().save(handle, parts)
        if handle.type in RETAINED_TYPES:
            self._until[handle] = self._clock.now() + timedelta(days=_DAYS)

    def remove(self, handle: Handle) -> None:
        until = self.retained_until(handle)
        if until is not None:
            raise ObjectLockedError(location=self.location, operation="remove", name=str(handle), until=until)
        super().remove(handle)
        self._until.pop(handle, None)

    def retained_until(self, handle: Handle) -> datetime | None:
        until = self._until.get(handle)
        return until if until is not None and until > self._clock.now() else None

    def extend_retention(self, handle: Handle, until: datetime) -> None:
        if self.failing:
            raise StorageError(location=self.location, operation="lock", name=str(handle), detail="no")
        assert until >= self._until.get(handle, until)
        self._until[handle] = until
        self.extended.append(handle)


class _Days:
    """A repository in such a store, and a planter whose files change."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = RetainingMemory(self.clock)
        self.folder = folder
        self.repository = create_repository(RetryBackend(self.store, clock=self.clock), PASSWORD,
                                            CreateOptions(kdf=QUICK, clock=self.clock))
        self.warnings = _Warnings()

    def back_up(self, content: int) -> BackupResult:
        (self.folder / "file").write_bytes(random.Random(content).randbytes(300_000))
        return back_up(self.repository, BackupOptions(paths=(os.fsencode(self.folder),)), self.warnings)

    def pass_days(self, days: float) -> None:
        self.clock.advance(days * _DAY)

    def packs(self) -> set[Handle]:
        return {Handle(FileType.PACK, info.name) for info in self.store.list(FileType.PACK)}

    def check(self) -> None:
        assert not check(open_repository(self.store, PASSWORD, OpenOptions(clock=self.clock)),
                         CheckOptions(read_data=True)).errors


@pytest.fixture
def days(tmp_path: Path) -> _Days:
    return _Days(tmp_path)


def test_what_is_referenced_is_retained_for_longer_when_half_of_the_time_is_over(days: _Days) -> None:
    days.back_up(1)
    old = days.packs()
    days.pass_days(_DAYS / 2 - 1)
    days.back_up(2)
    assert days.store.extended == []
    days.pass_days(2)
    days.back_up(3)
    keys = {Handle(FileType.KEY, info.name) for info in days.store.list(FileType.KEY)}
    assert set(days.store.extended) == {CONFIG_HANDLE} | keys | days.packs()
    assert days.store.extended[-1] == CONFIG_HANDLE
    days.pass_days(_DAYS - 1)
    for handle in old:
        with pytest.raises(ObjectLockedError):
            days.store.remove(handle)
    assert days.warnings.errors == []


def test_what_could_not_be_extended_is_tried_again_by_the_next_backup(days: _Days) -> None:
    days.back_up(1)
    days.pass_days(_DAYS / 2 + 1)
    days.store.failing = True
    assert days.back_up(2).snapshot_id is not None
    assert len(days.warnings.errors) == 1
    days.store.failing = False
    days.back_up(3)
    assert CONFIG_HANDLE in days.store.extended
    days.store.extended.clear()
    days.back_up(4)
    assert days.store.extended == []


def test_a_dry_run_extends_nothing(days: _Days) -> None:
    days.back_up(1)
    days.pass_days(_DAYS / 2 + 1)
    back_up(days.repository, BackupOptions(paths=(os.fsencode(days.folder),), dry_run=True))
    assert days.store.extended == []


def test_a_copy_extends_too(days: _Days, tmp_path: Path) -> None:
    days.back_up(1)
    source = create_repository(MemoryBackend(), PASSWORD, CreateOptions(kdf=QUICK, clock=days.clock))
    days.pass_days(_DAYS / 2 + 1)
    back_up(source, BackupOptions(paths=(os.fsencode(days.folder),)))
    copy_snapshots(source, days.repository)
    assert days.store.extended[-1] == CONFIG_HANDLE


def test_snapshots_go_when_they_may_and_their_data_later(days: _Days) -> None:
    first = days.back_up(1).snapshot_id
    days.pass_days(1)
    second = days.back_up(2).snapshot_id
    newest = ForgetOptions(policy=RetentionPolicy(last=1), prune=True, prune_policy=_ALL.policy)

    result = forget(days.repository, newest, days.warnings)
    assert [stored.id for stored in result.retained] == [first]
    assert (result.removed, result.errors, result.prune) == ([], [], None)
    (note,) = days.warnings.errors
    assert isinstance(note, RetainedSnapshotsNote)
    assert "2026-12-23" in str(note)
    days.check()

    days.pass_days(_DAYS / 2)  # now the data of both is extended, and the first snapshot itself is not
    days.back_up(2)
    days.pass_days(_DAYS / 2 - 0.5)
    days.warnings.errors.clear()
    result = forget(days.repository, newest, days.warnings)
    assert {stored.id for stored in result.removed} == {first}
    assert {stored.id for stored in result.retained} == {second}
    assert result.prune is not None
    assert result.prune.errors == []
    assert result.prune.packs_retained > 0
    assert any(isinstance(error, RetainedPacksNote) for error in days.warnings.errors)
    days.check()

    days.pass_days(_DAYS)
    before = len(days.packs())
    result = forget(days.repository, newest, days.warnings)
    assert result.retained == []
    assert prune(days.repository, _ALL).packs_retained == 0
    assert len(days.packs()) < before
    days.check()


# --- SeaweedFS ------------------------------------------------------------------------------------


_ACCESS = StoreAccess(variables=ADMIN.variables(), object_lock_days=_DAYS)


def _new_bucket(seaweed: SeaweedServer) -> str:
    return seaweed.location("locked", bucket=f"lock-{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def location(seaweed: SeaweedServer) -> str:
    """A bucket in which objects can be locked."""
    found = _new_bucket(seaweed)
    open_backend(found, _ACCESS).create()
    return found


@pytest.mark.exhaustive(except_each=8)
class TestRetainingBucket(BackendContract):
    """The contract holds as far as nothing retained is removed, which :data:`RETAINED_TYPES` is taken off for."""

    removing_tells_missing = False

    @pytest.fixture
    def backend(self, location: str, monkeypatch: pytest.MonkeyPatch) -> S3Backend:
        monkeypatch.setattr("kuramori.storage.s3.RETAINED_TYPES", frozenset())
        store = open_backend(f"{location}/{uuid.uuid4().hex}", _ACCESS)
        assert isinstance(store, S3Backend)
        return store


def _retained(location: str) -> S3Backend:
    store = open_backend(f"{location}/{uuid.uuid4().hex}", _ACCESS)
    assert isinstance(store, S3Backend)
    return store


def test_the_server_keeps_what_is_retained(location: str) -> None:
    store = _retained(location)
    pack, lock = handle_of(FileType.PACK, b"pack"), handle_of(FileType.LOCK, b"lock")
    for handle, content in ((pack, b"pack"), (lock, b"lock")):
        store.save(handle, [content])
        store.save(handle, [content])
    until = store.retained_until(pack)
    assert until is not None
    assert abs(until - datetime.now(UTC) - timedelta(days=_DAYS)) < timedelta(hours=1)
    assert store.retained_until(lock) is None
    store.remove(lock)
    assert list(store.list(FileType.LOCK)) == []
    with pytest.raises(ObjectLockedError) as caught:
        store.remove(pack)
    assert str(until.astimezone().year) in str(caught.value)
    assert store.load(pack) == b"pack"
    # Not we alone: the server refuses, too.
    version = store._requests.newest_version(store._place.key(pack), "pack")
    assert version is not None
    with pytest.raises(StoragePermissionError):
        store._requests.remove_version(store._place.key(pack), "pack", version.version)


def test_retention_is_extended_and_not_shortened(location: str) -> None:
    store = _retained(location)
    pack = handle_of(FileType.PACK, b"pack")
    store.save(pack, [b"pack"])
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2 * _DAYS)
    store.extend_retention(pack, later)
    assert store.retained_until(pack) == later
    with pytest.raises(StoragePermissionError):
        store.extend_retention(pack, later - timedelta(days=_DAYS))
    store.extend_retention(handle_of(FileType.PACK, b"not there"), later)


def test_a_bucket_without_object_lock(seaweed: SeaweedServer) -> None:
    store = open_backend(seaweed.location(f"unlocked/{uuid.uuid4().hex}"), _ACCESS)
    with pytest.raises(ObjectLockUnsupportedError):
        store.create()
    with pytest.raises(ObjectLockUnsupportedError):
        store.save(handle_of(FileType.PACK, b"pack"), [b"pack"])
    assert list(store.list(FileType.PACK)) == []


@pytest.mark.parametrize("days", ["0", "x", "36501"])
def test_days_that_are_none(days: str) -> None:
    with pytest.raises(StoreOptionError, match="number of days"):
        open_backend("s3:host/bucket", StoreAccess(options={"s3.object-lock-days": days}))


def test_days_may_be_an_option() -> None:
    store = open_backend("s3:host/bucket", StoreAccess(options={"s3.object-lock-days": "7"}))
    assert isinstance(store, S3Backend)
    assert store.retention_days == 7


@pytest.mark.parametrize("location", ["/srv/backup", "rest:http://host/", "sftp:host:/path", "gs:bucket:/"])
def test_a_store_that_cannot_retain_is_not_used_as_if_it_could(location: str) -> None:
    with pytest.raises(ObjectLockUnsupportedError, match="s3:"):
        open_backend(location, StoreAccess(object_lock_days=1))


def test_a_mode_that_is_none() -> None:
    with pytest.raises(StoreOptionError, match="governance or compliance"):
        open_backend("s3:host/bucket", StoreAccess(object_lock_days=1, options={"s3.object-lock-mode": "strict"}))


def test_a_repository_in_a_bucket_with_object_lock(seaweed: SeaweedServer, tmp_path: Path) -> None:
    store = open_backend(_new_bucket(seaweed), _ACCESS)
    repository = create_repository(store, PASSWORD, CreateOptions(kdf=QUICK))
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(300_000))
    options = BackupOptions(paths=(os.fsencode(tmp_path),))
    first = back_up(repository, options)
    (tmp_path / "file").write_bytes(random.Random(2).randbytes(300_000))
    back_up(repository, options)
    assert list(store.list(FileType.LOCK)) == []
    assert first.snapshot_id is not None
    result = forget(repository, ForgetOptions(ids=(first.snapshot_id,)))
    assert [stored.id for stored in result.retained] == [first.snapshot_id]
    prune(repository, _ALL)  # replaces the index files
    assert not check(open_repository(store, PASSWORD), CheckOptions(read_data=True)).errors
