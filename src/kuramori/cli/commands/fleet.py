"""``kuramori fleet``: how all devices stand whose repositories lie in one place.

Exit codes: 0 all are well, 3 somebody should look, 1 something is wrong (as ``kuramori status``), 10 no repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.passwords import given_password, read_password, read_password_file
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_duration
from kuramori.errors import N_, CredentialError, PasswordFileMissingError, UsageError
from kuramori.secret import Secret

if TYPE_CHECKING:
    from kuramori.cli.named_repositories import NamedRepository
    from kuramori.manager.fleet_model import FleetStatus
    from kuramori.storage.access import StoreAccess

_EXIT_CODES = {"well": 0, "attention": 3, "alarm": 1}


@declare("fleet", _("say how all devices stand whose repositories are in one place\n\nLOCATION is the folder (or "
                    "bucket, or what the store calls it) in which each device has a repository of its own: what stands "
                    "before {hostname} in the settings of the devices. The name of a repository of the settings file "
                    "is one as well. Where a store does not say what it holds (rest), name the repositories "
                    "themselves.\n\nNothing is locked, written or remembered. The exit code is 0 if all devices are "
                    "well, 3 if somebody should look, and 1 if something is wrong."), without=("password_file",))
@click.argument("locations", metavar="[LOCATION]...", nargs=-1)
@click.option("-p", "--password-file", "password_files", metavar="FILE", multiple=True,
              help=_("a file that holds a password; several may be given, and all are tried"))
@click.option("--password-directory", metavar="DIR",
              help=_("a folder with a file for each device that holds its password; files are called like devices"))
@click.option("--stale-after", metavar="DURATION",
              help=_("how old the last good backup may be; default: twice the time between two runs of the device's "
                     "schedule, or 2d where it is not known"))
@pass_application
def command(application: Application, locations: tuple[str, ...], password_files: tuple[str, ...],
            password_directory: str | None, stale_after: str | None) -> int:
    """Look at all devices."""
    places = [_Place(application, text) for text in locations or _default_locations(application)]
    passwords = _passwords(application, places, password_files, password_directory)
    fleet = _survey(application, places, passwords, parse_duration(stale_after) if stale_after else None)
    from kuramori.cli.fleet_report import fleet_json, fleet_sentence, report_fleet

    if application.json:
        say_json(fleet_json(fleet))
    else:
        say(fleet_sentence(fleet))
        if not application.quiet:
            report_fleet(fleet)
    return _EXIT_CODES[fleet.health.value]


def _survey(application: Application, places: Sequence[_Place], passwords: Callable[[str], Sequence[Secret]],
            stale_seconds: float | None) -> FleetStatus:
    from kuramori.cli.manager_access import schedule_interval
    from kuramori.clock import SystemClock
    from kuramori.manager.fleet import survey_fleet
    from kuramori.manager.fleet_model import FleetOptions
    from kuramori.storage.access import DEFAULT_CONNECTIONS

    display = application.progress()
    try:
        return survey_fleet(FleetOptions(
            locations=[(place.location, place.access) for place in places], passwords=passwords, clock=SystemClock(),
            stale_seconds=stale_seconds, interval_of=schedule_interval(), cache_directory=application.cache_folder(),
            progress=display, at_once=application.connections or DEFAULT_CONNECTIONS))
    finally:
        display.close()


# --- where -----------------------------------------------------------------------------------


class _Place:
    """What a word of the command line means."""

    def __init__(self, application: Application, text: str) -> None:
        from kuramori.cli.named_repositories import find_named
        from kuramori.cli.store_access import command_line_access, named_access
        from kuramori.settings.hostnames import fleet_prefix

        own = replace(application, repository=text, repository_file=None)
        self.named: NamedRepository | None = find_named(own)
        if self.named is None:
            self.location = fleet_prefix(text)
            self.access: StoreAccess = command_line_access(own, self.location)
        else:
            repository = self.named.settings.repositories[self.named.name]
            self.location = fleet_prefix(repository.location_pattern or repository.location)
            self.access = named_access(own)(repository)


def _default_locations(application: Application) -> list[str]:
    """Return what is meant where no location was typed: that of ``-r``, else the repository of the settings that has
    ``{hostname}`` in its location.

    Raises:
        UsageError: nobody can tell.
        SettingsError, UntrustedSettingsError: the settings cannot be used.
    """
    from kuramori.cli.settings_access import has_settings, load_application_settings

    if application.repository or application.repository_file:
        return [application.location()]
    if has_settings(application):
        settings = load_application_settings(application)
        found = [name for name, repository in settings.repositories.items() if repository.location_pattern]
        if len(found) == 1:
            return found
        if found:
            raise UsageError(detail=_("several repositories of the settings have {{hostname}} in their location; say "
                                      "which one: {names}").format(names=", ".join(found)))
    raise UsageError(detail=_("please say where the repositories of the devices are: kuramori fleet LOCATION"))


# --- passwords -------------------------------------------------------------------------------


def _passwords(application: Application, places: Sequence[_Place], files: tuple[str, ...],
               directory: str | None) -> Callable[[str], Sequence[Secret]]:
    """Return what gives the passwords to try for a device: that of its own file first, then all others.

    Raises:
        UsageError, CredentialError: one cannot be read, or there is none at all.
    """
    if directory is not None and not os.path.isdir(directory):
        raise UsageError(detail=_("the folder of passwords, {path}, does not exist").format(path=directory))
    files = (*([application.password_file] if application.password_file else []), *files)
    common = [read_password_file(path) for path in files]
    if application.insecure_no_password:
        common.append(Secret(""))
    elif not files:
        given = given_password(application)
        common += [given] if given is not None else _passwords_of_settings(application, places)
        if not common and directory is None:
            common.append(read_password(application))
    if not all(common) and not application.insecure_no_password:
        raise UsageError(detail=_("the password is empty; if that is meant, add --insecure-no-password"))
    distinct = {password.reveal(): password for password in common}
    if directory is None:
        return lambda device: list(distinct.values())
    folder = Path(directory)
    return lambda device: [*_own_password(folder, device), *distinct.values()]


def _passwords_of_settings(application: Application, places: Sequence[_Place]) -> list[Secret]:
    from kuramori.cli.settings_access import application_secrets

    read = application_secrets(application)
    return [read(place.named.settings.repositories[place.named.name]) for place in places if place.named is not None]


def _own_password(folder: Path, device: str) -> list[Secret]:
    """Return the password in the file that is called like a device, or like the last part of its name; nothing if
    there is no such file.

    Raises:
        CredentialError: the file cannot be used.
    """
    from kuramori.settings.credentials import read_secret_file

    if not device.isprintable() or any(part in ("", ".", "..") for part in device.split("/")):
        return []  # the name comes from the store: it must not lead elsewhere
    for name in dict.fromkeys((device, device.rpartition("/")[2])):
        try:
            password = read_secret_file(folder / name, name=device)
        except PasswordFileMissingError:
            continue
        if not password:
            raise CredentialError(repository=device, detail=N_("it is empty"))
        return [password]
    return []
