"""Where passwords come from (format section 1.3). Never from arguments."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys

from kuramori.cli.application import Application
from kuramori.cli.output import complain
from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError
from kuramori.secret import Secret
from kuramori.settings.credentials import decode_password


def read_password(application: Application, *, twice: bool = False) -> Secret:
    """Return the repository's password: from the options, the environment, or a question.

    Args:
        twice: ask twice, for a new password.

    Raises:
        UsageError: there is none, or it is empty without ``--insecure-no-password``.
    """
    if application.insecure_no_password:
        return Secret("")
    password = given_password(application)
    if password is None:
        password = _ask_for_source() if application.source_of_copy else \
            ask(_("password of the repository: "), twice=twice)
    return require(password)


def _ask_for_source() -> Secret:
    if not sys.stdin.isatty():
        raise UsageError(detail=_("there is no password of the source repository: use --from-password-file, "
                                  "--from-password-command or the variable KURAMORI_FROM_PASSWORD"))
    return ask(_("password of the source repository: "))


def require(password: Secret) -> Secret:
    """Return the password if it is not empty.

    Raises:
        UsageError: it is.
    """
    if not password:
        raise UsageError(detail=_("the password is empty; if that is meant, add --insecure-no-password"))
    return password


def given_password(application: Application) -> Secret | None:
    """Return the password that the options or the environment give; None where nobody but a question could.

    Raises:
        UsageError: it cannot be read, or two options exclude each other.
    """
    if application.password_file and application.password_command:
        raise UsageError(detail=_("--password-file and --password-command exclude each other"))
    if application.password_file:
        return read_password_file(application.password_file)
    if application.password_command:
        return run_password_command(application.password_command)
    found = application.first_set("PASSWORD_FILE", "PASSWORD_COMMAND", "PASSWORD")
    if found is None:
        return None
    name, value = found
    if name == "PASSWORD_FILE":
        return read_password_file(value)
    return run_password_command(value) if name == "PASSWORD_COMMAND" else Secret(value)


def read_password_file(path: str) -> Secret:
    """Return the password that a file holds, without white space around it.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(1024 * 1024)
    except OSError as error:
        raise UsageError(detail=_("the password file {path} cannot be read: {error}").format(
            path=path, error=error.strerror)) from None
    if stat.S_ISREG(mode) and mode & 0o077:
        complain(_("warning: the password file {path} can be read by others; chmod 600 {path} changes that").format(
            path=path))
    return Secret(decode_password(content))


def run_password_command(command: str) -> Secret:
    """Return what a command prints, without white space around it.

    Raises:
        UsageError: it failed.
    """
    try:
        words = shlex.split(command)
        result = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    except (OSError, ValueError) as error:
        raise UsageError(detail=_("the password command failed: {error}").format(error=error)) from None
    if result.returncode != 0:
        raise UsageError(detail=_("the password command failed: {error}").format(
            error=_("exit status {status}").format(status=result.returncode)))
    return Secret(decode_password(result.stdout))


def ask(question: str, *, twice: bool = False) -> Secret:
    """Ask on the terminal, without showing what is typed.

    Raises:
        UsageError: there is no terminal, or the two answers differ.
    """
    if not sys.stdin.isatty():
        raise UsageError(detail=_("there is no password: use --password-file, --password-command or the variable "
                                  "KURAMORI_PASSWORD"))
    import getpass

    try:
        first = getpass.getpass(question)
        if twice and getpass.getpass(_("the same again: ")) != first:
            raise UsageError(detail=_("the two passwords differ"))
    except EOFError:
        raise UsageError(detail=_("no password was typed")) from None
    return Secret(first)
