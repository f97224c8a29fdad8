"""``kuramori init``: all repositories of the settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuramori.cli.application import Application
from kuramori.cli.manager_access import refuse_passwords
from kuramori.cli.output import say, say_json, shown
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.cli.settings_access import InitialisedRepository


def initialise_all(application: Application, *, renew: bool) -> None:
    """Make the repositories that are not there yet.

    Raises:
        KuramoriError: one cannot be made; those before it are.
    """
    from kuramori.cli.settings_access import initialise_repositories, load_application_settings

    refuse_passwords(application)
    created = False
    for initialised in initialise_repositories(application, load_application_settings(application), renew=renew):
        created |= initialised.made.created
        _report(application, initialised)
    if created and not application.json and not application.quiet:
        say()
        say(_("Please keep the password safe: without it nothing can be read from the repository, by anybody."))


def _report(application: Application, initialised: InitialisedRepository) -> None:
    made, password = initialised.made, initialised.new_password_file
    if application.json:
        say_json({"message_type": "initialized" if made.created else "exists", "name": made.name,
                  "id": made.repository_id, "repository": made.location,
                  "new_password_file": str(password) if password is not None else None})
        return
    if application.quiet:
        return
    text = _("{name}: created repository {id} at {location}") if made.created else \
        _("{name}: repository {id} is at {location} already")
    say(text.format(name=shown(made.name), id=made.repository_id[:10], location=shown(made.location)))
    if password is not None:
        say(_("{name}: its password is in {path}").format(name=shown(made.name), path=shown(str(password))))
