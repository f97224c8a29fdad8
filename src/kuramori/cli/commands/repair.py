"""``kuramori repair``: save what can be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.groups import KuramoriGroup
from kuramori.cli.options import command as declare
from kuramori.cli.options import global_options
from kuramori.cli.output import complain, say, say_json
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count

if TYPE_CHECKING:
    from kuramori.maintenance.repair_index import RepairIndexResult


@click.group("repair", cls=KuramoriGroup, invoke_without_command=True, help=_("repair a damaged repository"),
             short_help=_("repair a damaged repository"))
@global_options
@click.pass_context
def command(context: click.Context) -> None:
    """Repair a damaged repository."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@declare("index", _("write the index anew from what the packs hold"))
@click.option("--read-all-packs", is_flag=True, help=_("read the headers of all packs, not only of those that the "
                                                       "index does not know or knows wrongly"))
@pass_application
def index_command(application: Application, read_all_packs: bool) -> None:
    """Write the index anew."""
    from kuramori.maintenance.repair_index import RepairIndexOptions, repair_index

    options = RepairIndexOptions(read_all_packs=read_all_packs, retry_lock_seconds=application.retry_seconds(),
                                 lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    with application.open() as repository:
        try:
            result = repair_index(repository, options, display)
        finally:
            display.close()
    if application.json:
        say_json({"message_type": "summary", "packs": result.packs, "packs_read": result.packs_read,
                  "added": result.added, "corrected": result.corrected, "missing": result.missing,
                  "blobs_lost": result.blobs_lost, "damaged_packs": len(result.damaged_packs),
                  "damaged_indexes": result.damaged_indexes, "changed": result.changed})
    else:
        _report(application, result)


def _report(application: Application, result: RepairIndexResult) -> None:
    if not application.quiet:
        for label, names in ((_("added pack {id}"), result.added), (_("corrected pack {id}"), result.corrected),
                             (_("removed index {id}, which is damaged"), result.damaged_indexes)):
            for name in names:
                say(label.format(id=name))
    for name in result.missing:
        complain(_("pack {id} is missing; the index names it no more").format(id=name))
    if result.blobs_lost:
        complain(translate_count(
            "{count} blob is lost with it; kuramori check names the files that need it",
            "{count} blobs are lost with them; kuramori check names the files that need them",
            result.blobs_lost).format(count=result.blobs_lost))
    if result.damaged_packs:
        complain(translate_count("{count} pack cannot be read; kuramori check --read-data names what it affects",
                                 "{count} packs cannot be read; kuramori check --read-data names what they affect",
                                 len(result.damaged_packs)).format(count=len(result.damaged_packs)))
    if not application.quiet and (result.changed or not result.damaged_packs):
        say(_("the index was written anew") if result.changed else _("the index needs no repair"))


command.add_command(index_command)
