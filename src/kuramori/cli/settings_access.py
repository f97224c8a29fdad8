"""From the command line to the settings file: where it is looked for, and what the surroundings add to it.

A command that works with or without settings asks :func:`has_settings`; one that needs them calls
:func:`load_application_settings`. What reads settings is imported only then: a command on a location has no use for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kuramori.cli.application import Application
from kuramori.cli.environment import first_set, state_directory, variable
from kuramori.cli.output import complain
from kuramori.cli.store_access import named_access
from kuramori.cli.translation import translate as _
from kuramori.secret import Secret

if TYPE_CHECKING:
    from kuramori.manager.manager import Manager
    from kuramori.manager.places import MadeRepository
    from kuramori.progress import Progress
    from kuramori.settings.loading import SettingsDefaults
    from kuramori.settings.model import RepositorySettings, Settings

FILE_NAME = "kuramori.toml"


def settings_candidates() -> list[Path]:
    """Return where a settings file is looked for, in this order, when nobody names one."""
    found = [user_settings_file(), system_settings_file()]
    try:
        return [Path.cwd() / FILE_NAME, *found]
    except OSError:  # the folder that we are in was removed
        return found


def user_settings_file() -> Path:
    """Return where the settings of this user belong."""
    import platformdirs

    return Path(platformdirs.user_config_dir("kuramori")) / FILE_NAME


def system_settings_file() -> Path:
    """Return where the settings of this machine belong."""
    return Path("/etc/kuramori") / FILE_NAME


def named_settings(application: Application) -> Path | None:
    """Return the settings file that ``--settings`` or ``KURAMORI_SETTINGS`` names, None if neither does."""
    named = application.settings_path or os.environ.get("KURAMORI_SETTINGS")
    return Path(named) if named else None


def find_application_settings(application: Application) -> Path:
    """Return the settings file that counts.

    Raises:
        NoSettingsError, SettingsFileMissingError: there is none.
        UntrustedSettingsError: it was found, not named, and belongs to somebody else.
    """
    from kuramori.settings.loading import find_settings, refuse_foreign_file

    named = named_settings(application)
    found = find_settings(named, [] if named else settings_candidates())
    if named is None:
        refuse_foreign_file(found, os.geteuid())
    return found


def has_settings(application: Application) -> bool:
    """Tell whether a command without anything else to go by should go by the settings file.

    What was typed comes first: ``-r`` and ``--repository-file`` mean the engine, ``--settings`` means
    the settings. Then a repository in the environment (restic's variables too) means the engine, and
    last a file that is found means the settings.
    """
    if application.repository or application.repository_file:
        return False
    if application.settings_path:
        return True
    if first_set(("REPOSITORY", "REPOSITORY_FILE")) is not None:
        return False
    return named_settings(application) is not None or any(map(os.path.lexists, settings_candidates()))


def hostname() -> str:
    """Return this machine's name."""
    import socket

    return socket.gethostname() or "localhost"


def settings_defaults() -> SettingsDefaults:
    """Return what the surroundings say: folders of this user (of the system for root), host and home."""
    import platformdirs

    from kuramori.settings.loading import SettingsDefaults

    home = os.path.expanduser("~")  # also where a service has no HOME
    cache = variable("CACHE_DIR") or (
        "/var/cache/kuramori" if os.geteuid() == 0 else platformdirs.user_cache_dir("kuramori"))
    return SettingsDefaults(
        config_folder=user_settings_file().parent,
        state_directory=state_directory(),
        cache_directory=Path(cache),
        hostname=hostname(), home=Path(home) if os.path.isabs(home) else None)


def load_application_settings(application: Application) -> Settings:
    """Return the settings that count. From here on the program speaks their language, unless the
    command line or the environment names one.

    Raises:
        SettingsError: the file cannot be used; with everything that is wrong.
        NoSettingsError, SettingsFileMissingError, UntrustedSettingsError: see
            :func:`find_application_settings`.
    """
    from kuramori.errors import SettingsError
    from kuramori.settings.loading import load_settings

    path = find_application_settings(application)
    try:
        settings = load_settings(path, settings_defaults())
    except SettingsError as error:
        speak(application, error.language)
        raise
    speak(application, settings.language)
    return settings


def speak(application: Application, language: str) -> None:
    """Speak the language of the settings, if they name one and nobody else did."""
    if language and not application.language and not os.environ.get("KURAMORI_LANGUAGE"):
        os.environ["LANGUAGE"] = language


def application_secrets(application: Application) -> Callable[[RepositorySettings], Secret]:
    """Return what reads a repository's password when it is needed: the ``secrets`` of a manager."""
    from kuramori.settings.credentials import read_password

    return lambda repository: read_password(repository, credentials_directory=credentials_directory())


def credentials_directory() -> Path | None:
    """Return where systemd has put credentials for this service; None outside of one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def open_manager(application: Application, settings: Settings, *, progress: Progress | None = None,
                 secrets: Callable[[RepositorySettings], Secret] | None = None) -> Manager:
    """Return the manager of the settings. Nothing is opened or written yet.

    Args:
        progress: is told what happens; None for nobody.
        secrets: gives the passwords; None for :func:`application_secrets`.
    """
    from kuramori.clock import SystemClock
    from kuramori.history.history import History, history_path
    from kuramori.manager.manager import Manager

    clock = SystemClock()
    history = History(history_path(settings.state_directory), clock,
                      told=lambda error: complain(_("warning: {text}").format(text=error.text(_))))
    return Manager(settings, clock=clock, history=history, secrets=secrets or application_secrets(application),
                   access=named_access(application), retrying=application.retrying, progress=progress,
                   environment=os.environ)


@dataclass(frozen=True)
class InitialisedRepository:
    """What became of one repository."""

    made: MadeRepository
    new_password_file: Path | None
    """The file that was made for its password, None where there was a password before."""


def initialise_repositories(application: Application, settings: Settings, *, names: Sequence[str] = (),
                            renew: bool = False) -> Iterator[InitialisedRepository]:
    """Make the repositories that are not there yet, one after the other, and password files for those
    for which the settings name none. May be called again.

    A password file that was made for a repository that then was not is removed: beside a repository
    that is only away for the moment it would be a wrong password.

    Args:
        names: only these; none for all of the settings.
        renew: also where another repository was before.

    Raises:
        UnknownRepositoryNameError, RepositoryError, StorageError, CredentialError: as
            :meth:`Manager.initialise`; those before it are made.
    """
    from kuramori.errors import PasswordFileMissingError, WrongPasswordError
    from kuramori.settings.credentials import generate_password_file

    read = application_secrets(application)
    new: list[Path] = []
    making = ""

    def read_or_make(repository: RepositorySettings) -> Secret:
        try:
            return read(repository)
        except PasswordFileMissingError:
            # Beside the one that is made, others may be looked at: they have their passwords, or are left out.
            if repository.name != making or not repository.password_generated or repository.password_file is None:
                raise
            new.append(repository.password_file)
            return generate_password_file(repository.password_file)

    manager = open_manager(application, settings, secrets=read_or_make)
    for name in names or settings.repositories:
        new.clear()
        making = name
        try:
            [made] = manager.initialise([name], renew=renew)
        except WrongPasswordError:
            if not new:
                raise
            new[0].unlink(missing_ok=True)
            raise PasswordFileMissingError(path=str(new[0]), repository=name) from None
        except BaseException:
            # Also Ctrl-C: but where the repository is there all the same, the file is its only password.
            if new and not _is_there(settings.repositories[name]):
                new[0].unlink(missing_ok=True)
            raise
        yield InitialisedRepository(made, new[0] if new and made.created else None)


def _is_there(repository: RepositorySettings) -> bool:
    """Tell whether there may be a repository at the place."""
    from kuramori.settings.inspection import local_folder

    folder = local_folder(repository.location)
    return folder is None or os.path.lexists(folder / "config")
