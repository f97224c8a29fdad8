"""``kuramori init``."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _


@declare("init", _("make a new repository"))
@click.option("--repository-version", default="2", metavar="N", help=_("format version: 1, 2, latest or stable"))
@pass_application
def command(application: Application, repository_version: str) -> None:
    """Make a new repository."""
    from kuramori.cli.passwords import read_password
    from kuramori.errors import UsageError
    from kuramori.repository.opening import CreateOptions, create_repository
    from kuramori.repository.process_identity import current_identity

    versions = {"1": 1, "2": 2, "latest": 2, "stable": 2}
    if repository_version not in versions:
        raise UsageError(detail=_("the repository version is 1 or 2, not {version}").format(version=repository_version))
    backend = application.backend()
    identity = current_identity()
    options = CreateOptions(version=versions[repository_version], hostname=identity.hostname,
                            username=identity.username)
    repository = create_repository(backend, read_password(application, twice=True), options)
    repository.close()
    if application.json:
        say_json({"message_type": "initialized", "id": repository.id, "repository": backend.location})
    elif not application.quiet:
        say(_("created repository {id} at {location}").format(id=repository.id[:10], location=backend.location))
        say()
        say(_("Please keep the password safe: without it nothing can be read from the repository, by anybody."))
