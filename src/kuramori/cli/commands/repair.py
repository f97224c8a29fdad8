"""``kuramori repair``: save what can be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.groups import KuramoriGroup
from kuramori.cli.named_repositories import open_sources
from kuramori.cli.options import command as declare
from kuramori.cli.options import global_options, make_filter, snapshot_filter_options, source_repository_options
from kuramori.cli.output import complain, say, say_json
from kuramori.cli.snapshot_changes import count_modified, say_changed, say_count
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import BlobsLostError, IncompletePruneError, IncompleteRepairError

if TYPE_CHECKING:
    from kuramori.maintenance.repair_blobs import RepairBlobsResult
    from kuramori.maintenance.repair_index import RepairIndexResult
    from kuramori.maintenance.repair_packs import RepairPacksResult
    from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, RepairSnapshotsResult


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
    application.no_cache = True  # a copy on this machine proves nothing
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


@declare("snapshots", _("make new snapshots of what is left of damaged ones"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@snapshot_filter_options
@click.option("--forget", is_flag=True, help=_("remove the damaged snapshots when the new ones are there"))
@click.option("-n", "--dry-run", is_flag=True, help=_("only say what would be done"))
@pass_application
def snapshots_command(application: Application, ids: tuple[str, ...], hosts: tuple[str, ...], tags: tuple[str, ...],
                      paths: tuple[str, ...], forget: bool, dry_run: bool) -> None:
    """Make new snapshots of what is left of damaged ones."""
    from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, repair_snapshots
    from kuramori.maintenance.snapshot_replacing import SnapshotSelection

    options = RepairSnapshotsOptions(
        selection=SnapshotSelection(ids, make_filter(hosts, tags, paths)), forget=forget, dry_run=dry_run,
        retry_lock_seconds=application.retry_seconds(), lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    application.no_cache = True  # a copy on this machine proves nothing
    with application.open() as repository:
        location = repository.backend.location
        try:
            result = repair_snapshots(repository, options, display)
        finally:
            display.close()
    _report_snapshots(application, result, options)
    unreadable = sum(1 for found in result.unreadable if not found.removed)
    if unreadable:
        raise IncompleteRepairError(location=location, count=unreadable)


def _report_snapshots(application: Application, result: RepairSnapshotsResult, options: RepairSnapshotsOptions) -> None:
    say_changed(application, result.changed, dry_run=options.dry_run, forget=options.forget)
    removed = [found for found in result.unreadable if found.removed]
    for found in result.unreadable:
        if not found.removed:
            complain(found.error.text(_))
    if application.json:
        say_json({"message_type": "summary", "dry_run": options.dry_run, "snapshots": result.snapshots,
                  "modified": count_modified(result.changed, options.dry_run),
                  "unreadable": [found.id for found in result.unreadable], "removed": [found.id for found in removed],
                  "missing_packs": result.missing_packs})
    elif not application.quiet:
        for found in removed:
            say(_("removed unreadable snapshot {id}").format(id=found.id))
        say_count(result.changed, options.dry_run)
    if result.missing_packs and not application.json:
        complain(translate_count(
            "{count} pack is missing that the index names, so what lies in it counts as there; run first: "
            "kuramori repair index",
            "{count} packs are missing that the index names, so what lies in them counts as there; run first: "
            "kuramori repair index", len(result.missing_packs)).format(count=len(result.missing_packs)))


@declare("packs", _("save what is intact in damaged packs, and remove them\n\nWhat is not intact is fetched from the "
                    "repository of --from-repo, or from the other repositories of the same job in the settings file."))
@click.argument("ids", nargs=-1, metavar="ID...")
@source_repository_options
@pass_application
def packs_command(application: Application, ids: tuple[str, ...], **source: Any) -> None:
    """Save what is intact in damaged packs."""
    from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs

    display = application.progress()
    application.no_cache = True  # a copy on this machine proves nothing
    with open_sources(application, source) as sources, application.open() as repository:
        options = RepairPacksOptions(
            packs=ids, copies=".", pack_size=application.pack_bytes(), sources=sources,
            no_source_lock=application.no_lock, retry_lock_seconds=application.retry_seconds(),
            lock_waiting=application.lock_options()["lock_waiting"])
        location = repository.backend.location
        try:
            result = repair_packs(repository, options, display)
        finally:
            display.close()
    _report_packs(application, result)
    if result.errors:
        raise IncompletePruneError(location=location, count=len(result.errors))


def _report_packs(application: Application, result: RepairPacksResult) -> None:
    if application.json:
        say_json({"message_type": "summary", "packs": result.packs, "copies": result.copies, "absent": result.absent,
                  "blobs_saved": result.saved, "blobs_fetched": result.fetched, "num_errors": len(result.errors),
                  "blobs_lost": [{"type": kind.value, "id": name} for kind, name in result.lost]})
        return
    if not application.quiet:
        for path in result.copies:
            say(_("kept a copy: {path}").format(path=path))
    for name in result.absent:
        complain(_("pack {id} is not there at all; no index names it any more").format(id=name))
    for kind, name in result.lost:
        complain(_("lost: {type} blob {id}").format(type=kind.value, id=name))
    if not application.quiet:
        say(translate_count("{count} blob was intact and is stored anew",
                            "{count} blobs were intact and are stored anew", result.saved).format(count=result.saved))
        _say_fetched(result.fetched)
    if result.lost:
        complain(_("take what is lost out of all snapshots with: kuramori repair snapshots --forget; where the files "
                   "still exist, kuramori backup --force before that heals the snapshots"))


def _say_fetched(count: int) -> None:
    if count:
        say(translate_count("{count} blob was fetched from the other repository",
                            "{count} blobs were fetched from the other repository", count).format(count=count))


@declare("blobs", _("fetch what snapshots need and is lost from another repository\n\nFrom the repository of "
                    "--from-repo, or from the other repositories of the same job in the settings file."))
@source_repository_options
@pass_application
def blobs_command(application: Application, **source: Any) -> None:
    """Fetch what is lost from another repository."""
    from kuramori.maintenance.repair_blobs import RepairBlobsOptions, repair_blobs

    options = RepairBlobsOptions(
        pack_size=application.pack_bytes(), no_source_lock=application.no_lock,
        retry_lock_seconds=application.retry_seconds(), lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    with open_sources(application, source) as sources:
        if not sources:
            application.source(**source).location()  # says how to name one
        application.no_cache = True  # a copy on this machine proves nothing
        with application.open() as repository:
            location = repository.backend.location
            try:
                result = repair_blobs(repository, sources, options, display)
            finally:
                display.close()
    _report_blobs(application, result)
    if result.lost:
        raise BlobsLostError(location=location, count=len(result.lost))
    if result.unreadable:
        raise IncompleteRepairError(location=location, count=len(result.unreadable))


def _report_blobs(application: Application, result: RepairBlobsResult) -> None:
    for error in result.unreadable:
        complain(error.text(_))
    if application.json:
        say_json({"message_type": "summary", "snapshots": result.snapshots, "blobs_fetched": result.fetched,
                  "blobs_lost": [{"type": kind.value, "id": name} for kind, name in result.lost],
                  "forgotten_packs": result.forgotten_packs})
        return
    for kind, name in result.lost:
        complain(_("lost: {type} blob {id}").format(type=kind.value, id=name))
    if application.quiet:
        return
    _say_fetched(result.fetched)
    for name in result.forgotten_packs:
        say(_("pack {id} is gone and nothing of it is missing; no index names it any more").format(id=name))
    if not (result.fetched or result.lost or result.unreadable):
        say(_("nothing that snapshots need is lost"))


command.add_command(blobs_command)
command.add_command(index_command)
command.add_command(packs_command)
command.add_command(snapshots_command)
