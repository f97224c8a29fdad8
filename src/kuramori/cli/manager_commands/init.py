"""``kuramori init``: all repositories of the settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuramori.cli.application import Application
from kuramori.cli.manager_access import open_manager
from kuramori.cli.output import say, say_json, shown
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.manager.places import MadeRepository
    from kuramori.settings.model import RepositorySettings


def initialise_all(application: Application, *, renew: bool) -> None:
    """Make the repositories that are not there yet.

    Raises:
        KuramoriError: one cannot be made; those before it are.
    """
    with open_manager(application, application.progress()) as manager:
        for name, settings in manager.settings.repositories.items():
            (made,) = manager.initialise([name], renew=renew)
            _report(application, made, settings)
    if not application.json and not application.quiet:
        say()
        say(_("Please keep the password safe: without it nothing can be read from the repository, by anybody."))


def _report(application: Application, made: MadeRepository, settings: RepositorySettings) -> None:
    if application.json:
        say_json({"message_type": "initialized" if made.created else "exists", "name": made.name,
                  "id": made.repository_id, "repository": made.location})
        return
    if application.quiet:
        return
    text = _("{name}: created repository {id} at {location}") if made.created else \
        _("{name}: repository {id} is at {location} already")
    say(text.format(name=shown(made.name), id=made.repository_id[:10], location=shown(made.location)))
    if made.created and settings.password_generated:
        say(_("{name}: its password is in {path}").format(name=shown(made.name),
                                                          path=shown(str(settings.password_file))))
