"""What is worth knowing about settings that are right in themselves: disks that are not there,
passwords that are lost together with the machine, jobs that nobody starts.

Nothing is changed, no command is run and no password is shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kuramori.errors import N_, CredentialError, PasswordFileMissingError, Phrase, SettingsProblem
from kuramori.settings.credentials import read_secret_file
from kuramori.settings.model import (
    ComponentKind,
    ComponentSettings,
    JobSettings,
    RepositorySettings,
    Settings,
    StoreSettings,
)
from kuramori.settings.store_access import read_environment_file
from kuramori.storage.location import parse_location

SQLITE_HEADER = b"SQLite format 3\0"


def inspect_settings(settings: Settings) -> list[SettingsProblem]:
    """Return what a person should look at; nothing of it keeps a backup from being tried."""
    found: list[SettingsProblem] = []
    used = {name for job in settings.jobs.values() for name in job.repositories}
    for name, repository in settings.repositories.items():
        found += _inspect_repository(repository)
        if name not in used:
            found.append(SettingsProblem(("repositories", name), Phrase(N_("no job uses this repository"))))
        elif repository.max_size is not None and not any(
                name in job.repositories and job.cleanup is not None for job in settings.jobs.values()):
            found.append(SettingsProblem(("repositories", name, "max_size"), Phrase(
                N_("no job that saves here has a cleanup, so only kuramori cleanup sees to it"))))
    for job in settings.jobs.values():
        found += _inspect_job(job, settings)
        for component in job.components.values():
            found += _inspect_component(job, component)
        found += _inspect_places(job, settings)
    return found


def _inspect_repository(repository: RepositorySettings) -> Iterator[SettingsProblem]:
    keys = ("repositories", repository.name)
    folder = local_folder(repository.location)
    if folder is not None and not folder.exists():
        yield SettingsProblem((*keys, "location"), Phrase(
            N_("{path!s} does not exist now; kuramori init makes it (is the disk mounted?)"), path=str(folder)))
    if repository.password_file is not None:
        yield from _inspect_secret_file((*keys, "password_file"), repository.password_file, repository.name,
                                        generated=repository.password_generated)
    yield from _inspect_store(keys, repository.store, repository.name)
    own = repository.maintenance
    if own is not None:
        if own.password_file is not None:
            yield from _inspect_secret_file((*keys, "maintenance", "password_file"), own.password_file, repository.name)
        yield from _inspect_environment_file((*keys, "maintenance"), own.environment_file, repository.name)


def _inspect_store(keys: tuple[str | int, ...], store: StoreSettings, name: str) -> Iterator[SettingsProblem]:
    yield from _inspect_environment_file(keys, store.environment_file, name)
    for key, path in (("ca_certificates", store.ca_certificates), ("client_certificate", store.client_certificate)):
        if path is not None and not path.is_file():
            yield SettingsProblem((*keys, key), Phrase(N_("{path!s} does not exist, or is no file"), path=str(path)))
    if store.insecure_tls:
        yield SettingsProblem((*keys, "insecure_tls"), Phrase(
            N_("anybody between here and the store can pretend to be it; ca_certificates is the safe way")))


def _inspect_environment_file(keys: tuple[str | int, ...], path: Path | None, name: str) -> Iterator[SettingsProblem]:
    if path is None:
        return
    try:
        read_environment_file(path, name=name)
    except CredentialError as error:
        yield SettingsProblem((*keys, "environment_file"), Phrase("{detail}", detail=error))


def _inspect_secret_file(keys: tuple[str | int, ...], path: Path, name: str, *,
                         generated: bool = False) -> Iterator[SettingsProblem]:
    try:
        password = read_secret_file(path, name=name)
    except PasswordFileMissingError as error:
        yield SettingsProblem(keys, Phrase(N_("{path!s} does not exist yet; kuramori init makes it"), path=str(path))
                              if generated else Phrase("{detail}", detail=error))
    except CredentialError as error:
        yield SettingsProblem(keys, Phrase("{detail}", detail=error))
    else:
        if not password:
            yield SettingsProblem(keys, Phrase(N_("{path!s} is empty"), path=str(path)))


def _inspect_job(job: JobSettings, settings: Settings) -> Iterator[SettingsProblem]:
    keys = ("jobs", job.name)
    enabled = [component for component in job.components.values() if component.enabled]
    if not enabled:
        yield SettingsProblem((*keys, "components"), Phrase(N_("every component is disabled")))
    first = settings.repositories.get(job.repositories[0]) if job.repositories else None
    if job.schedule is None and not (first is not None and first.run_when_attached):
        yield SettingsProblem((*keys, "schedule"), Phrase(
            N_("there is none, so only kuramori backup {name!s} starts this job"), name=job.name))
    removes = any(not component.retention.keeps_everything for component in enabled)
    limited = [name for name in job.repositories
               if name in settings.repositories and settings.repositories[name].max_size is not None]
    if removes and job.cleanup is None:
        yield SettingsProblem((*keys, "cleanup"), Phrase(
            N_("there is none, so only kuramori cleanup removes what is too old")))
    if job.cleanup is not None and not removes and not limited:
        yield SettingsProblem((*keys, "cleanup"), Phrase(
            N_("no component says what may go (retention_days, keep_last, ...), so a cleanup removes nothing")))


def _inspect_component(job: JobSettings, component: ComponentSettings) -> Iterator[SettingsProblem]:
    keys = ("jobs", job.name, "components", component.name)
    for source in component.sources:
        if not os.path.lexists(source):
            yield SettingsProblem((*keys, "source"), Phrase(
                N_("{path!s} does not exist now (is the disk mounted?)"), path=str(source)))
        elif component.kind is ComponentKind.SQLITE and not is_sqlite(source):
            yield SettingsProblem((*keys, "source"), Phrase(N_("{path!s} is no SQLite database now"), path=str(source)))
    for key in ("password_file", "defaults_file"):
        path = getattr(component.server, key)
        if path is not None:
            yield from _inspect_secret_file((*keys, key), path, component.name)


def is_sqlite(path: Path) -> bool:
    """Tell whether a file begins as an SQLite database does. An empty file is one too: a database
    into which nothing was written."""
    return _beginning(path) in (SQLITE_HEADER, b"")


def has_sqlite_header(path: Path) -> bool:
    """Tell the same of a file that nobody called a database: an empty one is none."""
    return _beginning(path) == SQLITE_HEADER


def _beginning(path: Path) -> bytes | None:
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return None
        with path.open("rb") as file:
            return file.read(len(SQLITE_HEADER))
    except OSError:
        return None


# --- places ----------------------------------------------------------------------------------


def local_folder(location: str) -> Path | None:
    """Return the folder of a repository on this machine, None where it is elsewhere."""
    scheme, address = parse_location(location)
    return Path(address) if scheme == "local" else None


def device_of(path: Path) -> int | None:
    """Return the number of the device that a path lies on, or would lie on; None where that cannot be told."""
    for place in (path, *path.parents):
        try:
            return os.stat(place).st_dev
        except OSError:
            continue
    return None


def _inspect_places(job: JobSettings, settings: Settings) -> Iterator[SettingsProblem]:
    """Report repositories that lie inside a source, or on the disk that the data is on."""
    sources = [(component, source) for component in job.components.values() for source in component.sources]
    for name in job.repositories:
        keys = ("repositories", name, "location")
        folder = local_folder(settings.repositories[name].location)
        if folder is None:
            continue
        for component, source in sources:
            if folder.is_relative_to(source) and not any(str(folder) == pattern for pattern in component.exclude):
                yield SettingsProblem(keys, Phrase(
                    N_("it lies inside {path!s}, so the backup would save itself; add it to the component's exclude"),
                    path=str(source)))
    yield from _shared_device(job, settings, [source for _, source in sources if source.exists()])


def _shared_device(job: JobSettings, settings: Settings, sources: list[Path]) -> Iterator[SettingsProblem]:
    """Report where every repository of a job is on the disk of a source: both are lost together."""
    folders = [local_folder(settings.repositories[name].location) for name in job.repositories]
    devices = {device_of(folder) for folder in folders if folder is not None}
    if None in folders or not devices:
        return
    for source in sources:
        if devices == {device_of(source)}:
            yield SettingsProblem(("jobs", job.name, "repositories"), Phrase(
                N_("{path!s} and its backups are on the same disk: if it fails, both are gone"), path=str(source)))
            return
