"""A small planter with a manager: components, two repositories, and a clock of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kuramori.errors import KuramoriError
from kuramori.history.history import History
from kuramori.manager.manager import Manager
from kuramori.manager.model import RunOptions, RunResult
from kuramori.progress import NoProgress
from kuramori.secret import Secret
from kuramori.settings.model import ComponentKind, ComponentSettings, JobSettings, RepositorySettings, Settings
from kuramori.testing.clock import FakeClock
from samples.repositories import PASSWORD, QUICK

JOB = "planter"
HOST = "pi"


class Told(NoProgress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.errors: list[KuramoriError] = []

    def warning(self, error: Exception) -> None:
        """Keep it."""
        assert isinstance(error, KuramoriError)
        self.errors.append(error)

    @property
    def texts(self) -> str:
        """All that was said."""
        return "\n".join(map(str, self.errors))


class Planter:
    """Folders ``images`` and ``logs`` in a job, which is kept in ``usb`` and copied to ``nas``."""

    def __init__(self, folder: Path, *, repositories: Iterable[str] = ("usb", "nas"), hostname: str = HOST,
                 **job: Any) -> None:
        """Make everything but the repositories."""
        self.folder = folder
        self.clock = FakeClock()
        self.told = Told()
        self.environment: Mapping[str, str] = {"PATH": "/usr/bin:/bin"}
        components = {name: self.component(name) for name in ("images", "logs")}
        for name in components:
            (folder / name).mkdir(parents=True)
            for number in range(3):
                (folder / name / f"{number}.txt").write_text(f"{name} {number}\n" * 50)
        self.job = JobSettings(JOB, tuple(repositories), components, hostname=hostname, **job)
        self.password: Secret = PASSWORD
        self.places: dict[str, RepositorySettings] = {}
        """Repositories that are not the folders of their names, or have more to be said of them."""
        self.more_jobs: dict[str, JobSettings] = {}

    def component(self, name: str, kind: ComponentKind = ComponentKind.FILES, **more: Any) -> ComponentSettings:
        """Return the settings of a component whose source is the folder of its name."""
        return ComponentSettings(name, kind, **{"sources": (self.folder / name,), **more})

    def change(self, **job: Any) -> None:
        """Change the job's settings."""
        self.job = replace(self.job, **job)

    def change_component(self, name: str, **more: Any) -> None:
        """Change a component's settings, or add it."""
        known = self.job.components.get(name) or self.component(name)
        self.job = replace(self.job, components={**self.job.components, name: replace(known, **more)})

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        repositories = {name: RepositorySettings(name, str(self.folder / "repositories" / name))
                        for name in ("usb", "nas", "cloud")} | self.places
        jobs = {JOB: self.job, **self.more_jobs}
        wanted = {name: settings for name, settings in repositories.items()
                  if any(name in job.repositories for job in jobs.values())}
        return Settings(state_directory=self.folder / "state", repositories=wanted, jobs=jobs)

    @property
    def history(self) -> History:
        """The history."""
        return History(self.folder / "state" / "history.db", self.clock)

    @property
    def manager(self) -> Manager:
        """A new manager, as another process would have it."""
        return Manager(self.settings, clock=self.clock, history=self.history, secrets=lambda _: self.password,
                       progress=self.told, environment=self.environment, kdf=QUICK)

    def back_up(self, **options: Any) -> RunResult:
        """Run the job; an hour passes before."""
        self.clock.advance(3600)
        return self.manager.back_up(JOB, RunOptions(**options))

    def repository(self, name: str = "usb") -> Path:
        """Return where a repository is."""
        return self.folder / "repositories" / name


def make_planter(folder: Path, **options: Any) -> Planter:
    """Return a planter whose repositories are made."""
    planter = Planter(folder, **options)
    planter.manager.initialise()
    return planter
