"""Two locks that are written at nearly the same moment: who looks again, who waits, and who gives way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import RepositoryLockedError
from kuramori.ids import Id
from kuramori.maintenance import check_data, pack_readers
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.sound_packs import sound_digest
from kuramori.repository.locks import Lock
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.backend import Backend, FileInfo, FileType
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, make_repository


class _Interleaved(FakeClock):
    """Lets something happen once between a lock's look at the others and its being written, which is when it asks what
    time it is."""

    between: Callable[[], None] | None = None

    def now(self) -> datetime:
        happens, self.between = self.between, None
        if happens is not None:
            happens()
        return super().now()


class _Remote(ForwardingBackend):
    """The same files where workers cannot open them."""

    @property
    def worker_location(self) -> None:
        return None


@pytest.fixture
def clock() -> _Interleaved:
    return _Interleaved()


@pytest.fixture
def repository(tmp_path: Path, clock: _Interleaved) -> Repository:
    make_repository(tmp_path).close()
    return open_repository(LocalBackend(tmp_path / "repository"), PASSWORD, OpenOptions(clock=clock))


def test_a_shared_lock_that_was_written_at_once_need_not_wait(repository: Repository, clock: _Interleaved) -> None:
    lock = Lock(repository, exclusive=False)
    lock.acquire()
    lock.confirm()
    lock.release()
    assert clock.slept == []


def test_the_exclusive_lock_of_the_same_moment_gives_way_to_it(repository: Repository, clock: _Interleaved) -> None:
    exclusive, shared = Lock(repository, exclusive=True), Lock(repository, exclusive=False)
    clock.between = exclusive.acquire
    shared.acquire()
    shared.confirm()
    with pytest.raises(RepositoryLockedError):
        exclusive.confirm()
    assert sum(clock.slept) == pytest.approx(0.2)
    shared.check()
    shared.release()


@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_one_whose_writing_took_long_looks_again(repository: Repository, clock: _Interleaved, seconds: float) -> None:
    exclusive, shared = Lock(repository, exclusive=True), Lock(repository, exclusive=False)

    def happen() -> None:
        exclusive.acquire()
        clock.advance(seconds)

    clock.between = happen
    shared.acquire()
    with pytest.raises(RepositoryLockedError):
        shared.confirm()
    exclusive.confirm()
    exclusive.release()


def test_one_during_which_the_machine_slept_looks_again(repository: Repository, clock: _Interleaved) -> None:
    """The steady clock stands meanwhile; the wall clock tells."""
    exclusive, shared = Lock(repository, exclusive=True), Lock(repository, exclusive=False)

    def happen() -> None:
        exclusive.acquire()
        clock.set(clock.now_nanoseconds() + 60 * 10**9)

    clock.between = happen
    shared.acquire()
    with pytest.raises(RepositoryLockedError):
        shared.confirm()
    exclusive.release()


def test_exclusive_locks_and_those_of_other_stores_wait(repository: Repository, clock: _Interleaved) -> None:
    lock = Lock(repository, exclusive=True)
    lock.acquire()
    lock.confirm()
    lock.release()
    assert sum(clock.slept) == pytest.approx(0.2)
    repository.backend = _Remote(repository.backend)
    remote = Lock(repository, exclusive=False)
    remote.acquire()
    remote.confirm()
    remote.release()
    assert sum(clock.slept) == pytest.approx(0.4)


@pytest.mark.parametrize("seconds", [0.14, 0.16])
def test_a_reader_of_another_store_waits_only_where_it_is_slow(
        repository: Repository, clock: _Interleaved, seconds: float) -> None:
    """The exclusive lock of the same moment sees a quick one when it looks again, and gives way."""
    repository.backend = _Remote(repository.backend)
    exclusive, reader = Lock(repository, exclusive=True), Lock(repository, exclusive=False, reading=True)

    def happen() -> None:
        exclusive.acquire()
        clock.advance(seconds)

    clock.between = happen
    reader.acquire()
    first, second = (reader, exclusive) if seconds < 0.15 else (exclusive, reader)
    if first is reader:
        first.confirm()
    with pytest.raises(RepositoryLockedError):
        second.confirm()
    first.confirm()
    first.check()
    first.release()


def test_what_is_confirmed_meanwhile_holds_or_is_refused_before_anything_is_written(
        repository: Repository, clock: _Interleaved) -> None:
    repository.backend = _Remote(repository.backend)
    lock = Lock(repository, exclusive=False)
    lock.acquire()
    lock.confirm_meanwhile()
    lock.confirm()
    lock.check()
    lock.release()
    exclusive, shared = Lock(repository, exclusive=True), Lock(repository, exclusive=False)
    clock.between = exclusive.acquire
    shared.acquire()
    shared.confirm_meanwhile()
    for _ in range(2):  # also when it is asked again, and the others' lock has gone
        with pytest.raises(RepositoryLockedError):
            shared.confirm()
        with pytest.raises(RepositoryLockedError):
            shared.check()
        exclusive.release()
    assert not list(repository.backend.list(FileType.LOCK))


@pytest.mark.parametrize("remote", [True, False])
def test_a_backup_beside_an_exclusive_lock_of_the_same_moment_stores_nothing(
        repository: Repository, clock: _Interleaved, tmp_path: Path, remote: bool) -> None:
    """On a slow disk, too."""
    (tmp_path / "another file").write_text("that is not in the repository\n" * 1000)
    if remote:
        repository.backend = _Remote(repository.backend)
    before = {info.name for kind in _WRITTEN for info in repository.backend.list(kind)}
    exclusive = Lock(repository, exclusive=True)

    def happen() -> None:
        exclusive.acquire()
        clock.advance(0.3)

    clock.between = happen
    with pytest.raises(RepositoryLockedError):
        back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "another file"),), workers=1))
    assert {info.name for kind in _WRITTEN for info in repository.backend.list(kind)} == before
    exclusive.confirm()
    exclusive.release()


class _Watched(ForwardingBackend):
    """Remembers which threads looked at the locks."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.threads: set[threading.Thread] = set()

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        self.threads.add(threading.current_thread())
        return super().list(file_type)


def test_on_a_slow_disk_the_others_are_looked_at_before_anything_else(
        repository: Repository, clock: _Interleaved, tmp_path: Path) -> None:
    """There workers write packs by themselves, which no look that comes meanwhile could keep back."""
    (tmp_path / "another file").write_text("content")
    store = repository.backend = _Watched(repository.backend)
    clock.between = lambda: clock.advance(0.3)
    back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "another file"),), workers=1))
    assert store.threads == {threading.current_thread()}
    assert sum(clock.slept) == pytest.approx(0.2)


class _Hesitant(_Remote):
    """Its second listing and those after it wait until they may go on."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.listings = 0
        self.begun, self.may_end = threading.Event(), threading.Event()

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        self.listings += 1
        if self.listings > 1:
            self.begun.set()
            assert self.may_end.wait(60)
        return super().list(file_type)


def test_a_look_at_the_others_does_not_outlive_the_lock(repository: Repository) -> None:
    store = repository.backend = _Hesitant(repository.backend)
    lock = Lock(repository, exclusive=False)
    lock.acquire()
    lock.confirm_meanwhile()
    assert store.begun.wait(60)
    threading.Timer(0.1, store.may_end.set).start()
    lock.release()
    assert not [thread for thread in threading.enumerate() if thread.name == "kuramori-lock-confirm"]
    assert not list(store.list(FileType.LOCK))


_WRITTEN = (FileType.PACK, FileType.INDEX, FileType.SNAPSHOT)


def test_a_check_beside_a_lock_of_the_same_moment_says_nothing_of_what_it_read(
        repository: Repository, clock: _Interleaved, tmp_path: Path) -> None:
    """It reads while it waits for those who wrote a lock at the same moment."""
    (tmp_path / "file").write_text("content")
    back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "file"),), workers=1))
    other = Lock(repository, exclusive=True)
    clock.between = other.acquire
    with pytest.raises(RepositoryLockedError):
        check(repository, CheckOptions(read_data=True))
    other.confirm()
    other.release()
    assert not list(repository.backend.list(FileType.LOCK))
    assert not check(repository, CheckOptions(read_data=True)).errors


def test_a_check_does_not_wait_before_it_reads(repository: Repository, clock: _Interleaved, tmp_path: Path) -> None:
    """But before it ends."""
    (tmp_path / "file").write_text("content")
    back_up(repository, BackupOptions(paths=(os.fsencode(tmp_path / "file"),), workers=1))
    slept: list[float] = []

    def judge(repository: Repository, pack: Id, size: int) -> bytes | None:
        slept.append(sum(clock.slept))
        return sound_digest(repository, pack, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_data, "sound_digest", judge)
        patch.setattr(pack_readers, "sound_digest", judge)
        patch.setattr(Lock, "confirm_meanwhile", lambda lock: None)  # what its thread does is shown above
        assert not check(repository, CheckOptions(read_data=True)).errors
    assert slept
    assert set(slept) == {0}
    assert sum(clock.slept) == pytest.approx(0.2)
