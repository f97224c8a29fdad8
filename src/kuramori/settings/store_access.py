"""What a repository's store is reached with, by the settings: variables from files, systemd and the keyring."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from kuramori.errors import N_, CredentialError, EnvironmentFileMissingError, Phrase, StoreCredentialError
from kuramori.settings.credentials import read_guarded_file, read_keyring
from kuramori.settings.model import RepositorySettings
from kuramori.storage.access import StoreAccess, lay_over

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def make_access(repository: RepositorySettings, known: StoreAccess, *,
                credentials_directory: Path | None) -> StoreAccess:
    """Return how the store of a repository is reached. May be called as often as it is needed.

    Of variables that are given twice the later counts: ``environment``, then ``environment_file``, then
    ``environment_keyring``, then systemd's credential ``NAME.environment``.

    Args:
        known: what holds where the settings say nothing; their variables come before its variables.
        credentials_directory: what systemd's ``$CREDENTIALS_DIRECTORY`` says.

    Raises:
        CredentialError: a file or the keyring cannot be read, or others can read the file.
        MissingExtraError: the package that reads keyrings is not installed.
    """
    store = repository.store
    return replace(
        known, variables=lay_over(known.variables, _variables(repository, credentials_directory)),
        options={**known.options, **store.options}, connections=store.connections or known.connections,
        limit_upload=store.limit_upload or known.limit_upload,
        limit_download=store.limit_download or known.limit_download,
        ca_certificates=store.ca_certificates or known.ca_certificates,
        client_certificate=store.client_certificate or known.client_certificate,
        insecure_tls=store.insecure_tls or known.insecure_tls,
        object_lock_days=store.object_lock_days or known.object_lock_days)


def _variables(repository: RepositorySettings, credentials_directory: Path | None) -> dict[str, str]:
    store, name = repository.store, repository.name
    found = dict(store.environment)
    if store.environment_file is not None:
        found |= read_environment_file(store.environment_file, name=name)
    for variable, entry in store.environment_keyring.items():
        try:
            found[variable] = read_keyring(entry, name=name)
        except CredentialError as error:
            raise StoreCredentialError(**error.fields) from None
    for credential_name in store.credential_names or (name,):
        credential = credentials_directory and credentials_directory / f"{credential_name}.environment"
        if credential and os.path.lexists(credential):
            return found | read_environment_file(credential, name=name, guarded=True)
    return found


def read_environment_file(path: Path, *, name: str, guarded: bool = False) -> dict[str, str]:
    """Return the variables of a file with lines ``NAME=value``, as systemd and shells have them: ``export`` before the
    name, quotes around the whole value, empty lines and comments (``#``) are understood; nothing is expanded.

    Args:
        name: of the repository, for errors.
        guarded: the folder is closed to others, so the file's own mode does not matter.

    Raises:
        CredentialError: it cannot be read, others can read it, or a line is none of these.
    """
    content = read_guarded_file(path, name, guarded=guarded, failed=StoreCredentialError,
                                missing=EnvironmentFileMissingError)
    found = {}
    for number, line in enumerate(content.decode("utf-8-sig", "surrogateescape").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(("#", ";")):
            continue
        match = _LINE.fullmatch(line)
        if match is None or "\0" in line:
            # The line is not repeated: it may hold a secret.
            raise StoreCredentialError(repository=name, detail=Phrase(
                N_("line {line} of {path!s} is not NAME=value"), line=number, path=str(path)))
        found[match[1]] = _unquoted(match[2])
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
