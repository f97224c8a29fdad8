"""Small files of the manager's own in the state folder: JSON, replaced whole and durably."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kuramori.clock import Clock
from kuramori.errors import JobBusyError, RepositoryBusyError, StateError
from kuramori.storage import durable_file
from kuramori.storage.leftovers import is_abandoned, leftover_name

_LARGEST = 16 * 1024 * 1024
_PATIENCE_SECONDS = 1.0


def read_state(path: Path) -> dict[str, Any]:
    """Return what a file holds; an empty dictionary where there is none or it makes no sense.

    Raises:
        StateError: it is there and cannot be read.
    """
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read(_LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StateError(path=str(path), detail=error.strerror or str(error)) from None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def write_state(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file, so that after a power cut it holds the old or the new.

    Raises:
        StateError: it cannot be written.
    """
    temporary = path.with_name(leftover_name("kuramori"))
    try:
        durable_file.make_folders(str(path.parent), 0o700)
        _remove_leftovers(path.parent)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            durable_file.lock_if_possible(fd)
            durable_file.write_all(fd, [json.dumps(value, ensure_ascii=True).encode()])
            durable_file.sync_file(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        durable_file.sync_folder(str(path.parent))
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise StateError(path=str(path), detail=error.strerror or str(error)) from None


def _remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written."""
    for name in os.listdir(folder):
        with suppress(OSError):
            if is_abandoned(str(folder / name), 0):
                os.unlink(folder / name)


@contextmanager
def hold_repositories(directory: Path, names: Iterable[str], clock: Clock, wait_seconds: float = 0.0,
                      check: Callable[[], None] | None = None,
                      waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep repositories for this process for a ``with`` block: jobs that have one in common must not meet, whoever
    starts them. Other machines are kept apart by the locks in the repository.

    Args:
        wait_seconds: how long to wait for another process, all in all.
        check: called while waiting; raises to end that.
        waiting: told the name of a repository that must be waited for, once.

    Raises:
        RepositoryBusyError: another process has one of them.
        StateError: the state folder cannot be written.
    """
    until = clock.monotonic() + wait_seconds
    with ExitStack() as stack:
        for name in sorted(set(names)):  # everybody takes them in this order, so nobody waits for each other
            fd = _open_lock(directory / "repositories" / f"{quote(name, safe='')}.lock")
            stack.callback(os.close, fd)
            told = waiting is None
            while not _locked(fd):
                if clock.monotonic() >= until:
                    raise RepositoryBusyError(name=name)
                if waiting is not None and not told:
                    told = True
                    waiting(name)
                if check is not None:
                    check()
                clock.sleep(_PATIENCE_SECONDS)
        yield


def _open_lock(path: Path) -> int:
    """Return a descriptor of a file that is only there to be locked.

    Raises:
        StateError
    """
    try:
        durable_file.make_folders(str(path.parent), 0o700)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(path=str(path), detail=error.strerror or str(error)) from None


@contextmanager
def hold_job(directory: Path, job: str, clock: Clock, wait_seconds: float = 0.0) -> Iterator[None]:
    """Keep a job for this process for a ``with`` block: a run and a restore of one job must not
    meet. The kernel frees it when the process ends, however it ends.

    Args:
        wait_seconds: how long to wait for another process.

    Raises:
        JobBusyError: another process has it.
        StateError: the state folder cannot be written.
    """
    fd = _open_lock(directory / f"{job}.lock")
    try:
        until = clock.monotonic() + wait_seconds
        while not _locked(fd):
            if clock.monotonic() >= until:
                raise JobBusyError(job=job)
            clock.sleep(_PATIENCE_SECONDS)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
