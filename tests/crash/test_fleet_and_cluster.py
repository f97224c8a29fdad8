"""Many devices at once on a cluster of three volume servers, of which one is killed in the middle.

Every device has saved one half when the server dies. Some go on just before, and are sending in that moment; the others
begin to send when it is dead already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.fleet_processes import DeviceProcess
from samples.repositories import PASSWORD
from samples.seaweedfs import ADMIN, SeaweedCluster


class Crowd:
    """Devices with repositories in one place of a cluster."""

    def __init__(self, folder: Path, cluster: SeaweedCluster, count: int, size: int) -> None:
        """Make them, each with files of twice ``size`` bytes."""
        self.folder = folder
        self.cluster = cluster
        self.killed = False
        self.place = cluster.location(f"fleet-of-{count}")
        self.devices = [DeviceProcess(folder, f"pi-{number:02}", self.place, ADMIN.variables(), size)
                        for number in range(count)]

    def survive_a_dead_server(self) -> None:
        """Back up all devices while a volume server dies. Whoever fails has to succeed with the next run."""
        half = len(self.devices) // 2
        for device in self.devices:
            device.start()
        for device in self.devices:
            device.wait_at_gate()
        for device in self.devices[:half]:
            device.open_gate()
        self.cluster.kill_volume_server(1)
        self.killed = True
        for device in self.devices[half:]:
            device.open_gate()
        failed = [device for device in self.devices if device.finish() != 0]
        for device in failed:
            assert device.run_again() == 0, device.log

    def judge(self, restic: str) -> None:
        """Look at everything: by the command, by restic, and every byte."""
        report = self.report()
        assert (report["device_count"], report["well_count"]) == (len(self.devices), len(self.devices))
        Restic(restic, self.devices[-1].location, PASSWORD.reveal(), environment=ADMIN.variables()).check()
        for device in self.devices:
            assert device.stored() == device.sources(), device.name

    def report(self) -> dict[str, object]:
        """Return what ``kuramori fleet`` says from a machine that is none of the devices."""
        password = self.folder / "password"
        password.write_text(PASSWORD.reveal())
        password.chmod(0o600)
        done = subprocess.run([sys.executable, "-m", "kuramori", "fleet", self.place, "-p", password, "--json"],
                              env={**os.environ, **ADMIN.variables()}, capture_output=True, text=True, check=False,
                              timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def make_crowd(tmp_path: Path, seaweed_cluster: SeaweedCluster) -> Iterator[Callable[[int, int], Crowd]]:
    """Make a crowd of devices; what is left of them ends with the test, and the dead server comes back."""
    crowds: list[Crowd] = []
    seaweed_cluster.wait_until_whole()

    def make(count: int, size: int) -> Crowd:
        crowds.append(Crowd(tmp_path, seaweed_cluster, count, size))
        return crowds[-1]

    yield make
    for crowd in crowds:
        for device in crowd.devices:
            device.end()
        if crowd.killed:
            seaweed_cluster.start_volume_server(1)


def test_four_devices_and_a_server_that_dies(make_crowd: Callable[[int, int], Crowd], restic_new: str) -> None:
    crowd = make_crowd(4, 400_000)
    crowd.survive_a_dead_server()
    crowd.judge(restic_new)


@pytest.mark.exhaustive
def test_twenty_devices_and_a_server_that_dies(make_crowd: Callable[[int, int], Crowd], restic_new: str) -> None:
    crowd = make_crowd(20, 2_000_000)
    crowd.survive_a_dead_server()
    crowd.judge(restic_new)
