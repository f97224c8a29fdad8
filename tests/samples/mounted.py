"""``kuramori mount`` and ``restic mount``, for as long as a ``with`` block lasts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

_DEVICE = "/dev/fuse"


def require_kernel(require_program: Callable[[str], str]) -> None:
    """Skip where the kernel has no FUSE for us, in CI too: many machines lack it, and what the kernel would
    ask is asked directly by other tests. Where it is there, the programs have to be there as well."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR))
    except OSError as error:
        pytest.skip(f"{_DEVICE} cannot be opened: {error.strerror}")
    require_program("fusermount3")


@contextmanager
def small_disk(folder: Path, options: str, skip_or_fail: Callable[[str], NoReturn]) -> Iterator[Path]:
    """Mount a disk in memory with the options of tmpfs(5) on a folder, which is made if need be.

    Skips (in CI fails) for others than root; skips where the kernel lets not even root mount, as in some containers.
    """
    if os.geteuid() != 0:
        skip_or_fail("only root may mount a small disk")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True,
                          env=os.environ | {"LC_ALL": "C"}, check=False)
    if "permission denied" in done.stderr:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield folder
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """Unmount a folder, when whoever was told to leave it has done so: a server that we hung up on needs a moment."""
    deadline = time.monotonic() + 10
    while subprocess.run(["umount", folder], capture_output=time.monotonic() < deadline,
                         check=time.monotonic() >= deadline).returncode:
        time.sleep(0.05)


@contextmanager
def mounted(command: Sequence[str | Path], mount_point: Path, environment: Mapping[str, str],
            last_line: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that mounts something, and unmount it at the end.

    Args:
        last_line: the beginning of the last line that it prints before it serves.
    """
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith(last_line):
                break
        else:
            _fail(command, said)
        yield process
    finally:
        if os.path.ismount(mount_point):
            subprocess.run(["fusermount3", "-u", "-z", mount_point], check=False, capture_output=True)
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _fail(command: Sequence[str | Path], said: list[bytes]) -> NoReturn:
    pytest.fail(f"{command} did not mount:\n{b''.join(said).decode(errors='replace')}")
