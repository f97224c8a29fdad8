"""The repositories of the settings: opened, made, and recognised again.

A disk that is not mounted leaves an empty folder, and another disk at its place another
repository. So the id of each repository is remembered, by its name and its location, and what is
not the same is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kuramori.clock import Clock
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import (
    DifferentRepositoryError,
    Interrupted,
    KuramoriError,
    NoRepositoryError,
    NotInitialisedError,
    NotMountedError,
    RepositoryAwayError,
    StateError,
    StorageError,
    UnknownRepositoryNameError,
    WrongNamedPasswordError,
    WrongPasswordError,
    suggest,
)
from kuramori.manager.known_repositories import KnownRepositories
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.process_identity import current_identity
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.settings.effective import mask_location
from kuramori.settings.inspection import local_folder
from kuramori.settings.model import RepositorySettings, Settings
from kuramori.settings.mount_points import find_unmounted
from kuramori.settings.store_access import make_access
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.reaching import reach_store

Secrets = Callable[[RepositorySettings], Secret]
Accesses = Callable[[RepositorySettings], StoreAccess]
Retrying = Callable[[str, StorageError, float], None]
"""Told the operation, its error and the seconds to wait (see :class:`~kuramori.storage.retry.RetryBackend`)."""


def settings_access(repository: RepositorySettings) -> StoreAccess:
    """Return how a store is reached by the settings alone, whatever the environment says.

    Raises:
        CredentialError: what they name cannot be read.
    """
    return make_access(repository, NO_ACCESS, credentials_directory=None)


@dataclass(frozen=True, slots=True)
class MadeRepository:
    """What became of one repository at an ``init``."""

    name: str
    location: str
    repository_id: str
    created: bool
    """False if it was there already."""


class Places:
    """Opens the repositories of the settings by their names."""

    def __init__(self, settings: Settings, clock: Clock, secrets: Secrets,
                 warn: Callable[[KuramoriError], None], access: Accesses = settings_access,
                 retrying: Retrying | None = None) -> None:
        """Nothing is opened yet.

        Args:
            secrets: gives the password of a repository; may ask a user or run a command.
            warn: is told of a ledger of snapshots that cannot be used.
            access: tells how a store is reached; may read files and the keyring.
            retrying: told before a store is tried again.
        """
        self._access = access
        self._retrying = retrying
        self._warn = warn
        self._settings = settings
        self._clock = clock
        self._secrets = secrets
        self._known = KnownRepositories(settings.state_directory / "repositories")

    def settings_of(self, name: str) -> RepositorySettings:
        """Return what the settings say of a repository.

        Raises:
            UnknownRepositoryNameError: nothing.
        """
        found = self._settings.repositories.get(name)
        if found is None:
            raise UnknownRepositoryNameError(name=name, suggestion=suggest(name, self._settings.repositories))
        return found

    def location_of(self, name: str) -> str:
        """Return where a repository is, without a password."""
        return mask_location(self.settings_of(name).location)

    def nearest_first(self, names: Iterable[str]) -> list[str]:
        """Return repositories in the order in which to read from them: those on this machine before those beyond a
        network, and otherwise as they come."""
        return sorted(names, key=lambda name: local_folder(self.settings_of(name).location) is None)

    def is_attached(self, name: str) -> bool:
        """Tell whether a repository that lies on this machine is there right now, and is the one that was there
        before: a look at one small file, without a password.

        Raises:
            UnknownRepositoryNameError: the settings have none of that name.
            StateError: what is remembered cannot be read.
        """
        return self._known.is_attached(self.settings_of(name))

    def is_away(self, name: str) -> bool:
        """Tell whether a repository on a disk that comes and goes was here before and is not here now.

        Raises:
            UnknownRepositoryNameError, StateError: as :meth:`is_attached`.
        """
        settings = self.settings_of(name)
        return settings.run_when_attached and bool(self._known.get(settings)) and not self.is_attached(name)

    @contextmanager
    def open(self, name: str, *, maintenance: bool = False, cached: bool = True) -> Iterator[Repository]:
        """Open a repository for a ``with`` block. Deriving its key takes a moment: once for each run.

        Args:
            maintenance: with the location, the credentials and the password that the settings name for cleanups,
                where they do. Nothing else ever uses those.
            cached: False for a repository that is to be checked: a copy on this machine proves nothing.

        Raises:
            UnknownRepositoryNameError: the settings have none of that name.
            NotInitialisedError: it was never made.
            RepositoryAwayError: it was there once, and is not there.
            DifferentRepositoryError: another one is there.
            WrongPasswordError, DamagedError, StorageError: as :func:`open_repository`.
        """
        ordinary = self.settings_of(name)
        settings = ordinary.for_maintenance() if maintenance else ordinary
        backend = self._backend(settings)
        try:
            yield self._unlock(settings, backend, ordinary, cached=cached)
        finally:
            backend.close()

    def _backend(self, settings: RepositorySettings) -> Backend:
        return reach_store(settings.location, self._access(settings), clock=self._clock, notice=self._retrying)

    def _unlock(self, settings: RepositorySettings, backend: Backend, ordinary: RepositorySettings, *,
                cached: bool) -> Repository:
        known = self._known.get(ordinary)  # the way for maintenance leads to the same repository, or to none
        cache = None
        if settings.use_cache and backend.worker_location is None:
            cache = self._settings.cache_directory
        index = self._settings.cache_directory if settings.use_cache else None
        options = OpenOptions(key_hint=settings.key_hint, clock=self._clock, cache_directory=cache if cached else None,
                              last_keys_directory=cache, index_directory=index if cached else None,
                              ledger_directory=self._settings.state_directory / "ledger", ledger_warning=self._warn)
        try:
            # The password comes after the look at the config: it may be asked for, or not be made yet.
            repository = open_repository(backend, lambda: self._secrets(settings), options)
        except NoRepositoryError:
            if known:
                raise RepositoryAwayError(location=backend.location, name=settings.name) from None
            raise NotInitialisedError(location=backend.location, name=settings.name) from None
        except WrongPasswordError:
            raise WrongNamedPasswordError(location=backend.location, name=settings.name) from None
        if known and repository.id != known:
            raise DifferentRepositoryError(location=backend.location, name=settings.name, found=repository.id[:10],
                                           known=known[:10])
        try:
            if settings.location == ordinary.location:
                self._known.remember(ordinary, repository.id)
        except StateError as error:
            # Who restores on a machine that is being rescued may have no place to write: only the next
            # unplugged disk is not noticed then.
            self._warn(error)
        return repository

    def make(self, name: str, *, renew: bool = False, kdf: KdfParameters | None = None) -> MadeRepository:
        """Make a repository if there is none; open it if there is. May be called again.

        Args:
            renew: also where another one was before.

        Raises:
            RepositoryAwayError, DifferentRepositoryError: one was there before, and ``renew`` is not set.
            NotMountedError: a disk belongs there, and is not mounted.
            WrongPasswordError, RepositoryExistsError, StorageError: as :func:`create_repository`.
        """
        settings = self.settings_of(name)
        if renew:
            self._known.remember(settings, "")
        try:
            with self.open(name) as repository:
                return MadeRepository(name, repository.backend.location, repository.id, False)
        except NotInitialisedError:
            pass
        self._refuse_unmounted(settings)
        identity = current_identity()
        polynomial = self._polynomial_beside(name)
        backend = self._backend(settings)
        try:
            repository = create_repository(backend, self._secrets(settings), CreateOptions(
                clock=self._clock, hostname=identity.hostname, username=identity.username, kdf=kdf or KdfParameters(),
                polynomial=polynomial,
                last_keys_directory=self._settings.cache_directory if settings.use_cache else None))
            self._known.remember(settings, repository.id)
            return MadeRepository(name, backend.location, repository.id, True)
        finally:
            backend.close()

    def _refuse_unmounted(self, settings: RepositorySettings) -> None:
        """Raise if the repository would be made on an empty mount point.

        Raises:
            NotMountedError
        """
        folder = local_folder(settings.location)
        mount_point = find_unmounted(folder) if folder is not None else ""
        if mount_point:
            raise NotMountedError(name=settings.name, path=mount_point)

    def _polynomial_beside(self, name: str) -> str:
        """Return the chunker polynomial of another repository of the same job, so that restic's copies between them
        deduplicate as well; empty if there is none that can be opened."""
        others = [other for job in self._settings.jobs.values() if name in job.repositories
                  for other in job.repositories if other != name]
        for other in dict.fromkeys(others):
            try:
                with self.open(other) as repository:
                    return repository.config.chunker_polynomial
            except Interrupted:
                raise
            except KuramoriError:
                continue  # whatever is wrong with it is no reason not to make this one
        return ""
