"""Two locks that are written at nearly the same moment: who looks again, who waits, and who gives way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from kuramori.errors import RepositoryLockedError
from kuramori.repository.locks import Lock
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
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
