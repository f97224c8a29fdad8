"""A lock that cannot be read stops us, says what helps, and that helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuramori.errors import DamagedLockError
from kuramori.ids import hash_id
from kuramori.repository.locks import hold_lock, remove_stale_locks
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository whose clock is ours: waiting costs nothing."""
    make_repository(tmp_path).close()
    return open_repository(LocalBackend(tmp_path / "repository"), PASSWORD, OpenOptions(clock=FakeClock()))


@pytest.mark.parametrize("content", [b"cut", b"x" * 200])
@pytest.mark.parametrize("rightly_named", [True, False])
def test_a_damaged_lock_is_explained_and_removed_by_unlock(repository: Repository, content: bytes,
                                                           rightly_named: bool) -> None:
    name = hash_id(content if rightly_named else b"something else").hex()
    repository.backend.save(Handle(FileType.LOCK, name), [content])
    for exclusive in (True, False):
        with pytest.raises(DamagedLockError) as failure, hold_lock(repository, exclusive=exclusive) as lock:
            lock.confirm()
        assert name in failure.value.text()
        assert failure.value.text().count("damaged") == 1
        assert "kuramori unlock" in failure.value.advice_text()
    assert [info.name for info in repository.backend.list(FileType.LOCK)] == [name]
    assert remove_stale_locks(repository) == 1
    with hold_lock(repository, exclusive=True) as lock:
        lock.confirm()
    assert list(repository.backend.list(FileType.LOCK)) == []


def test_a_sealed_lock_that_is_no_lock_is_one_of_these(repository: Repository) -> None:
    repository.save_unpacked(FileType.LOCK, b'{"time":"yesterday"}')
    with pytest.raises(DamagedLockError), hold_lock(repository) as lock:
        lock.confirm()
    assert remove_stale_locks(repository) == 1


def test_an_empty_lock_holds_nobody_up(repository: Repository) -> None:
    """What a program leaves that died while it wrote one to a store that shows half-written files."""
    repository.backend.save(Handle(FileType.LOCK, "ab" * 32), [b""])
    with hold_lock(repository, exclusive=True) as lock:
        lock.confirm()
    assert remove_stale_locks(repository) == 1
