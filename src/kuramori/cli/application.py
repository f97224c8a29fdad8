"""What all commands share: the global options, and the repository they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.environment import first_set, state_directory, variable
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_duration
from kuramori.errors import (
    KuramoriError,
    RepositoryLockedError,
    UsageError,
    WrongPasswordError,
    WrongSourcePasswordError,
)

if TYPE_CHECKING:
    from kuramori.cli.named_repositories import NamedRepository
    from kuramori.errors import StorageError
    from kuramori.repository.opening import OpenOptions
    from kuramori.repository.repository import Repository
    from kuramori.storage.backend import Backend


@dataclass
class Application:
    """The global options of one call."""

    command: str = ""
    """Name of the command that runs."""
    repository: str | None = None
    repository_file: str | None = None
    settings_path: str | None = None
    """The settings file that was named; see :mod:`kuramori.cli.settings_access`."""
    password_file: str | None = None
    password_command: str | None = None
    insecure_no_password: bool = False
    key_hint: str | None = None
    no_lock: bool = False
    retry_lock: str | None = None
    no_cache: bool = False
    cache_directory: str | None = None
    fresh_cache: Path | None = None
    """An empty folder for copies of what lies beyond the network, in place of the local cache: for whoever must not
    believe older copies, but need not fetch everything twice."""
    last_keys: Path | None = None
    """Goes with it: the folder in which it is kept which key opened a repository last."""
    store_options: tuple[str, ...] = ()
    """What ``-o`` was followed by."""
    connections: int | None = None
    limit_upload: int | None = None
    """KiB per second, as in restic; 0 for no limit."""
    limit_download: int | None = None
    ca_certificates: str | None = None
    client_certificate: str | None = None
    insecure_tls: bool = False
    stuck_request_timeout: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    compression: str | None = None
    pack_size: int | None = None
    language: str | None = None
    source_of_copy: bool = False
    """This is about the repository that is copied from: its settings are called ``FROM_...``."""

    # --- values --------------------------------------------------------------------------------

    def first_set(self, *names: str) -> tuple[str, str] | None:
        """Return the first of several settings of the environment about the repository, and its value."""
        if not self.source_of_copy:
            return first_set(names)
        found = first_set([f"FROM_{name}" for name in names])
        return found and (found[0].removeprefix("FROM_"), found[1])

    def source(self, *, from_repo: str | None, from_repository_file: str | None, from_password_file: str | None,
               from_password_command: str | None, from_key_hint: str | None,
               from_insecure_no_password: bool) -> Application:
        """Return the same for the repository that is copied from."""
        return replace(self, source_of_copy=True, repository=from_repo, repository_file=from_repository_file,
                       password_file=from_password_file, password_command=from_password_command,
                       key_hint=from_key_hint, insecure_no_password=from_insecure_no_password)

    def location(self) -> str:
        """Return where the repository is.

        Raises:
            UsageError: nobody said so.
        """
        named = self.repository
        from_file = self.repository_file
        if not named and not from_file:
            name, value = self.first_set("REPOSITORY", "REPOSITORY_FILE") or ("REPOSITORY", "")
            named, from_file = (value, None) if name == "REPOSITORY" else (None, value)
        if named and from_file:
            raise UsageError(detail=_("give the repository itself or a file that names it, not both"))
        if from_file:
            try:
                named = Path(from_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(detail=_("the file {path} that names the repository cannot be read: {error}").format(
                    path=from_file, error=getattr(error, "strerror", None) or error)) from None
        if not named and self.source_of_copy:
            raise UsageError(detail=_("please say where the source repository is: with --from-repo, "
                                      "--from-repository-file or the variable KURAMORI_FROM_REPOSITORY"))
        if not named:
            raise UsageError(detail=_("please say where the repository is: with -r, --repository-file or the "
                                      "variable KURAMORI_REPOSITORY; or make a settings file: kuramori setup"))
        return named

    def backend(self) -> Backend:
        """Open the store, with retries."""
        from kuramori.cli.store_access import command_line_access
        from kuramori.clock import SystemClock
        from kuramori.storage.reaching import reach_store

        location = self.location()
        return reach_store(location, command_line_access(self, location), clock=SystemClock(), notice=self.retrying)

    def retrying(self, operation: str, error: StorageError, seconds: float) -> None:
        """Say that something failed which is tried again."""
        from kuramori.cli.output import complain

        if not self.quiet and not self.json:
            complain(_("{reason}; trying again in {seconds} s").format(
                reason=error.text(_), seconds=max(1, round(seconds))))

    @contextmanager
    def open(self, *, maintenance: bool = False) -> Iterator[Repository]:
        """Open the repository for a ``with`` block: the one at the location, or the one of the settings that is
        named (:mod:`kuramori.cli.named_repositories`).

        Args:
            maintenance: one of the settings is opened as they say for cleanups.
        """
        from kuramori.repository.opening import OpenOptions

        named = self.named()
        if named is not None:
            from kuramori.cli.named_repositories import open_named

            with open_named(self, named, maintenance=maintenance) as repository:
                yield repository
            return
        backend = self.backend()
        try:
            cache = self._cache(backend)
            options = OpenOptions(key_hint=self.key_hint or (self.first_set("KEY_HINT") or ("", ""))[1],
                                  cache_directory=cache, index_directory=self.cache_folder(),
                                  last_keys_directory=self._last_keys(cache),
                                  ledger_warning=warn_of_ledger, ledger_directory=state_directory() / "ledger")
            yield self._unlock(backend, options)
        finally:
            backend.close()

    def named(self) -> NamedRepository | None:
        """Return the repository of the settings that is meant, None where a location is."""
        if self._means_location():
            return None  # settings take as long to import as all the rest
        from kuramori.cli.named_repositories import find_named

        return find_named(self)

    def _means_location(self) -> bool:
        """Tell whether it is plain that a location is meant. False decides nothing."""
        if self.repository:
            return "/" in self.repository or ":" in self.repository
        return bool(self.repository_file) or (
            not self.settings_path and self.first_set("REPOSITORY", "REPOSITORY_FILE") is not None)

    def _unlock(self, backend: Backend, options: OpenOptions) -> Repository:
        from kuramori.cli.passwords import read_password
        from kuramori.repository.opening import open_repository

        try:
            return open_repository(backend, lambda: read_password(self), options)
        except WrongPasswordError as error:
            if self.source_of_copy and type(error) is WrongPasswordError:
                raise WrongSourcePasswordError(**error.fields) from None
            raise

    def _cache(self, backend: Backend) -> Path | None:
        """Return the folder of the local cache. A repository on this machine is read where it lies:
        copying it beside itself would only wear the disk."""
        if self.fresh_cache is not None:
            return self.fresh_cache if backend.worker_location is None else None
        chosen = self.cache_directory or variable("CACHE_DIR")
        if self.no_cache or (not chosen and backend.worker_location is not None):
            return None
        return self.cache_folder()

    def _last_keys(self, cache: Path | None) -> Path | None:
        return self.last_keys if self.fresh_cache is not None else None if cache is None else self.cache_folder()

    def cache_folder(self) -> Path | None:
        """Return the folder of caches, where the index of a large repository is kept ready; of one on this machine as
        well."""
        if self.no_cache:
            return None
        chosen = self.cache_directory or variable("CACHE_DIR")
        if chosen:
            return Path(chosen)
        import platformdirs

        return Path(platformdirs.user_cache_dir("kuramori"))

    def retry_seconds(self) -> float:
        """Return how long to wait for somebody else's lock."""
        return parse_duration(self.retry_lock) if self.retry_lock else 0.0

    def lock_options(self) -> dict[str, Any]:
        """Return the arguments that every locking operation takes."""
        return {"no_lock": self.no_lock, "retry_lock_seconds": self.retry_seconds(), "lock_waiting": self._waiting}

    def _waiting(self, error: RepositoryLockedError) -> None:
        from kuramori.cli.output import complain

        if not self.quiet and not self.json:
            complain(_("waiting: {reason}").format(reason=error.text(_)))

    @contextmanager
    def lock(self, repository: Repository, exclusive: bool = False, reading: bool = True) -> Iterator[None]:
        """Hold a lock for a ``with`` block, unless ``--no-lock`` was given.

        Args:
            reading: nothing is written under a shared lock.
        """
        from kuramori.repository.locks import hold_lock

        if self.no_lock and not exclusive:
            yield
            return
        with hold_lock(repository, exclusive=exclusive, retry_seconds=self.retry_seconds(), reading=reading,
                       waiting=self._waiting):
            yield

    def progress(self) -> Any:
        """Return what shows progress: on a terminal, as JSON, or not at all."""
        from kuramori.cli.progress_display import choose_display

        return choose_display(self)

    def compression_mode(self) -> Any:
        """Return the compression that was asked for."""
        from kuramori.repository.compression import Compression

        name = self.compression or self._by_settings("compression") or variable("COMPRESSION") or "auto"
        try:
            return Compression(name)
        except ValueError:
            raise UsageError(detail=_("compression is one of auto, off, fastest, better, max; not {name}").format(
                name=name)) from None

    def _by_settings(self, name: str) -> Any:
        """Return what the settings say of the repository; None where it is at a location."""
        named = self.named()
        return None if named is None else getattr(named.settings.repositories[named.name], name)

    def pack_bytes(self) -> int:
        """Return the size of packs in bytes."""
        chosen = None if self.pack_size is not None else self._by_settings("pack_size")
        if chosen is not None:
            return int(chosen)
        text = self.pack_size if self.pack_size is not None else variable("PACK_SIZE") or "16"
        try:
            return int(text) * 1024 * 1024
        except ValueError:
            raise UsageError(detail=_("the pack size is a number of MiB, not {text}").format(text=text)) from None


def warn_of_ledger(error: KuramoriError) -> None:
    """Say that what this machine remembers of a repository cannot be used."""
    from kuramori.cli.output import complain

    complain(_("warning: {text}").format(text=f"{error.text(_)}; {error.advice_text(_)}"))


def pass_application(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the :class:`Application` as its first argument."""
    decorated: Callable[..., Any] = click.make_pass_decorator(Application, ensure=True)(function)
    return decorated
