"""rclone as our child: how it starts, fails, hangs and ends."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kuramori.clock import SystemClock
from kuramori.errors import (
    FileNotInStorageError,
    RcloneAwayError,
    RcloneFailedError,
    RcloneMissingError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType
from kuramori.storage.last_words import LastWords
from kuramori.storage.location import open_backend
from kuramori.storage.rclone import RcloneFailures
from kuramori.storage.reaching import reach_store
from kuramori.testing.backend_contract import handle_of, noise
from samples.process_watching import children_of


def _access(program: str, *, stall_seconds: float = 30.0, variables: dict[str, str] | None = None,
            **options: str) -> StoreAccess:
    named = {"rclone.program": program, **{f"rclone.{name}": value for name, value in options.items()}}
    return StoreAccess({"PATH": os.defpath, "RCLONE_CONFIG": "/nonexistent/rclone.conf", **(variables or {})}, named,
                       stall_seconds=stall_seconds)


@pytest.fixture
def child_and_store(rclone: str, tmp_path: Path) -> Iterator[tuple[int, Backend]]:
    """rclone's process and a store on a folder that holds a config."""
    before = children_of(os.getpid())
    store = open_backend(f"rclone:{tmp_path}", _access(rclone))
    store.create()
    store.save(CONFIG_HANDLE, [b"config"])
    (child,) = children_of(os.getpid()) - before
    yield child, store
    store.close()


def test_it_ends_with_the_store(child_and_store: tuple[int, Backend]) -> None:
    child, store = child_and_store
    store.close()
    assert not Path(f"/proc/{child}").exists()


def test_it_starts_only_when_it_is_needed(rclone: str, tmp_path: Path) -> None:
    before = children_of(os.getpid())
    open_backend(f"rclone:{tmp_path}", _access(rclone)).close()
    assert children_of(os.getpid()) == before


def test_one_that_hangs_is_noticed(rclone: str, tmp_path: Path) -> None:
    before = children_of(os.getpid())
    store = open_backend(f"rclone:{tmp_path}", _access(rclone, stall_seconds=0.4))
    _until_it_answers(store.create)
    _until_it_answers(lambda: store.save(CONFIG_HANDLE, [b"config"]))
    (child,) = children_of(os.getpid()) - before
    os.kill(child, signal.SIGSTOP)
    _wait_until_it_stands(child)
    try:
        with pytest.raises(StorageRetryableError):
            store.load(CONFIG_HANDLE)
        content = noise(9 << 20)  # more than pipe and windows take
        with pytest.raises(StorageRetryableError):
            store.save(handle_of(FileType.PACK, content), [content])
    finally:
        os.kill(child, signal.SIGCONT)
    _until_it_answers(lambda: store.load(CONFIG_HANDLE))
    store.close()


def _until_it_answers(operation: Callable[[], object]) -> None:
    """Such short patience is often not enough on a machine that is busy."""
    for _ in range(300):
        try:
            operation()
            return
        except StorageRetryableError:
            time.sleep(0.1)
    raise AssertionError("it does not answer")


def _wait_until_it_stands(process: int) -> None:
    for _ in range(600):
        states: list[str] = []
        with suppress(FileNotFoundError):  # a thread that ends before it is stopped
            states += [(task / "stat").read_text().rpartition(")")[2].split()[0]
                       for task in Path(f"/proc/{process}/task").iterdir()]
        if set(states) == {"T"}:
            return
        time.sleep(0.1)
    raise AssertionError(states)


def test_one_that_dies_is_an_error_that_may_pass_and_is_started_again(child_and_store: tuple[int, Backend]) -> None:
    child, store = child_and_store
    os.kill(child, signal.SIGKILL)
    with suppress(RcloneAwayError):  # whoever comes before its end is noticed
        for _ in range(1000):
            assert store.load(CONFIG_HANDLE) == b"config"
    assert RcloneAwayError.retryable
    assert store.load(CONFIG_HANDLE) == b"config"
    assert child not in children_of(os.getpid())


@pytest.mark.parametrize("program", ["/nonexistent/rclone", "rclone-that-is-nowhere -v", "/"])
def test_a_program_that_is_not_there(program: str) -> None:
    with pytest.raises(RcloneMissingError) as caught:
        open_backend("rclone:remote:path", _access(program)).load(CONFIG_HANDLE)
    assert not caught.value.retryable
    assert program.split()[0] in str(caught.value)
    assert "rclone.program" in caught.value.advice_text()


def test_a_remote_that_rclone_does_not_know(rclone: str) -> None:
    store = reach_store("rclone:nosuch:path", _access(rclone), clock=SystemClock())
    with pytest.raises(RcloneFailedError) as caught:
        store.create()
    assert "nosuch" in str(caught.value)
    assert "didn't find section" in str(caught.value)
    store.close()


@pytest.mark.parametrize("program", ["cat", "sh -c 'echo hello; cat'", "true", "sh -c 'exit 3'"])
def test_a_program_that_is_no_rclone(program: str) -> None:
    store = open_backend("rclone:remote:path", _access(program, args="-"))
    with pytest.raises(RcloneFailedError) as caught:
        store.load(CONFIG_HANDLE)
    assert not caught.value.retryable
    store.close()


def test_a_program_that_never_says_a_word() -> None:
    store = open_backend("rclone:remote:path", _access("sh -c 'exec sleep 300'", timeout="200ms"))
    with pytest.raises(StorageRetryableError) as caught:
        store.load(CONFIG_HANDLE)
    assert "in time" in str(caught.value)
    store.close()


def test_restics_options_choose_program_and_arguments(rclone: str, tmp_path: Path) -> None:
    program = f"env RCLONE_CONFIG_HERE_TYPE=alias RCLONE_CONFIG_HERE_REMOTE={shlex.quote(str(tmp_path))} {rclone}"
    store = open_backend("rclone:here:folder", _access(program, args="serve restic --stdio --append-only"))
    store.create()
    store.save(CONFIG_HANDLE, [b"config"])
    assert (tmp_path / "folder" / "config").read_bytes() == b"config"
    with pytest.raises(StorageError) as caught:
        store.remove(CONFIG_HANDLE)
    assert "append-only" in str(caught.value)
    store.close()


@pytest.mark.parametrize("options", [{"program": "'rclone"}, {"args": '"serve'}, {"timeout": "soon"}])
def test_options_that_make_no_sense(options: dict[str, str]) -> None:
    access = StoreAccess(options={f"rclone.{name}": value for name, value in options.items()})
    with pytest.raises(StorageError) as caught:
        open_backend("rclone:remote:path", access)
    assert f"rclone.{next(iter(options))}" in str(caught.value)


def test_what_rclone_says_is_told_without_passwords(rclone: str) -> None:
    store = open_backend("rclone::nosuchkind,pass=hidden:path", _access(rclone))
    with pytest.raises(RcloneFailedError) as caught:
        store.load(CONFIG_HANDLE)
    assert "hidden" not in str(caught.value)
    assert "nosuchkind" in str(caught.value)
    store.close()


def test_an_error_of_the_far_side_is_told_with_what_rclone_says(rclone: str, tmp_path: Path) -> None:
    """A file where the folder of snapshots should be."""
    store = open_backend(f"rclone:{tmp_path}", _access(rclone))
    (tmp_path / "snapshots").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        store.save(handle_of(FileType.SNAPSHOT, b"x"), [b"x"])
    assert "rclone" in str(caught.value).partition(str(tmp_path))[2].replace("rclone:", "")
    assert not isinstance(caught.value, (FileNotInStorageError, StorageFullError))
    store.close()


@pytest.mark.parametrize(("said", "kind"), [
    ("googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded", StorageFullError),
    ("preallocate: file too big for remaining disk space", StorageFullError),
    ("mkdir /srv: permission denied", StoragePermissionError),
    ("couldn't fetch token: invalid_grant: maybe token expired?", StoragePermissionError),
    ("unexpected EOF", StorageRetryableError),
])
def test_what_rclone_says_tells_what_its_status_does_not(said: str, kind: type[StorageError]) -> None:
    """rclone answers 500 to everything."""
    words = LastWords()
    words.take(f"2026/11/26 11:00:01 ERROR : data/aa/a: Post request put error: {said}\n".encode())
    error = RcloneFailures("rclone:x:", words).of_status(500, {}, b"", "save", "data/a")
    assert type(error) is kind
