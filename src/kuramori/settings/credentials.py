"""The password of a repository: from systemd's credentials, a command, or a file that is yours alone."""

from __future__ import annotations

import codecs
import os
import secrets
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kuramori.errors import (
    N_,
    CredentialError,
    ForeignSecretFileError,
    GeneratedPasswordFileMissingError,
    MissingExtraError,
    NamedPasswordFileMissingError,
    PasswordFileMissingError,
    Phrase,
    UnsafeSecretFileError,
)
from kuramori.secret import Secret
from kuramori.settings.regular_file import NotRegularError, read_regular_file
from kuramori.storage.durable_file import make_folders, sync_file, sync_folder, write_all

if TYPE_CHECKING:
    from kuramori.settings.model import RepositorySettings  # takes long to import; whoever has one has imported it

COMMAND_SECONDS = 300.0
"""A password command that needs longer is given up: a daemon must not wait for ever."""
_MOST_BYTES = 1024 * 1024
_WORD_BYTES = 24
"""Random bytes of a generated password: 192 bits, 32 letters."""


def read_password(repository: RepositorySettings, *, credentials_directory: Path | None) -> Secret:
    """Return the password of a repository. May be called as often as it is needed.

    Args:
        credentials_directory: what systemd's ``$CREDENTIALS_DIRECTORY`` says; a file there that has the
            repository's name comes before everything else.

    Raises:
        CredentialError: there is none, it cannot be read, or others can read it.
        MissingExtraError: it is in the keyring, and the package that reads keyrings is not installed.
    """
    for credential_name in repository.credential_names or (repository.name,):
        if credentials_directory is not None and os.path.lexists(credentials_directory / credential_name):
            # systemd guards this folder with modes and access lists of its own.
            return _not_empty(_decode_file(credentials_directory / credential_name, repository.name, guarded=True),
                              repository.name)
    if repository.password_command:
        return _not_empty(_run_command(repository), repository.name)
    if repository.password_keyring:
        return _not_empty(read_keyring(repository.password_keyring, name=repository.name), repository.name)
    if repository.password_file is None:
        raise CredentialError(repository=repository.name, detail=N_("the settings name neither a file nor a command"))
    missing = GeneratedPasswordFileMissingError if repository.password_generated else NamedPasswordFileMissingError
    return _not_empty(_decode_file(repository.password_file, repository.name, guarded=False, missing=missing),
                      repository.name)


def read_secret_file(path: Path, *, name: str) -> Secret:
    """Return the content of a file that holds a secret, without white space around it.

    Args:
        name: whose secret it is, for errors.

    Raises:
        CredentialError: it cannot be read, others can read it, or it belongs to somebody else.
    """
    return Secret(_decode_file(path, name, guarded=False))


def read_keyring(entry: str, *, name: str) -> str:
    """Return the secret of an entry ``service/user`` of the system's keyring.

    Args:
        name: whose secret it is, for errors.

    Raises:
        CredentialError: there is none, or the keyring cannot be opened.
        MissingExtraError: the package is not installed.
    """
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MissingExtraError(feature=N_("a password in the keyring"), package="keyring", extra="keyring") from None
    service, _slash, user = entry.partition("/")
    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        raise CredentialError(repository=name, detail=Phrase(
            N_("the keyring cannot be asked: {detail}"), detail=str(error) or type(error).__name__)) from None
    if found is None:
        raise CredentialError(repository=name, detail=Phrase(
            N_("the keyring has no entry {entry!s}; this makes it: keyring set {service!s} {user!s}"), entry=entry,
            service=service, user=user))
    return found


def decode_password(content: bytes) -> str:
    """Return the password that the bytes of a file or the output of a command stand for: UTF-8 with or
    without a mark, UTF-16 with one; without white space around it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace").strip()
    return content.decode("utf-8-sig", "surrogateescape").strip()


def generate_password_file(path: Path) -> Secret:
    """Make a new password and the file that holds it, 0600 and durable. The folder is made if it is
    missing, 0700.

    Raises:
        CredentialError: the file exists already, or cannot be written.
    """
    password = Secret(secrets.token_urlsafe(_WORD_BYTES))
    try:
        make_folders(str(path.parent), 0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise CredentialError(repository=path.name,
                              detail=Phrase(N_("{path!s} exists already"), path=str(path))) from None
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        try:
            write_all(descriptor, [password.reveal().encode() + b"\n"])
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(str(path.parent))
    except OSError as error:
        path.unlink(missing_ok=True)  # half a password is worse than none
        raise _not_written(path, error) from None
    return password


def _not_written(path: Path, error: OSError) -> CredentialError:
    return CredentialError(repository=path.name, detail=Phrase(N_("{path!s} could not be written: {detail}"),
                                                               path=str(path), detail=error.strerror or ""))


def _not_empty(password: str, name: str) -> Secret:
    if not password:
        raise CredentialError(repository=name, detail=N_("it is empty"))
    return Secret(password)


def _decode_file(path: Path, name: str, *, guarded: bool,
                 missing: type[CredentialError] = PasswordFileMissingError) -> str:
    return decode_password(read_guarded_file(path, name, guarded=guarded, missing=missing))


def read_guarded_file(path: Path, name: str, *, guarded: bool = False,
                      failed: type[CredentialError] = CredentialError,
                      missing: type[CredentialError] = PasswordFileMissingError) -> bytes:
    """Return the content of a file with secrets in it.

    Args:
        name: of the repository that they belong to, for errors.
        guarded: the folder is closed to others, so the file's own mode does not matter.
        failed: what is raised where it cannot be read.
        missing: what is raised where it does not exist.

    Raises:
        CredentialError: it cannot be read, others can read it, or it belongs to somebody else.
    """
    try:
        content, status = read_regular_file(path, _MOST_BYTES)
    except FileNotFoundError:
        raise missing(path=str(path), repository=name) from None
    except NotRegularError:
        raise failed(repository=name, detail=Phrase(N_("{path!s} is no regular file"), path=str(path))) from None
    except OSError as error:
        raise failed(repository=name, detail=Phrase(N_("{path!s} cannot be read: {detail}"), path=str(path),
                                                    detail=error.strerror or "")) from None
    if not guarded:
        _refuse_visible(path, status)
    return content


def _refuse_visible(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise ForeignSecretFileError(path=str(path), detail=N_("it belongs to another user"))
    if status.st_mode & 0o077:
        raise UnsafeSecretFileError(path=str(path), detail=Phrase(
            N_("its mode is {mode}, so others can read or change it"), mode=f"{stat.S_IMODE(status.st_mode):04o}"))


def _run_command(repository: RepositorySettings) -> str:
    """Return what the password command prints. Its complaints go where ours go: they are its own."""
    try:
        done = subprocess.run(repository.password_command, stdout=subprocess.PIPE, check=False, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise _command_failed(repository, Phrase(N_("no answer after {seconds} seconds"),
                                                 seconds=int(COMMAND_SECONDS))) from None
    except (OSError, ValueError) as error:
        raise _command_failed(repository, getattr(error, "strerror", None) or N_("it cannot be run")) from None
    if done.returncode != 0:
        raise _command_failed(repository, Phrase(N_("exit status {status}"), status=done.returncode))
    return decode_password(done.stdout)


def _command_failed(repository: RepositorySettings, reason: Phrase | str) -> CredentialError:
    return CredentialError(repository=repository.name, detail=Phrase(
        N_("its password command failed: {detail}"), detail=reason))
