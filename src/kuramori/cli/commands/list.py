"""``kuramori list``."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import goes_by_settings, refuse_settings_options
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError

_KINDS = ("blobs", "packs", "index", "snapshots", "keys", "locks")


@declare("list", _("list runs, or objects of the repository\n\nWithout KIND: the runs that the repositories of the "
                   "settings file hold. KIND is blobs, packs, index, snapshots, keys or locks."))
@click.argument("kind", type=click.Choice(_KINDS), metavar="[KIND]", required=False)
@click.option("--job", default="", metavar="NAME", help=_("with settings: only runs of this job"))
@click.option("--from", "place", default="", metavar="NAME",
              help=_("with settings: only runs in this repository of the settings file"))
@click.pass_context
@pass_application
def command(application: Application, context: click.Context, kind: str | None, job: str, place: str) -> None:
    """List runs or objects."""
    if kind is None and goes_by_settings(application):
        from kuramori.cli.manager_commands.runs import list_runs

        list_runs(application, job=job, repository=place)
        return
    refuse_settings_options(context, "job", "place")
    if kind is None:
        application.location()  # says what is missing, if no repository is named either
        raise UsageError(detail=_("say what to list: {kinds}").format(kinds=", ".join(_KINDS)))
    _list_objects(application, kind)


def _list_objects(application: Application, kind: str) -> None:
    from kuramori.storage.backend import FileType

    types = {"packs": FileType.PACK, "index": FileType.INDEX, "snapshots": FileType.SNAPSHOT,
             "keys": FileType.KEY, "locks": FileType.LOCK}
    application.no_lock = application.no_lock or kind == "locks"
    with application.open() as repository, application.lock(repository):
        if kind == "blobs":
            repository.load_index()
            for blob in repository.index.blobs():
                say(f"{blob.type.value} {blob.id.hex()}")
            return
        for info in repository.backend.list(types[kind]):
            if application.json:
                say_json({"id": info.name, "size": info.size})
            else:
                say(info.name)
