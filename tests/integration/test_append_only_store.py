"""A store that refuses to delete: backups work, locks neither fail them nor block for ever, and nobody is told that
something was cleaned up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import DeletionRefusedError, RepositoryLockedError, StoragePermissionError
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.repository.locks import STALE_SECONDS, hold_lock, list_locks
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK


class _AppendOnly(ForwardingBackend):
    """Refuses to delete: everything, or everything but locks."""

    def __init__(self, inner: Backend, *, locks: bool) -> None:
        super().__init__(inner)
        self._locks = locks
        self.refused: list[str] = []

    @property
    def worker_location(self) -> str | None:
        """None: it is a store beyond a network."""
        return None

    def remove(self, handle: Handle) -> None:
        """Refuse."""
        if self._locks or handle.type is not FileType.LOCK:
            self.refused.append(str(handle))
            raise StoragePermissionError(location="there", operation="remove", name=str(handle), detail="Forbidden")
        super().remove(handle)


@dataclass
class _Scene:
    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryBackend = field(default_factory=MemoryBackend)

    def __post_init__(self) -> None:
        (self.folder / "source").mkdir()
        create_repository(self.store, PASSWORD, CreateOptions(kdf=QUICK, clock=self.clock))

    def append_only(self, *, locks: bool = True) -> tuple[Repository, _AppendOnly]:
        """Open the repository as somebody who may not delete."""
        backend = _AppendOnly(self.store, locks=locks)
        return open_repository(backend, PASSWORD, OpenOptions(clock=self.clock)), backend

    def back_up(self, repository: Repository) -> None:
        self.clock.advance(3600)
        (self.folder / "source" / "file").write_text(f"{self.clock.now()}\n" * 100)
        back_up(repository, BackupOptions(paths=(str(self.folder / "source").encode(),)))

    def names(self, file_type: FileType) -> list[str]:
        return [info.name for info in self.store.list(file_type)]


@pytest.fixture
def scene(tmp_path: Path) -> _Scene:
    return _Scene(tmp_path)


def test_backups_go_on_where_not_even_locks_can_be_deleted(scene: _Scene) -> None:
    for _number in range(3):
        scene.back_up(scene.append_only()[0])
    assert len(scene.names(FileType.SNAPSHOT)) == 3
    assert len(scene.names(FileType.LOCK)) == 3
    # Whoever may delete has the locks out of the way, and the repository for itself, at once.
    owner = open_repository(scene.store, PASSWORD, OpenOptions(clock=scene.clock))
    with hold_lock(owner, exclusive=True):
        assert len(list_locks(owner)) == 1
    assert scene.names(FileType.LOCK) == []


def test_a_store_that_refuses_is_asked_once_for_each_lock_that_is_taken(scene: _Scene) -> None:
    for _number in range(5):
        scene.back_up(scene.append_only()[0])
    repository, backend = scene.append_only()
    with hold_lock(repository):
        assert len(backend.refused) == 1
    assert len(backend.refused) == 2, "and once for its own"


def test_locks_of_other_machines_that_nobody_can_delete_exclude_nobody_after_half_an_hour(
        scene: _Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from kuramori.repository import locks
    from kuramori.repository.process_identity import ProcessIdentity, current_identity

    here = current_identity()
    other = ProcessIdentity(hostname="elsewhere", username=here.username, pid=here.pid, uid=here.uid, gid=here.gid)
    monkeypatch.setattr(locks, "current_identity", lambda: other)
    repository, _backend = scene.append_only()
    with hold_lock(repository):
        pass
    monkeypatch.undo()
    owner = open_repository(scene.store, PASSWORD, OpenOptions(clock=scene.clock))
    with pytest.raises(RepositoryLockedError), hold_lock(owner, exclusive=True):
        pass
    scene.clock.advance(STALE_SECONDS + 1)
    with hold_lock(owner, exclusive=True):
        pass


@pytest.mark.parametrize("locks", [True, False])
def test_forget_and_prune_say_at_once_that_they_may_not(scene: _Scene, locks: bool) -> None:
    for _number in range(2):
        scene.back_up(scene.append_only(locks=locks)[0])
    repository, _backend = scene.append_only(locks=locks)
    before = {file_type: scene.names(file_type) for file_type in FileType if file_type is not FileType.LOCK}
    newest = scene.names(FileType.SNAPSHOT)[0]
    with pytest.raises(DeletionRefusedError) as refused:
        forget(repository, ForgetOptions(ids=(newest,), prune=True))
    assert "maintenance" in str(refused.value)
    assert refused.value.exit_code == 1
    with pytest.raises(DeletionRefusedError):
        prune(repository, PruneOptions())
    assert prune(repository, PruneOptions(dry_run=True, no_lock=True)).dry_run, "to look is no sin"
    assert {file_type: scene.names(file_type) for file_type in before} == before
