"""Devices that back up at once, each by the command line in a process of its own, into one place."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.access import StoreAccess
from kuramori.storage.reaching import reach_store
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.repositories import PASSWORD, QUICK

_PATIENCE = 120.0
_SETTINGS = """\
state_directory = "state"
cache_directory = "cache"
[repositories.central]
location = "{place}/{{hostname}}"
password_file = "password"
[jobs.device]
hostname = "{name}"
schedule = "02:00"
[jobs.device.components.early]
kind = "files"
source = "early"
[jobs.device.components.gate]
kind = "command"
command = ["cat", "{gate}"]
[jobs.device.components.late]
kind = "files"
source = "late"
"""


class DeviceProcess:
    """A device whose backup waits in its middle until :meth:`open_gate`: its folder ``early`` is saved by then, its
    folder ``late`` is not."""

    def __init__(self, folder: Path, name: str, place: str, variables: Mapping[str, str], size: int) -> None:
        """Make its files, settings and repository.

        Args:
            place: location of the fleet.
            variables: what the store needs.
            size: bytes of each of its folders.
        """
        self.name = name
        self.folder = folder / name
        self.location = f"{place}/{name}"
        self._variables = variables
        self._gate = self.folder / "gate"
        self.folder.mkdir(parents=True)
        for each in ("early", "late"):
            self._write_files(self.folder / each, size)
        os.mkfifo(self._gate)
        (self.folder / "password").write_text(PASSWORD.reveal())
        (self.folder / "password").chmod(0o600)
        (self.folder / "kuramori.toml").write_text(_SETTINGS.format(place=place, name=name, gate=self._gate))
        create_repository(reach_store(self.location, self._access, clock=FakeClock()), PASSWORD,
                          CreateOptions(kdf=QUICK)).close()
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: int | None = None

    def _write_files(self, folder: Path, size: int) -> None:
        folder.mkdir()
        chance = random.Random(f"{self.name} {folder.name}")
        for number in range(4):
            (folder / f"image-{number}").write_bytes(chance.randbytes(size // 4))
        for number in range(20):
            (folder / f"note-{number}.txt").write_text(f"{self.name} {number}\n" * 30)

    @property
    def _access(self) -> StoreAccess:
        return StoreAccess(variables=self._variables)

    def start(self) -> None:
        """Begin a backup."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kuramori", "--settings", "kuramori.toml", "backup"], cwd=self.folder,
                env={**os.environ, **self._variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_at_gate(self) -> None:
        """Return when the backup has come to its middle.

        Raises:
            AssertionError: it ended, or does not come there.
        """
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while not self._is_at_gate():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _is_at_gate(self) -> bool:
        """Tell whether somebody reads from the gate."""
        try:
            # Kept: whoever reads would take its closing for the end.
            self._opened = os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        return True

    def open_gate(self) -> None:
        """Let the backup go on."""
        assert self._opened is not None
        os.write(self._opened, b"open")
        os.close(self._opened)
        self._opened = None

    def end(self) -> None:
        """End what is left of it. May be called at any time."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> int:
        """Return the exit code, when the backup has ended."""
        assert self._process is not None
        return self._process.wait(5 * _PATIENCE)

    def run_again(self) -> int:
        """Back up once more, without a halt; return the exit code."""
        self._gate.unlink()
        self._gate.write_bytes(b"open")
        self.start()
        return self.finish()

    @property
    def log(self) -> str:
        """All that its backups have said."""
        return (self.folder / "log").read_text(errors="replace")

    def open_repository(self) -> Repository:
        """Open its repository, as any machine could."""
        return open_repository(reach_store(self.location, self._access, clock=FakeClock()), PASSWORD)

    def stored(self) -> dict[str, Contents]:
        """Return what the newest snapshots of its folders hold: every blob of them is read from the store."""
        repository = self.open_repository()
        repository.load_index()
        newest = {path: stored.snapshot.tree for stored in load_snapshots(repository)
                  for path in stored.snapshot.paths}
        found = {each: snapshot_contents(repository, newest[str(self.folder / each)], self.folder / each)
                 for each in ("early", "late")}
        repository.close()
        return found

    def sources(self) -> dict[str, Contents]:
        """Return what its folders hold."""
        return {each: folder_contents(self.folder / each) for each in ("early", "late")}
