"""``kuramori list``."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _

_KINDS = ("blobs", "packs", "index", "snapshots", "keys", "locks")


@declare("list", _("list objects of the repository\n\nKIND is blobs, packs, index, snapshots, keys or locks."))
@click.argument("kind", type=click.Choice(_KINDS), metavar="KIND")
@pass_application
def command(application: Application, kind: str) -> None:
    """List objects."""
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
