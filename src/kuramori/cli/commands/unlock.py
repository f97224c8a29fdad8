"""``kuramori unlock``."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count


@declare("unlock", _("remove locks that nobody holds any more"))
@click.option("--remove-all", is_flag=True, help=_("remove all locks, also of programs that still run"))
@pass_application
def command(application: Application, remove_all: bool) -> None:
    """Remove locks that nobody holds any more."""
    from kuramori.repository.locks import remove_all_locks, remove_stale_locks

    with application.open(maintenance=True) as repository:
        removed = remove_all_locks(repository) if remove_all else remove_stale_locks(repository)
    if removed and not application.json and not application.quiet:
        say(translate_count("removed {count} lock", "removed {count} locks", removed).format(count=removed))
