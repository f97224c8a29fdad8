"""How long a command takes, how much processor time it and its children use, and how much memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PIPE_BYTES = 1024 * 1024
_SAMPLE_SECONDS = 0.02
_SAMPLE_SHARE = 10
"""Watching takes at most this part of the time: looking at several large processes takes milliseconds."""


@dataclass(frozen=True)
class Measured:
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    """Of the whole process tree."""
    peak_bytes: int
    """Largest sum of the proportional set sizes of the process tree; 0 if it was not sampled."""


def measure(command: Sequence[str | Path], environment: Mapping[str, str], *, sample_memory: bool) -> Measured:
    """Run a command to its end.

    Memory is sampled every 20 ms where wanted, or less often where that takes long. That takes processor time from
    what is measured, so times should come from runs without it.

    Raises:
        RuntimeError: the command failed.
    """
    os.sync()  # what earlier runs left to be written shall not be paid for by this one
    started = time.perf_counter()
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        sampler = _Sampler(process.pid) if sample_memory else None
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    peak = sampler.stop() if sampler is not None else 0
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}: {said.decode(errors='replace')}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, peak)


def read_all(folder: Path) -> None:
    """Bring the data into memory, with metadata and attributes, so that nobody has the disadvantage of being first."""
    # Through a pipe: GNU tar reads no file when it sees that its output goes to /dev/null.
    with subprocess.Popen(["tar", "--create", "--xattrs", "--file", "-", str(folder)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as tar:
        assert tar.stdout is not None
        while os.read(tar.stdout.fileno(), _PIPE_BYTES):
            pass
    if tar.returncode:
        raise RuntimeError(f"{folder} cannot be read: tar ended with {tar.returncode}")


class _Sampler:
    """Watches the memory of a process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._done.is_set():
            began = time.perf_counter()
            self._peak = max(self._peak, sum(_proportional_bytes(pid) for pid in _family(self._pid)))
            self._done.wait(max(_SAMPLE_SECONDS, (_SAMPLE_SHARE - 1) * (time.perf_counter() - began)))


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for member in found:
        try:
            for listing in Path(f"/proc/{member}/task").glob("*/children"):
                found.extend(int(child) for child in listing.read_text().split())
        except OSError:
            continue  # it, or a thread of it, ended meanwhile
    return found


def _proportional_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended meanwhile
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
