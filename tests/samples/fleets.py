"""Devices of a fleet: each a small planter with a repository of its own in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kuramori.manager.model import RunOptions, RunResult
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.settings.model import RepositorySettings, Settings
from kuramori.storage.location import open_backend
from kuramori.testing.clock import FakeClock
from samples.planter import JOB, Planter
from samples.repositories import PASSWORD


class Device(Planter):
    """One device; the time is the fleet's."""

    def __init__(self, folder: Path, location: str, hostname: str, clock: FakeClock, **job: Any) -> None:
        """Make its sources.

        Args:
            folder: where its sources and its memory are.
            location: of its repository.
        """
        super().__init__(folder, repositories=("usb",), hostname=hostname, **job)
        self.clock = clock
        self.location = location

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return replace(super().settings, repositories={"usb": RepositorySettings("usb", self.location)})

    @contextmanager
    def open_repository(self) -> Iterator[Repository]:
        """Open its repository, as any program could."""
        yield open_repository(open_backend(self.location), self.password, OpenOptions(clock=self.clock))

    def run(self, **options: Any) -> RunResult:
        """Run the job now."""
        return self.manager.back_up(JOB, RunOptions(**options))


class Fleet:
    """Devices with repositories in one folder."""

    def __init__(self, folder: Path) -> None:
        """Begin without devices."""
        self.folder = folder
        self.place = folder / "fleet"
        self.clock = FakeClock()
        self.devices: dict[str, Device] = {}

    def add(self, name: str, *, password: Secret = PASSWORD, saved: bool = True, hostname: str = "",
            **job: Any) -> Device:
        """Add a device whose repository is made, and backed up to now.

        Args:
            name: path of its repository below the place.
            hostname: under which it saves; empty for the last part of the name.
        """
        device = Device(self.folder / "devices" / name, str(self.place / name), hostname or name.rpartition("/")[2],
                        self.clock, **job)
        device.password = password
        device.manager.initialise()
        if saved:
            device.run()
        self.devices[name] = device
        return device
