"""How the store of a repository is reached, as the command line and the environment say it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.environment import variable
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_duration
from kuramori.errors import UsageError
from kuramori.storage.access import StoreAccess, lay_over
from kuramori.storage.location import parse_location

if TYPE_CHECKING:
    from kuramori.settings.model import RepositorySettings

_KIB = 1024
_PREFIXES = ("RESTIC_", "KURAMORI_")
"""Of the program's own variables, in the order in which they are laid over each other."""
_ABOUT_STORES = ("REST_", "AWS_")
"""Beginnings of own variables that are about stores, without the prefix."""
_OF_THE_REPOSITORY = ("REPOSITORY", "PASSWORD", "KEY_HINT", "CACERT", "TLS_CLIENT_CERT", "CONNECTIONS", "LIMIT_")
"""Beginnings of what may follow ``FROM_`` without being a variable of a store."""


def command_line_access(application: Application, location: str) -> StoreAccess:
    """Return how the repository at a location is reached, as options and the environment say it.

    Raises:
        UsageError, UnknownLocationError, StoreNotBuiltError: a value or the location cannot be used.
    """
    return apply_options(application, location, environment_access(application))


def named_access(application: Application) -> Callable[[RepositorySettings], StoreAccess]:
    """Return what tells how a repository of the settings is reached: options come first, then what the settings say,
    then the environment. The ``access`` of a manager.

    What it returns raises UsageError and CredentialError.
    """
    from kuramori.cli.settings_access import credentials_directory
    from kuramori.settings.store_access import make_access

    def access(repository: RepositorySettings) -> StoreAccess:
        known = make_access(repository, environment_access(application), credentials_directory=credentials_directory())
        return apply_options(application, repository.location, known)

    return access


def environment_access(application: Application) -> StoreAccess:
    """Return what the environment says of stores.

    Raises:
        UsageError: a variable cannot be used.
    """
    return StoreAccess(
        variables=store_variables(os.environ, source_of_copy=application.source_of_copy),
        connections=_number(application, "CONNECTIONS", 1), limit_upload=_limit(application, "LIMIT_UPLOAD"),
        limit_download=_limit(application, "LIMIT_DOWNLOAD"), ca_certificates=_file(application, "CACERT"),
        client_certificate=_file(application, "TLS_CLIENT_CERT"))


def apply_options(application: Application, location: str, access: StoreAccess) -> StoreAccess:
    """Return ``access`` changed by the options that were typed, which come before everything else.

    Raises:
        UsageError, UnknownLocationError, StoreNotBuiltError: an option or the location cannot be used.
    """
    options = {**access.options, **parse_options(application.store_options)}
    connections = application.connections or _own_connections(location, options) or access.connections
    changes: dict[str, Any] = {"options": options, "connections": connections}
    if application.limit_upload is not None:
        changes["limit_upload"] = application.limit_upload * _KIB or None
    if application.limit_download is not None:
        changes["limit_download"] = application.limit_download * _KIB or None
    if application.ca_certificates:
        changes["ca_certificates"] = Path(application.ca_certificates)
    if application.client_certificate:
        changes["client_certificate"] = Path(application.client_certificate)
    if application.insecure_tls:
        changes["insecure_tls"] = True
    if application.stuck_request_timeout:
        changes["stall_seconds"] = parse_duration(application.stuck_request_timeout)
    return replace(access, **changes)


def parse_options(texts: tuple[str, ...]) -> dict[str, str]:
    """Return what several ``-o KEY=VALUE`` say; a later one counts. A key alone has an empty value, as in restic.

    Raises:
        UsageError: one has no key.
    """
    found = {}
    for text in texts:
        key, _equals, value = text.partition("=")
        if not key.strip():
            raise UsageError(detail=_("-o is followed by KEY=VALUE, such as s3.storage-class=STANDARD_IA"))
        found[key.strip().lower()] = value.strip()
    return found


def store_variables(environment: Mapping[str, str], *, source_of_copy: bool = False) -> dict[str, str]:
    """Return the variables that stores and the programs that they run may see: everything but our own and restic's,
    among which are passwords of repositories; of those only what is about stores, by restic's names.

    Args:
        source_of_copy: for the repository that is copied from. Its variables may be given apart, with ``FROM_`` in
            their names (``KURAMORI_FROM_AWS_ACCESS_KEY_ID``, ``RESTIC_FROM_REST_USERNAME``), and then come before
            those of the target (:func:`~kuramori.storage.access.lay_over`).
    """
    found = {name: value for name, value in environment.items() if not name.startswith(_PREFIXES)}
    for prefix in _PREFIXES:
        for name, value in environment.items():
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and own.startswith(_ABOUT_STORES) and value:
                found[f"RESTIC_{own}"] = value
    if not source_of_copy:
        return found
    apart = {name.removeprefix(f"{prefix}FROM_"): value for prefix in _PREFIXES
             for name, value in environment.items() if name.startswith(f"{prefix}FROM_") and value}
    return lay_over(found, {f"RESTIC_{name}" if name.startswith("REST_") else name: value
                            for name, value in apart.items() if not name.startswith(_OF_THE_REPOSITORY)})


def _own_connections(location: str, options: Mapping[str, str]) -> int | None:
    """Return what ``-o rest.connections=N`` or the like says of the store that is meant."""
    for key in (f"{parse_location(location).scheme}.connections", "backend.connections"):
        if key in options:
            return _positive(f"-o {key}", options[key])
    return None


def _positive(name: str, text: str, least: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= 10**12:
        raise UsageError(detail=_("{name} is a whole number from {least}, not {text}").format(
            name=name, least=least, text=text[:40]))
    return int(text)


def _number(application: Application, name: str, least: int) -> int | None:
    found = _variable(application, name)
    return None if found is None else _positive(f"KURAMORI_{name}", found, least)


def _limit(application: Application, name: str) -> int | None:
    found = _number(application, name, 0)
    return found * _KIB if found else None


def _file(application: Application, name: str) -> Path | None:
    found = _variable(application, name)
    return None if found is None else Path(found)


def _variable(application: Application, name: str) -> str | None:
    own = variable(f"FROM_{name}") if application.source_of_copy else None
    return own or variable(name)
