"""``kuramori init``."""

from __future__ import annotations

from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import goes_by_settings, refuse_engine_options, refuse_settings_options
from kuramori.cli.options import command as declare
from kuramori.cli.options import source_repository_options
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _


@declare("init", _("make a new repository\n\nWithout a repository (-r): all those of the settings file that are not "
                   "there yet."))
@click.option("--repository-version", default="2", metavar="N", help=_("format version: 1, 2, latest or stable"))
@click.option("--copy-chunker-params", is_flag=True,
              help=_("take over the chunker polynomial of the source repository, by which restic cuts files"))
@click.option("--renew", is_flag=True,
              help=_("with settings: also where another repository was before, which is gone or was replaced"))
@source_repository_options
@click.pass_context
@pass_application
def command(application: Application, context: click.Context, repository_version: str, copy_chunker_params: bool,
            renew: bool, **source: Any) -> None:
    """Make a new repository."""
    if goes_by_settings(application):
        from kuramori.cli.manager_commands.init import initialise_all

        refuse_engine_options(context, "renew")
        initialise_all(application, renew=renew)
        return
    refuse_settings_options(context, "renew")
    _initialise(application, repository_version, copy_chunker_params, source)


def _initialise(application: Application, repository_version: str, copy_chunker_params: bool,
                source: dict[str, Any]) -> None:
    from kuramori.cli.passwords import read_password
    from kuramori.errors import UsageError
    from kuramori.repository.opening import CreateOptions, create_repository
    from kuramori.repository.process_identity import current_identity

    versions = {"1": 1, "2": 2, "latest": 2, "stable": 2}
    if repository_version not in versions:
        raise UsageError(detail=_("the repository version is 1 or 2, not {version}").format(version=repository_version))
    polynomial = ""
    if copy_chunker_params:
        with application.source(**source).open() as other:
            polynomial = other.config.chunker_polynomial
    elif any(source.values()):
        raise UsageError(detail=_("a source repository is only of use together with --copy-chunker-params"))
    backend = application.backend()
    identity = current_identity()
    options = CreateOptions(version=versions[repository_version], hostname=identity.hostname,
                            username=identity.username, polynomial=polynomial,
                            last_keys_directory=application.cache_folder())
    repository = create_repository(backend, read_password(application, twice=True), options)
    repository.close()
    if application.json:
        say_json({"message_type": "initialized", "id": repository.id, "repository": backend.location})
    elif not application.quiet:
        say(_("created repository {id} at {location}").format(id=repository.id[:10], location=backend.location))
        if copy_chunker_params:
            say(_("with the chunker parameters of the source repository"))
        say()
        say(_("Please keep the password safe: without it nothing can be read from the repository, by anybody."))
