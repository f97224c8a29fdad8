"""``kuramori migrate``."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.environment import state_directory
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _


@declare("migrate", _("bring the repository to a newer form"))
@click.argument("names", nargs=-1, metavar="[MIGRATION]...")
@pass_application
def command(application: Application, names: tuple[str, ...]) -> None:
    """Bring the repository to a newer form; without a name, list what can be done."""
    from kuramori.maintenance.migrate import MigrateOptions, applicable_migrations, migrate

    application.no_cache = True  # the check before it must look at the store
    copies = state_directory()
    options = MigrateOptions(copies=str(copies), retry_lock_seconds=application.retry_seconds(),
                             lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    with application.open() as repository:
        if not names:
            _list(application, [(each.name, each.description) for each in applicable_migrations(repository)])
            return
        for name in names:
            try:
                result = migrate(repository, name, options, display)
            finally:
                display.close()
            if application.json:
                say_json({"message_type": "summary", "migration": name, "applied": result.applied,
                          "config_copy": result.copy})
            elif not result.applied:
                say(_("{name}: there is nothing to do; the repository is of this form already").format(name=name))
            elif not application.quiet:
                say(_("{name}: done; a copy of the old config is {path}").format(name=name, path=result.copy))


def _list(application: Application, found: list[tuple[str, str]]) -> None:
    if application.json:
        say_json([{"name": name, "description": description} for name, description in found])
        return
    for name, description in found:
        say(f"{name}  {_(description)}")
    if not found:
        say(_("there is nothing to migrate"))
