"""The power goes at every system call of init, backup, prune and a change of password on a local folder.

A disk keeps for certain only what was synced: of a file the bytes there were at its last fsync, of
a folder the names there were at its last fsync. What was not synced may be lost, may survive, or
may survive in part and in another order. The system calls of a real run are recorded, and for each
moment several such disks are made up and looked at by the next process.
"""

import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock, SystemClock
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import RepositoryExistsError, WrongPasswordError
from kuramori.ids import is_hex_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.keys import change_password
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.thoroughness import first_point, stride

OLD, NEW = Secret("old password"), Secret("new password")
CHEAP = KdfParameters(16, 8, 1)
_EVERYDAY = 4
"""On every day the power goes after each so-many-th event; in CI after every one."""


class Event(NamedTuple):
    """One change of the disk, or a sync."""

    kind: str
    """``create write sync_file rename unlink mkdir sync_folder``."""
    path: str = ""
    """Of a name; for ``rename`` the old one."""
    new_path: str = ""
    inode: int = 0
    data: bytes = b""


class Recorder:
    """Notes what the process does to one folder while it really does it."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.events: list[Event] = []
        self._root = str(root)
        self._guard = threading.Lock()
        for name in ("open", "writev", "fsync", "replace", "unlink", "mkdir"):
            patch.setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))

    def _note(self, event: Event) -> None:
        if not event.path or event.path.startswith(self._root):
            with self._guard:
                self.events.append(event)

    def _open(self, real: Callable[..., int]) -> Callable[..., int]:
        def function(path: str, flags: int, *rest: int, **named: int) -> int:
            fd = real(path, flags, *rest, **named)
            if flags & os.O_CREAT:
                self._note(Event("create", str(path), inode=os.fstat(fd).st_ino))
            return fd
        return function

    def _writev(self, real: Callable[..., int]) -> Callable[..., int]:
        def function(fd: int, views: list[memoryview]) -> int:
            written = real(fd, views)
            self._note(Event("write", inode=os.fstat(fd).st_ino, data=b"".join(views)[:written]))
            return written
        return function

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def function(fd: int) -> None:
            real(fd)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                self._note(Event("sync_folder", os.readlink(f"/proc/self/fd/{fd}")))
            else:
                self._note(Event("sync_file", inode=os.fstat(fd).st_ino))
        return function

    def _replace(self, real: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def function(old: str, new: str) -> None:
            real(old, new)
            self._note(Event("rename", old, new))
        return function

    def _unlink(self, real: Callable[[str], None]) -> Callable[[str], None]:
        def function(path: str, **named: int) -> None:
            real(path, **named)
            self._note(Event("unlink", str(path)))
        return function

    def _mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def function(path: str, *rest: int) -> None:
            real(path, *rest)
            self._note(Event("mkdir", path))
        return function


class Disk:
    """A folder as it is now and as far as it is certain, inside a file system."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._now: dict[str, int] = {}
        """Path -> inode; a folder has inode 0."""
        self._certain: dict[str, int] = {}
        self._written: dict[int, bytes] = {}
        self._synced: dict[int, bytes] = {}
        for path in [root, *root.rglob("*")] if root.exists() else []:
            inode = 0 if path.is_dir() else path.stat().st_ino
            self._now[str(path)] = self._certain[str(path)] = inode
            if inode:
                self._written[inode] = self._synced[inode] = path.read_bytes()

    def apply(self, event: Event) -> None:
        """Carry one event out."""
        match event.kind:
            case "create":
                self._now[event.path] = event.inode
                self._written[event.inode] = self._synced[event.inode] = b""
            case "write":
                self._written[event.inode] += event.data
            case "sync_file":
                self._synced[event.inode] = self._written[event.inode]
            case "rename":
                self._now[event.new_path] = self._now.pop(event.path)
            case "unlink":
                del self._now[event.path]
            case "mkdir":
                self._now[event.path] = 0
            case "sync_folder":
                kept = {path: inode for path, inode in self._certain.items()
                        if os.path.dirname(path) != event.path}
                names = {path: inode for path, inode in self._now.items()
                         if os.path.dirname(path) == event.path}
                self._certain = {**kept, **names}

    def only_what_is_certain(self) -> dict[Handle, bytes]:
        """Everything that was not synced is lost."""
        return self._files(self._certain, self._synced)

    def names_without_contents(self) -> dict[Handle, bytes]:
        """Names reached the disk and contents did not: there are zeros."""
        zeros = {inode: self._synced[inode].ljust(len(content), b"\0")
                 for inode, content in self._written.items()}
        return self._files(self._now, zeros)

    def by_chance(self, chance: random.Random) -> dict[Handle, bytes]:
        """Each unsynced name and content is there or not, by chance."""
        names = {}
        for path in sorted({*self._now, *self._certain}):
            source = chance.choice((self._now, self._certain))
            if path in source:
                names[path] = source[path]
        contents = {inode: chance.choice((content, self._synced[inode], content[: len(content) // 2]))
                    if content != self._synced[inode] else content
                    for inode, content in self._written.items()}
        return self._files(names, contents)

    def _files(self, names: dict[str, int], contents: dict[int, bytes]) -> dict[Handle, bytes]:
        """Return the files of a repository that can be reached by names."""
        found = {}
        for path, inode in names.items():
            parts = os.path.relpath(path, self._root).split("/")
            above = [os.path.join(self._root, *parts[:depth]) for depth in range(len(parts))]
            if inode and all(folder in names or folder == self._root for folder in above):
                with suppress(KeyError):
                    found[_handle(parts)] = contents[inode]
        return found


def _handle(parts: list[str]) -> Handle:
    """Return the handle of a path; KeyError if it is none of a repository's."""
    if parts == ["config"]:
        return CONFIG_HANDLE
    file_type = {kind.value: kind for kind in FileType}[parts[0]]
    if not is_hex_id(parts[-1]) or len(parts) != (3 if file_type is FileType.PACK else 2):
        raise KeyError(parts[-1])
    return Handle(file_type, parts[-1])


def possible_disks(root: Path, action: Callable[[], object]) -> Iterator[tuple[str, dict[Handle, bytes]]]:
    """Do something to a folder, and yield what may be on the disk after a power cut at any moment
    of it, each with a description."""
    disk = Disk(root)
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch, root)
        action()
    assert len([event for event in recorder.events if event.kind == "sync_file"]) >= 2
    chance = random.Random(7)
    apart = stride(_EVERYDAY)
    first = first_point(apart)
    seen = 0
    for number, event in enumerate(recorder.events, 1):
        disk.apply(event)
        if event.kind == "mkdir":
            continue  # hundreds, and without files in them
        seen += 1
        if seen % apart != first:
            continue
        where = f"after event {number}, {event.kind} {os.path.basename(event.new_path or event.path)}"
        yield f"{where}: only what is certain", disk.only_what_is_certain()
        yield f"{where}: names without contents", disk.names_without_contents()
        yield f"{where}: by chance", disk.by_chance(chance)
    yield "in the end: only what is certain", disk.only_what_is_certain()


def drop_torn(files: dict[Handle, bytes]) -> dict[Handle, bytes]:
    """Leave out locks: a torn one is dealt with by whoever takes the next lock, and read with
    patience, which takes seconds."""
    return {handle: content for handle, content in files.items() if handle.type is not FileType.LOCK}


def open_files(files: dict[Handle, bytes], password: Secret = OLD) -> Repository:
    repository = open_repository(MemoryBackend(files), password, OpenOptions(clock=SystemClock()))
    repository.load_index()
    return repository


def judge(files: dict[Handle, bytes], password: Secret = OLD) -> Repository:
    """The repository opens and every byte of it is right."""
    repository = open_files(files, password)
    result = check(repository, CheckOptions(read_data=True, no_lock=True))
    assert not result.errors, result.errors
    return repository


def make_repository(root: Path) -> LocalBackend:
    backend = LocalBackend(root)
    create_repository(backend, OLD, CreateOptions(kdf=CHEAP))
    return backend


def save(backend: Backend, source: Path, clock: Clock | None = None) -> str:
    repository = open_repository(backend, OLD, OpenOptions(clock=clock or SystemClock()))
    result = back_up(repository, BackupOptions(paths=(os.fsencode(source),), workers=0,
                                               pack_size=4 * 1024 * 1024))
    assert not result.errors
    assert result.snapshot_id is not None
    return result.snapshot_id


def test_the_power_goes_during_init(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    for where, files in possible_disks(root, lambda: make_repository(root)):
        try:
            if CONFIG_HANDLE in files and files[CONFIG_HANDLE].strip(b"\0"):
                judge(files)
            else:
                again = MemoryBackend(drop_empty_keys(files))
                with suppress(RepositoryExistsError):
                    create_repository(again, OLD, CreateOptions(kdf=CHEAP))
                judge(again.snapshot())
        except BaseException as error:
            error.add_note(where)
            raise


def drop_empty_keys(files: dict[Handle, bytes]) -> dict[Handle, bytes]:
    """Leave out what holds nothing."""
    return {handle: content for handle, content in files.items() if content.strip(b"\0")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "logs").mkdir(parents=True)
    chance = random.Random(3)
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(chance.randbytes(1_300_000))
        (folder / "logs" / str(number)).write_text(f"line {number}\n" * 100)
    return folder


def test_the_power_goes_during_a_backup(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "repository"
    backend = make_repository(root)
    known: dict[str, Contents] = {save(backend, source): folder_contents(source)}
    (source / "4.jpg").write_bytes(random.Random(4).randbytes(4_500_000))
    (source / "logs" / "1").write_text("changed\n")
    now = folder_contents(source)
    stored: list[StoredSnapshot] = []
    for where, files in possible_disks(root, lambda: save(backend, source)):
        try:
            repository = judge(drop_torn(files))
            stored = load_snapshots(repository)
            assert set(known) <= {snapshot.id for snapshot in stored}
            for snapshot in stored:
                contents = snapshot_contents(repository, snapshot.snapshot.tree, source)
                assert contents == known.get(snapshot.id, now)
        except BaseException as error:
            error.add_note(where)
            raise
    assert len(stored) == 2  # the program said that it is saved, so it is


def test_the_power_goes_during_a_change_of_password(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "repository"
    backend = make_repository(root)
    save(backend, source)

    def change() -> None:
        repository = open_repository(backend, OLD)
        with hold_lock(repository, exclusive=True):
            change_password(repository, NEW, parameters=CHEAP)

    for where, files in possible_disks(root, change):
        try:
            try:
                judge(drop_torn(files), OLD)
            except WrongPasswordError:
                judge(drop_torn(files), NEW)
        except BaseException as error:
            error.add_note(where)
            raise
    judge(files, NEW)


def test_the_power_goes_during_a_prune(tmp_path: Path, source: Path) -> None:
    """An index file that comes back would name packs that are gone."""
    root = tmp_path / "repository"
    backend = make_repository(root)
    forgotten = save(backend, source)
    (source / "0.jpg").unlink()
    (source / "logs" / "1").write_text("changed\n")
    known = {save(backend, source): folder_contents(source)}
    (source / "1.jpg").write_bytes(random.Random(5).randbytes(400_000))
    known[save(backend, source)] = folder_contents(source)
    backend.remove(Handle(FileType.SNAPSHOT, forgotten))
    options = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))

    def work() -> None:
        assert prune(open_repository(backend, OLD), options).packs_removed >= 2

    for where, files in possible_disks(root, work):
        try:
            repository = judge(drop_torn(files))
            assert {snapshot.id for snapshot in load_snapshots(repository)} == set(known)
            for snapshot in load_snapshots(repository):
                assert snapshot_contents(repository, snapshot.snapshot.tree, source) == known[snapshot.id]
        except BaseException as error:
            error.add_note(where)
            raise
    assert prune(open_repository(backend, OLD), options).plan.empty
