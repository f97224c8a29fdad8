"""How many requests everyday commands cost where the cache is warm: each is a round trip to a store far away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.browsing.find import FindOptions, find
from kuramori.browsing.listing import ListingOptions, list_snapshot
from kuramori.errors import NoRepositoryError, WrongPasswordError
from kuramori.repository.keys import add_key
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import FaultyBackend
from samples.repositories import PASSWORD, QUICK


class _Scene:
    """A repository of several snapshots of many folders, and a machine whose cache is warm."""

    def __init__(self, folder: Path) -> None:
        self.source, self._cache = folder / "source", folder / "cache"
        self._store = MemoryBackend(connections=5)
        self._clock = FakeClock()
        create_repository(self._store, PASSWORD, CreateOptions(kdf=QUICK))
        for number in range(60):
            path = self.source / f"f{number % 6}" / f"g{number % 20}"
            path.mkdir(parents=True, exist_ok=True)
            (path / f"file{number}").write_text(f"content {number}\n" * 100)
        for _ in range(4):
            self.count(self.back_up)
            (self.source / "f0" / "g0" / "file0").write_text(f"changed at {self._clock.now()}\n")
        self.count(self.back_up)

    def back_up(self, repository: Repository) -> None:
        back_up(repository, BackupOptions(paths=(os.fsencode(self.source),), workers=1))

    def count(self, action: Callable[[Repository], object]) -> list[str]:
        """Do something as a new process would, and return the requests."""
        watched = FaultyBackend(self._store)
        self._clock.advance(60)
        action(open_repository(watched, PASSWORD, OpenOptions(
            cache_directory=self._cache, last_keys_directory=self._cache, index_directory=self._cache,
            clock=self._clock)))
        return [f"{operation.kind} {operation.subject.split('/')[0]}".strip() for operation in watched.operations]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> _Scene:
    """One for all."""
    return _Scene(tmp_path_factory.mktemp("counts"))


def _snapshots(repository: Repository) -> None:
    with hold_lock(repository, reading=True):
        assert len(load_snapshots(repository)) >= 5


def _list(repository: Repository) -> None:
    with hold_lock(repository, reading=True):
        repository.load_index()
        listing = list_snapshot(repository, "latest", ListingOptions(folders=(), recursive=False))
        assert len(list(listing.nodes)) > 80


def _find(repository: Repository) -> None:
    with hold_lock(repository, reading=True):
        repository.load_index()
        assert len(list(find(repository, FindOptions(patterns=(b"file7",))))) >= 5


_OPENED = ["load config", "load keys"]
_LOCKED = ["list locks", "save locks"]
_SENT_NOTHING = {"stage", "write", "read_back", "discard", "remove_leftovers"}
"""What is done in this machine before a pack is sent."""


def _check(requests: list[str], expected: list[str]) -> None:
    """The config and the key are asked for at the same time, so either may come first."""
    assert sorted(requests[:2]) == _OPENED
    assert requests[2:] == expected


def test_snapshots(scene: _Scene) -> None:
    _check(scene.count(_snapshots), [*_LOCKED, "list snapshots", "remove locks"])


@pytest.mark.parametrize("action", [_list, _find])
def test_looking_into_snapshots(scene: _Scene, action: Callable[[Repository], None]) -> None:
    """However many folders there are: their trees are on this machine."""
    _check(scene.count(action), [*_LOCKED, "list index", "list snapshots", "remove locks"])


def test_an_unchanged_backup(scene: _Scene) -> None:
    requests = [request for request in scene.count(scene.back_up) if request not in _SENT_NOTHING]
    if "commit data" in requests:  # a folder above the source was changed by somebody: its tree is a new one
        requests.remove("commit data")
        requests.remove("save index")
    _check(requests, [*_LOCKED, "list snapshots", "list index", "list locks", "save snapshots", "remove locks"])


def test_a_change_of_one_file_costs_two_packs_and_an_index(scene: _Scene) -> None:
    (scene.source / "f1" / "g1" / "file1").write_text("another content\n")
    requests = scene.count(scene.back_up)
    assert requests.count("commit data") == 2
    assert sum(request.startswith("load") for request in requests) == len(_OPENED)
    assert len([request for request in requests if request not in _SENT_NOTHING]) == 12


def test_a_key_that_is_gone_or_not_the_right_one_is_looked_for_as_ever(scene: _Scene, tmp_path: Path) -> None:
    store = MemoryBackend()
    create_repository(store, PASSWORD, CreateOptions(kdf=QUICK))
    other = Secret("another")
    options = OpenOptions(last_keys_directory=tmp_path)
    first = open_repository(store, PASSWORD, options).key_id
    second = add_key(open_repository(store, PASSWORD, options), other, parameters=QUICK)
    assert open_repository(store, other, options).key_id == second
    files = sorted((tmp_path / "last-keys").iterdir())
    assert [file.read_text() for file in files] == [second, second], "by its config, and by its location"
    written = [file.stat().st_ino for file in files]
    assert open_repository(store, other, options).key_id == second
    assert [file.stat().st_ino for file in files] == written, "an unchanged run writes nothing"
    store.remove(Handle(FileType.KEY, second))
    assert open_repository(store, PASSWORD, options).key_id == first
    for file in files:
        file.write_text("../../nonsense")
    assert open_repository(store, PASSWORD, options).key_id == first
    with pytest.raises(WrongPasswordError):
        open_repository(store, other, options)


def test_another_repository_at_the_same_location_is_opened_with_its_own_key(tmp_path: Path) -> None:
    options = OpenOptions(last_keys_directory=tmp_path)
    keys = []
    for _ in range(2):
        store = MemoryBackend()
        create_repository(store, PASSWORD, CreateOptions(kdf=QUICK))
        keys.append(open_repository(store, PASSWORD, options).key_id)
    assert keys[0] != keys[1]


def test_a_key_that_comes_damaged_is_asked_for_again(tmp_path: Path) -> None:
    store = MemoryBackend()
    create_repository(store, PASSWORD, CreateOptions(kdf=QUICK))
    options = OpenOptions(last_keys_directory=tmp_path)
    open_repository(store, PASSWORD, options)
    assert open_repository(_OnceDamaged(store), PASSWORD, options).key.reveal() \
        == open_repository(store, PASSWORD).key.reveal()


class _OnceDamaged(ForwardingBackend):
    """The first key that is read from it has one bit flipped on its way."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._spoiled = False

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        content = bytearray(self._inner.load(handle, offset, length))
        if handle.type is FileType.KEY and not self._spoiled:
            self._spoiled = True
            content[len(content) // 2] ^= 1
        return bytes(content)


def test_the_first_backup_asks_no_listing_twice(tmp_path: Path) -> None:
    """And a machine that knows of snapshots does, before it believes that there are none."""
    store, source = MemoryBackend(connections=5), tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content\n")
    made = create_repository(store, PASSWORD, CreateOptions(kdf=QUICK, last_keys_directory=tmp_path))
    watched = FaultyBackend(store)
    options = OpenOptions(last_keys_directory=tmp_path, ledger_directory=tmp_path / "ledger", clock=FakeClock())

    def run() -> list[str]:
        watched.operations.clear()
        repository = open_repository(watched, PASSWORD, options)
        assert repository.key_id == made.key_id
        back_up(repository, BackupOptions(paths=(os.fsencode(source),), workers=1))
        return [f"{operation.kind} {operation.subject.split('/')[0]}" for operation in watched.operations]

    first = run()
    assert [first.count(f"{kind} {subject}") for kind, subject in (
        ("list", "keys"), ("list", "snapshots"), ("list", "index"), ("list", "locks"))] == [0, 1, 1, 2]
    for file_type in (FileType.SNAPSHOT, FileType.INDEX):
        for info in list(store.list(file_type)):
            store.remove(Handle(file_type, info.name))
    assert run().count("list snapshots") == 2


def test_a_password_is_asked_for_only_where_there_is_a_repository() -> None:
    def ask() -> Secret:
        raise AssertionError("nobody should be asked")

    with pytest.raises(NoRepositoryError):
        open_repository(MemoryBackend(), ask)
