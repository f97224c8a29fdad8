"""Backups to an SSH server whose client or server is killed in the middle; the next run, or this one, succeeds by
itself, and the real restic finds everything whole."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.crypto.derivation import KdfParameters
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage.location import open_backend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.ssh_server import SshServer

PASSWORD = "a password"


class House:
    """A repository on a server and something to back up."""

    def __init__(self, server: SshServer, restic: str, source: Path) -> None:
        """Make both; the repository has a key that costs next to nothing."""
        name = secrets.token_hex(8)
        self.server = server
        self.folder = server.folder_for(name)
        self.source = source
        (source / "folder").mkdir(parents=True)
        chance = random.Random(5)
        for number in range(24):
            (source / "folder" / str(number)).write_bytes(chance.randbytes(2_000_000))
        backend = open_backend(server.location(name), server.access())
        create_repository(backend, Secret(PASSWORD), CreateOptions(kdf=KdfParameters(1024, 8, 1)))
        backend.close()
        self.ours = Kuramori(server.location(name), PASSWORD, environment={"HOME": str(server.home)})
        self._restic = Restic(restic, self.folder, PASSWORD)  # in the folder itself: as good a judge, and quicker

    def begin_backup(self, *options: str) -> subprocess.Popen[bytes]:
        """Begin a backup in the smallest packs."""
        return self.ours.start("backup", "--pack-size", "4", *options, self.source, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)

    def wait_for(self, process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
        """Return when something has happened on the server, or the process has ended."""
        while not happened() and process.poll() is None:
            time.sleep(0.002)

    def packs(self) -> int:
        """Return how many packs are there."""
        return sum(1 for _ in self.folder.glob("data/*/*"))

    def half_written(self) -> int:
        """Return how many temporary files are there."""
        return sum(1 for _ in self.folder.glob("data/*-tmp-*"))

    def assert_whole(self, snapshots: int) -> None:
        """Let restic read every byte."""
        self._restic.check(read_data=True)
        assert len(self._restic.snapshots()) == snapshots


@pytest.fixture
def house(ssh_server: SshServer, restic_new: str, tmp_path: Path) -> House:
    return House(ssh_server, restic_new, tmp_path / "source")


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("moment", ["the lock is there", "a pack is half written", "some packs are there"])
def test_a_client_that_is_killed(house: House, moment: str) -> None:
    happened = {"the lock is there": lambda: any(house.folder.glob("locks/*")),
                "a pack is half written": lambda: house.half_written() > 0,
                "some packs are there": lambda: house.packs() >= 3}[moment]
    process = house.begin_backup()
    house.wait_for(process, happened)
    process.kill()
    process.communicate()
    house.ours.backup(house.source)
    house.assert_whole(1 if process.returncode == -signal.SIGKILL else 2)


def test_a_server_that_is_killed_and_started_again(house: House) -> None:
    process = house.begin_backup()
    house.wait_for(process, lambda: house.packs() >= 3)
    house.server.kill()
    house.server.start()
    house.wait_for(process, lambda: house.packs() >= 8)
    house.server.end_sessions()
    output, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, output + complaints
    assert b"Traceback" not in complaints
    house.assert_whole(1)


@pytest.mark.exhaustive
def test_an_interruption_while_the_server_hangs(house: House) -> None:
    before = set(house.server.session_processes())
    process = house.begin_backup("--stuck-request-timeout", "3s")
    house.wait_for(process, lambda: house.packs() >= 2)
    hanging = set(house.server.session_processes()) - before
    for session in hanging:
        os.kill(session, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    output, complaints = process.communicate(timeout=120)
    for session in hanging:
        os.kill(session, signal.SIGKILL)
    assert process.returncode == 130, output + complaints
    assert b"Traceback" not in complaints
    house.ours.backup(house.source)
    house.assert_whole(1)
