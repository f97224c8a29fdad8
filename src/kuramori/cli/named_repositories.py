"""Repositories of the settings file for the engine's commands: ``-r usb`` instead of a location and a password.

A text names a repository of the settings where it is no path that exists and has no slash and no colon. Without
``-r`` and without a repository in the environment the only repository of the settings is meant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application, warn_of_ledger
from kuramori.cli.output import complain
from kuramori.cli.settings_access import (
    application_secrets,
    has_settings,
    load_application_settings,
    named_settings,
    settings_candidates,
)
from kuramori.cli.store_access import named_access
from kuramori.cli.translation import translate as _
from kuramori.errors import KuramoriError, UnknownRepositoryNameError, UsageError, suggest
from kuramori.spelling import nearest

if TYPE_CHECKING:
    from kuramori.repository.repository import Repository
    from kuramori.secret import Secret
    from kuramori.settings.model import RepositorySettings, Settings


@dataclass(frozen=True, slots=True)
class NamedRepository:
    """A repository of the settings, and the settings."""

    name: str
    settings: Settings

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the other repositories of its jobs, which hold copies of the same snapshots; in the order of the
        settings."""
        return self.settings.beside(self.name)


def find_named(application: Application) -> NamedRepository | None:
    """Return the repository of the settings that the command line means; None where it means a location, or nothing.

    Raises:
        SettingsError, UntrustedSettingsError: the settings are needed and cannot be used.
        UnknownRepositoryNameError: no path and no name, but nearly a name.
        UsageError: nothing was named, and the settings have several repositories.
    """
    text = application.repository
    if text:
        if "/" in text or ":" in text or os.path.lexists(text) or not _may_have_settings(application):
            return None
        settings = load_application_settings(application)
        if text not in settings.repositories and nearest(text, settings.repositories):
            raise UnknownRepositoryNameError(name=text, suggestion=suggest(text, settings.repositories))
        return NamedRepository(text, settings) if text in settings.repositories else None
    if application.source_of_copy or not has_settings(application):
        return None
    settings = load_application_settings(application)
    if len(settings.repositories) == 1:
        return NamedRepository(next(iter(settings.repositories)), settings)
    raise UsageError(detail=_("the settings have several repositories; say which one with -r: {names}").format(
        names=", ".join(settings.repositories)))


def _may_have_settings(application: Application) -> bool:
    return named_settings(application) is not None or any(map(os.path.lexists, settings_candidates()))


@contextmanager
def open_named(application: Application, named: NamedRepository, *, maintenance: bool = False) -> Iterator[Repository]:
    """Open it for a ``with`` block. What options say of password, key and cache comes before the settings.

    Args:
        maintenance: as the settings say for cleanups.

    Raises:
        NotInitialisedError, RepositoryAwayError, DifferentRepositoryError, CredentialError: and what else
            :meth:`Places.open` raises.
    """
    from kuramori.clock import SystemClock
    from kuramori.manager.places import Places

    repository = named.settings.repositories[named.name]
    if application.key_hint:
        repository = replace(repository, key_hint=application.key_hint)
    changes: dict[str, Any] = {"repositories": {named.name: repository}}
    if application.no_cache:
        changes["cache_directory"] = application.fresh_cache
    elif application.cache_directory:
        changes["cache_directory"] = Path(application.cache_directory)
    places = Places(replace(named.settings, **changes), SystemClock(), _secrets(application), warn_of_ledger,
                    named_access(application), application.retrying)
    with places.open(named.name, maintenance=maintenance) as opened:
        yield opened


def _secrets(application: Application) -> Callable[[RepositorySettings], Secret]:
    """Return what reads the password: from the options, and only without one as the settings say. Variables are about
    the repository that variables name."""
    if application.password_file or application.password_command or application.insecure_no_password:
        from kuramori.cli.passwords import read_password

        return lambda repository: read_password(application)
    return application_secrets(application)


@contextmanager
def open_sources(application: Application, from_options: dict[str, Any]) -> Iterator[tuple[Repository, ...]]:
    """Open for a ``with`` block what lost blobs can be fetched from: the repository of the ``--from-...`` options, else
    the other repositories of the same job, if the settings know the one that is repaired.

    Of the others, one that cannot be opened is said and left out. May be empty.

    Raises:
        KuramoriError: the repository of the options cannot be opened.
    """
    with ExitStack() as stack:
        if from_options["from_repo"] or from_options["from_repository_file"] or _source_in_environment(application):
            yield (stack.enter_context(application.source(**from_options).open()),)
            return
        named = find_named(application)
        if named is None:
            yield ()
            return
        # Options about the password and the key mean the repository that is repaired.
        origin = replace(application, source_of_copy=True, password_file=None, password_command=None,
                         insecure_no_password=False, key_hint=None)
        found: list[Repository] = []
        for other in named.others:
            try:
                found.append(stack.enter_context(open_named(origin, replace(named, name=other))))
            except KuramoriError as error:
                complain(_("warning: nothing can be fetched from {name}: {text}").format(
                    name=other, text=error.text(_)))
        yield tuple(found)


def _source_in_environment(application: Application) -> bool:
    return replace(application, source_of_copy=True).first_set("REPOSITORY", "REPOSITORY_FILE") is not None
