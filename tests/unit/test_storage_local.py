"""What a folder on disk shows of a repository, and how system errors come out."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kuramori.errors import (
    FileNotInStorageError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
)
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.leftovers import leftover_name
from kuramori.storage.local import LocalBackend
from kuramori.testing.backend_contract import handle_of
from kuramori.testing.clock import FakeClock

PACK = handle_of(FileType.PACK, b"pack")
SNAPSHOT = handle_of(FileType.SNAPSHOT, b"snapshot")


@pytest.fixture
def store(tmp_path: Path) -> LocalBackend:
    backend = LocalBackend(tmp_path / "repository")
    backend.create()
    return backend


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_the_layout_is_restics(store: LocalBackend) -> None:
    root = Path(store.location)
    store.save(CONFIG_HANDLE, [b"config"])
    store.save(PACK, [b"pack"])
    store.save(SNAPSHOT, [b"snapshot"])
    assert all_files(root) == ["config", f"data/{PACK.name[:2]}/{PACK.name}", f"snapshots/{SNAPSHOT.name}"]
    assert {path.name for path in root.iterdir()} == {"config", "data", "index", "keys", "locks", "snapshots"}
    assert {path.name for path in (root / "data").iterdir()} == {f"{number:02x}" for number in range(256)}


def test_only_the_owner_may_read_it_and_files_are_read_only(store: LocalBackend) -> None:
    root = Path(store.location)
    store.save(PACK, [b"pack"])
    staged = store.stage()
    assert [mode(path) for path in (root / "data").glob("kuramori-tmp-*")] == [0o600]
    staged.commit(SNAPSHOT)
    assert mode(root / "data" / PACK.name[:2] / PACK.name) == 0o400
    assert mode(root / "snapshots" / SNAPSHOT.name) == 0o400
    assert {mode(path) for path in [root, *root.rglob("*")] if path.is_dir()} == {0o700}


def test_a_config_that_the_group_may_read_opens_everything_new_to_the_group(store: LocalBackend) -> None:
    root = Path(store.location)
    store.save(CONFIG_HANDLE, [b"config"])
    (root / "config").chmod(0o440)
    (root / "snapshots").rmdir()
    store.save(SNAPSHOT, [b"snapshot"])
    assert mode(root / "snapshots" / SNAPSHOT.name) == 0o440
    assert mode(root / "snapshots") & 0o750 == 0o750


def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(fd: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"file of {os.fstat(fd).st_size} bytes"
        steps.append(f"sync {kind}")
        real_sync(fd)

    def replace(old: str, new: str) -> None:
        steps.append(f"rename to {os.path.basename(new)[:8]}")
        real_replace(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    expected = ["sync file of 4 bytes", f"rename to {PACK.name[:8]}", "sync folder"]
    store.save(PACK, [b"pa", b"ck"])
    assert steps == expected
    steps.clear()
    staged = store.stage()
    staged.write([b"pack"])
    staged.commit(PACK)
    assert steps == expected


def test_a_failed_sync_is_not_tried_again_and_leaves_no_file(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def sync(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(StorageError, match="Input/output error") as caught:
        store.save(PACK, [b"pack"])
    assert len(calls) == 1
    assert not caught.value.retryable
    assert all_files(Path(store.location)) == []


def test_file_systems_without_modes_or_folder_syncs_will_do(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    real_sync = os.fsync

    def sync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_sync(fd)

    def refuse(fd: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fchmod", refuse)
    store.save(PACK, [b"pack"])
    assert store.load(PACK) == b"pack"


def test_a_system_that_writes_a_few_bytes_at_a_time_still_gets_everything(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "writev", lambda fd, views: os.write(fd, bytes(views[0])[:3]))
    content = bytes(range(100))
    store.save(PACK, [content[:50], b"", content[50:51], content[51:]])
    assert store.load(PACK) == content


def raising(code: int) -> Callable[..., Any]:
    def function(*arguments: object, **named: object) -> None:
        raise OSError(code, os.strerror(code))
    return function


@pytest.mark.parametrize(("code", "kind"), [
    (errno.ENOSPC, StorageFullError), (errno.EDQUOT, StorageFullError), (errno.EROFS, StoragePermissionError),
    (errno.EACCES, StoragePermissionError), (errno.ESTALE, StorageRetryableError), (errno.EIO, StorageError),
])
def test_errors_of_writing(store: LocalBackend, monkeypatch: pytest.MonkeyPatch, code: int,
                           kind: type[StorageError]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", raising(code))
        with pytest.raises(StorageError) as caught:
            store.save(PACK, [b"pack"])
        staged = store.stage()
        with pytest.raises(kind):
            staged.write([b"pack"])
        staged.discard()
    assert type(caught.value) is kind
    assert all_files(Path(store.location)) == []


@pytest.mark.parametrize(("function", "operation"), [
    ("open", lambda store: store.load(PACK)), ("stat", lambda store: store.size(PACK)),
    ("unlink", lambda store: store.remove(PACK)), ("scandir", lambda store: [*store.list(FileType.PACK)]),
    ("open", lambda store: store.stage()), ("mkdir", lambda store: store.create()),
])
def test_a_refusal_is_a_permission_error_everywhere(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch, function: str,
        operation: Callable[[LocalBackend], object]) -> None:
    store.save(PACK, [b"pack"])
    monkeypatch.setattr(os, function, raising(errno.EACCES))
    with pytest.raises(StoragePermissionError) as caught:
        operation(store)
    assert not caught.value.retryable
    assert store.location in str(caught.value)


def test_a_file_that_a_server_will_not_delete_while_read_only_is_made_writable_first(
        store: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(PACK, [b"pack"])
    real_unlink = os.unlink

    def unlink(path: str) -> None:
        if not os.stat(path).st_mode & 0o200:
            raise PermissionError(errno.EACCES, "Permission denied")
        real_unlink(path)

    monkeypatch.setattr(os, "unlink", unlink)
    store.remove(PACK)
    assert [*store.list(FileType.PACK)] == []


def test_folders_that_a_copying_tool_dropped_are_made_again(store: LocalBackend) -> None:
    root = Path(store.location)
    store.save(CONFIG_HANDLE, [b"config"])
    for folder in ("locks", "snapshots", f"data/{PACK.name[:2]}"):
        (root / folder).rmdir()
    store.save(SNAPSHOT, [b"snapshot"])
    staged = store.stage()
    staged.write([b"pack"])
    staged.commit(PACK)
    store.save(Handle(FileType.LOCK, "0" * 64), [b"lock"])
    assert store.load(SNAPSHOT) == b"snapshot"
    assert store.load(PACK) == b"pack"


def test_nothing_is_written_where_the_disk_was_unmounted(tmp_path: Path) -> None:
    mount_point = tmp_path / "usb"
    mount_point.mkdir()
    store = LocalBackend(mount_point)
    for operation in (lambda: store.save(SNAPSHOT, [b"snapshot"]), store.stage):
        with pytest.raises(StorageError, match="is its disk mounted"):
            operation()
    assert [*mount_point.iterdir()] == []
    assert [*store.list(FileType.PACK)] == []


def test_a_pack_in_the_wrong_folder_is_not_listed(store: LocalBackend) -> None:
    wrong = "00" if PACK.name[:2] != "00" else "01"
    Path(store.location, "data", wrong, PACK.name).write_bytes(b"pack")
    Path(store.location, "data", PACK.name).write_bytes(b"pack")
    assert [*store.list(FileType.PACK)] == []


def test_what_is_no_regular_file_is_refused_without_waiting(store: LocalBackend) -> None:
    root = Path(store.location)
    os.mkfifo(root / "snapshots" / SNAPSHOT.name)
    (root / "data" / PACK.name[:2] / PACK.name).mkdir()
    (root / "keys" / PACK.name).symlink_to("nowhere")
    for handle in (SNAPSHOT, PACK):
        with pytest.raises(StorageError, match="not a regular file"):
            store.load(handle)
        assert [*store.list(handle.type)] == []
    assert [*store.list(FileType.KEY)] == []


def test_a_repository_spread_over_links_works(store: LocalBackend, tmp_path: Path) -> None:
    root = Path(store.location)
    elsewhere = tmp_path / "elsewhere"
    (root / "data").rename(elsewhere)
    (root / "data").symlink_to(elsewhere)
    store.save(PACK, [b"pack"])
    assert store.load(PACK) == b"pack"
    assert len([*store.list(FileType.PACK)]) == 1


@pytest.mark.parametrize("name", ["", "README", "../../config", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_id_never_becomes_a_path(store: LocalBackend, name: str) -> None:
    for file_type in (FileType.PACK, FileType.SNAPSHOT):
        with pytest.raises(ValueError, match="not the name"):
            store.load(Handle(file_type, name))
        with pytest.raises(ValueError, match="not the name"):
            store.save(Handle(file_type, name), [b"x"])
    assert all_files(Path(store.location)) == []


def test_a_file_in_the_place_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = LocalBackend(tmp_path / "file")
    with pytest.raises(FileNotInStorageError):
        store.load(CONFIG_HANDLE)
    with pytest.raises(StorageError, match="Not a directory"):
        store.create()


def test_folders_above_are_made(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path / "a" / "b" / "c")
    store.create()
    store.save(PACK, [b"pack"])
    assert (tmp_path / "a" / "b" / "c" / "data").is_dir()


def test_a_relative_path_means_the_same_after_a_change_of_directory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalBackend("repository")
    monkeypatch.chdir("/")
    assert store.location == str(tmp_path / "repository")
    assert store.worker_location == store.location


def test_a_path_that_is_no_text_is_not_handed_to_workers(tmp_path: Path) -> None:
    store = LocalBackend(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    store.create()
    store.save(PACK, [b"pack"])
    assert store.worker_location is None
    assert os.path.isdir(os.fsencode(tmp_path) + b"/\xff/data")


# --- leftovers -------------------------------------------------------------------------------

HOUR = 3600
START = 1_795_392_000


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def plant_leftover(store: LocalBackend, folder: str, name: str, age_seconds: int = 0) -> Path:
    path = Path(store.location, folder, name)
    path.write_bytes(b"half")
    os.utime(path, (START - age_seconds, START - age_seconds))
    return path


@pytest.fixture
def dated_store(tmp_path: Path) -> LocalBackend:
    backend = LocalBackend(tmp_path / "repository", clock=FakeClock(START * 10**9))
    backend.create()
    return backend


def with_pid(name: str, pid: int) -> str:
    host_and_before, _, random = name.rpartition("-")
    return f"{host_and_before.rpartition('-')[0]}-{pid}-{random}"


def test_leftovers_of_a_dead_process_of_this_host_go_at_once(dated_store: LocalBackend) -> None:
    pid = dead_process()
    paths = [plant_leftover(dated_store, folder, with_pid(leftover_name(stem), pid))
             for folder in (".", "data", "index", "keys", "locks", "snapshots")
             for stem in ("kuramori", "config", PACK.name)]
    paths[0].chmod(0o400)  # killed between the change of mode and the rename
    assert dated_store.remove_leftovers(24 * HOUR) == len(paths)
    assert all_files(Path(dated_store.location)) == []


def test_leftovers_of_others_go_when_they_are_old(dated_store: LocalBackend) -> None:
    name = leftover_name("kuramori").replace("-tmp-", "-tmp-another")
    young = plant_leftover(dated_store, "data", name, 23 * HOUR)
    old = plant_leftover(dated_store, "index", name, 25 * HOUR)
    assert dated_store.remove_leftovers(24 * HOUR) == 1
    assert young.exists()
    assert not old.exists()


def test_a_leftover_that_somebody_holds_open_stays_however_old_it_is(
        dated_store: LocalBackend, tmp_path: Path) -> None:
    staged = dated_store.stage()
    staged.write([b"written long ago"])
    path = next(Path(dated_store.location, "data").glob("kuramori-tmp-*"))
    os.utime(path, (0, 0))
    # As another container with the same host name sees it: no such process here.
    hidden = path.rename(path.with_name(with_pid(path.name, dead_process())))
    assert dated_store.remove_leftovers(0) == 0
    hidden.rename(path)
    staged.commit(PACK)
    assert dated_store.load(PACK) == b"written long ago"


def test_other_files_are_no_leftovers_of_ours(dated_store: LocalBackend) -> None:
    names = [f"{PACK.name}-tmp-123456789", "README", "kuramori-tmp-",
             f"kuramori-tmp-host-{dead_process()}-short", f"x{leftover_name('kuramori')}",
             f"{leftover_name('kuramori')}.bak"]
    paths = [plant_leftover(dated_store, "data", name, 1000 * HOUR) for name in names]
    folder = Path(dated_store.location, "data", with_pid(leftover_name("kuramori"), dead_process()))
    folder.mkdir()
    assert dated_store.remove_leftovers(0) == 0
    assert all(path.exists() for path in [*paths, folder])


def test_leftovers_of_a_folder_that_is_gone(tmp_path: Path) -> None:
    assert LocalBackend(tmp_path / "nowhere").remove_leftovers(0) == 0
