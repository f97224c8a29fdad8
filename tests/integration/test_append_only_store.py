"""A store that refuses to delete: backups work, locks neither fail them nor block for ever, and nobody is told that
something was cleaned up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from integration.test_manager_commands import Commands
from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    DeletionRefusedError,
    DifferentRepositoryError,
    RepositoryAwayError,
    RepositoryLockedError,
    StoragePermissionError,
)
from kuramori.history.records import OperationState
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.manager.model import Health, RestoreRunOptions, RunState
from kuramori.repository.locks import STALE_SECONDS, hold_lock, list_locks
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentRetention, MaintenanceSettings, RepositorySettings, StoreSettings
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.planter import Planter
from samples.rclone_server import RcloneServer
from samples.repositories import PASSWORD, QUICK
from samples.seaweedfs import ADMIN, WRITER, SeaweedServer


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


# --- a real server, and another one that lets delete -----------------------------------------


@pytest.fixture(scope="module")
def two_servers(rclone: str) -> Iterator[tuple[RcloneServer, RcloneServer]]:
    """A server for appending only, and one on the same files without that."""
    server = RcloneServer(rclone, "restic", "--append-only")
    other = RcloneServer(rclone, "restic", files=server.files)
    yield server, other
    other.remove()
    server.remove()


def _planter(folder: Path, server: RcloneServer, name: str, **more: Any) -> Planter:
    planter = Planter(folder, repositories=("nas",))
    planter.places["nas"] = RepositorySettings("nas", "rest:" + server.url(f"{name}/"), **more)
    for component in ("images", "logs"):
        planter.change_component(component, retention=ComponentRetention(days=1))
    return planter


def test_a_job_on_an_append_only_server_and_its_cleanup(tmp_path: Path,
                                                        two_servers: tuple[RcloneServer, RcloneServer]) -> None:
    server, other = two_servers
    planter = _planter(tmp_path, server, "job")
    planter.manager.initialise()
    for _number in range(3):
        assert planter.back_up().state is RunState.COMPLETE
        planter.clock.advance(86_400)
    store = server.files / "job"
    assert list((store / "locks").rglob("*")) == [], "this server lets locks go"
    before = sorted(path for path in store.rglob("*") if path.is_file())
    result = planter.manager.clean_up()
    assert not result.success
    assert isinstance(result.repositories["nas"].error, DeletionRefusedError)
    assert (result.removed, result.freed_bytes) == ((), 0)
    assert planter.history.operations()[0].state is OperationState.FAILED
    assert sorted(path for path in store.rglob("*") if path.is_file()) == before
    assert planter.manager.clean_up(dry_run=True).removed, "what would go can be looked at"

    planter.places["nas"] = replace(planter.places["nas"], maintenance=MaintenanceSettings(
        location="rest:" + other.url("job/")))
    result = planter.manager.clean_up()
    assert result.success
    assert {removed.component for removed in result.removed} == {"images", "logs", "manifest"}
    assert planter.back_up().state is RunState.COMPLETE, "the id is remembered for the ordinary way, and is the same"
    assert len(planter.manager.list_runs()) == 2


def test_nothing_but_a_cleanup_uses_the_way_for_maintenance(tmp_path: Path,
                                                            two_servers: tuple[RcloneServer, RcloneServer]) -> None:
    server, _other = two_servers
    nowhere = MaintenanceSettings(location=str(tmp_path / "nowhere"))
    planter = _planter(tmp_path, server, "ordinary", maintenance=nowhere)
    planter.manager.initialise()
    planter.back_up()
    assert planter.manager.restore(RestoreRunOptions("latest", target=tmp_path / "out")).success
    assert planter.manager.status().health is Health.WELL
    assert isinstance(planter.manager.clean_up().repositories["nas"].error, RepositoryAwayError)
    assert not (tmp_path / "nowhere").exists()
    # Another repository at that place is no place to clean up.
    create_repository(LocalBackend(tmp_path / "nowhere"), PASSWORD, CreateOptions(kdf=QUICK))
    assert isinstance(planter.manager.clean_up().repositories["nas"].error, DifferentRepositoryError)
    assert planter.back_up().state is RunState.COMPLETE


def test_a_job_with_keys_that_may_not_delete_from_a_bucket(tmp_path: Path, seaweed: SeaweedServer) -> None:
    planter = Planter(tmp_path, repositories=("bucket",))
    planter.places["bucket"] = RepositorySettings("bucket", seaweed.location("append-only"),
                                                  store=StoreSettings(environment=WRITER.variables()))
    for component in ("images", "logs"):
        planter.change_component(component, retention=ComponentRetention(days=1))
    planter.manager.initialise()
    for _number in range(2):
        assert planter.back_up().state is RunState.COMPLETE
        planter.clock.advance(2 * 86_400)
    refused = planter.manager.clean_up()
    assert isinstance(refused.repositories["bucket"].error, DeletionRefusedError)
    assert len(planter.manager.list_runs()) == 2
    planter.places["bucket"] = replace(planter.places["bucket"], maintenance=MaintenanceSettings(
        environment=ADMIN.variables()))
    assert {removed.component for removed in planter.manager.clean_up().removed} == {"images", "logs", "manifest"}
    assert planter.back_up().state is RunState.COMPLETE
    assert planter.manager.restore(RestoreRunOptions("latest", target=tmp_path / "out")).success


def test_commands_that_delete_from_a_named_repository_go_the_way_for_maintenance(tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    text = commands.settings.read_text()
    commands.settings.write_text(text + f'[repositories.nas.maintenance]\nlocation = "{tmp_path}/nowhere"\n')
    commands.run("backup")
    commands.run("-r", "nas", "snapshots")
    for command in ("prune", "unlock"):
        assert f"{tmp_path}/nowhere" in commands.run("-r", "nas", command, code=10).stderr
    assert not (tmp_path / "nowhere").exists()
