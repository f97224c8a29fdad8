"""``kuramori restore``."""

from __future__ import annotations

from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import (
    goes_by_settings,
    refuse_engine_options,
    refuse_options,
    refuse_settings_options,
)
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say, say_json, size_text
from kuramori.cli.pattern_files import read_patterns
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument
from kuramori.errors import IncompleteRestoreError, UsageError


@declare("restore", _("bring back what a snapshot or a run holds\n\nWith a repository (-r): the snapshot ID into the "
                      "folder --target. Without one: a run of the settings file's jobs (latest: the newest complete "
                      "one), into the folder --target or, without it, in place; what was there is kept beside it."))
@click.argument("snapshot", metavar="ID[:FOLDER] | RUN", required=False)
@click.option("-t", "--target", metavar="DIR", help=_("the folder to restore into"))
@click.option("--component", "components", multiple=True, metavar="NAME",
              help=_("with settings: restore only this component of the run"))
@click.option("--database", default="", metavar="NAME",
              help=_("with settings: restore into this database of the server instead of the one it came from"))
@click.option("--disconnect", is_flag=True,
              help=_("with settings: end the sessions of those who use the database, instead of refusing"))
@click.option("--job", default="", metavar="NAME", help=_("with settings: a run of this job"))
@click.option("--from", "place", default="", metavar="NAME",
              help=_("with settings: from this repository of the settings file"))
@click.option("--undo", is_flag=True,
              help=_("with settings: bring back what the last restore in place replaced, or the restore ID"))
@click.option("--drop-kept", is_flag=True,
              help=_("with settings: remove for good what the restore ID kept; it cannot be undone then"))
@click.option("-i", "--include", multiple=True, metavar="PATTERN", help=_("restore only what matches"))
@click.option("--iinclude", multiple=True, metavar="PATTERN", help=_("the same, whatever the case of letters"))
@click.option("--include-file", multiple=True, metavar="FILE", help=_("read such patterns from a file"))
@click.option("--iinclude-file", multiple=True, metavar="FILE", help=_("the same, whatever the case of letters"))
@click.option("-e", "--exclude", multiple=True, metavar="PATTERN", help=_("leave out what matches"))
@click.option("--iexclude", multiple=True, metavar="PATTERN", help=_("the same, whatever the case of letters"))
@click.option("--exclude-file", multiple=True, metavar="FILE", help=_("read such patterns from a file"))
@click.option("--iexclude-file", multiple=True, metavar="FILE", help=_("the same, whatever the case of letters"))
@click.option("--overwrite", default="always", metavar="MODE",
              type=click.Choice(["always", "if-changed", "if-newer", "never"]),
              help=_("what happens to files that are there: always, if-changed, if-newer or never replaced"))
@click.option("--delete", is_flag=True, help=_("remove what is in the target but not in the snapshot"))
@click.option("--sparse", is_flag=True, help=_("leave holes where files are zero"))
@click.option("--verify", is_flag=True, help=_("read everything back and compare"))
@click.option("-n", "--dry-run", is_flag=True, help=_("write nothing, only show what would be done"))
@snapshot_filter_options
@click.pass_context
@pass_application
def command(application: Application, context: click.Context, snapshot: str | None, components: tuple[str, ...],
            **flags: Any) -> None:
    """Bring back what a snapshot or a run holds."""
    own = {name: flags.pop(name) for name in ("database", "disconnect", "job", "place", "undo", "drop_kept")}
    if goes_by_settings(application):
        refuse_engine_options(context, "snapshot", "target", "components", "dry_run", *own)
        _restore_run(application, context, snapshot, components, flags, own)
        return
    application.location()  # raises if there is neither a repository nor a settings file
    refuse_settings_options(context, "components", *own)
    if snapshot is None:
        raise UsageError(detail=_("say which snapshot to restore"))
    if flags["target"] is None:
        raise UsageError(detail=_("say where to restore to, with --target"))
    _restore_snapshot(application, snapshot, **flags)


def _restore_run(application: Application, context: click.Context, run: str | None, components: tuple[str, ...],
                 flags: dict[str, Any], own: dict[str, Any]) -> None:
    from kuramori.cli.manager_commands.restore import drop_kept, restore_run, undo_restore

    if own["undo"] or own["drop_kept"]:
        refuse_options(context, {"snapshot", "undo" if own["undo"] else "drop_kept"},
                       _("it does not go together with --undo or --drop-kept"))
        if own["undo"]:
            undo_restore(application, run or "")
            return
        if not run:
            raise UsageError(detail=_("say which restore's kept data is to be removed"))
        drop_kept(application, run)
        return
    if not run:
        raise UsageError(detail=_("say which run to restore (latest: the newest complete one); kuramori list shows "
                                  "them"))
    restore_run(application, run, job=own["job"], repository=own["place"], components=components,
                target=flags["target"], database=own["database"], disconnect=own["disconnect"],
                dry_run=flags["dry_run"])


def _restore_snapshot(application: Application, snapshot: str, hosts: tuple[str, ...], tags: tuple[str, ...],
                      paths: tuple[str, ...], **flags: Any) -> None:
    from kuramori.restoring.jobs import Overwrite, RestoreOptions
    from kuramori.restoring.restore import restore
    from kuramori.restoring.selection import SelectionOptions

    selection = SelectionOptions(
        includes=read_patterns(flags["include"], flags["include_file"]),
        case_insensitive_includes=read_patterns(flags["iinclude"], flags["iinclude_file"]),
        excludes=read_patterns(flags["exclude"], flags["exclude_file"]),
        case_insensitive_excludes=read_patterns(flags["iexclude"], flags["iexclude_file"]),
    )
    options = RestoreOptions(
        target=encode_argument(flags["target"]), selection=selection, overwrite=Overwrite(flags["overwrite"]),
        delete=flags["delete"], sparse=flags["sparse"], verify=flags["verify"], dry_run=flags["dry_run"],
        snapshot_filter=make_filter(hosts, tags, paths), **application.lock_options(),
    )
    display = application.progress()
    with application.open() as repository:
        try:
            result = restore(repository, snapshot, options, display)
        finally:
            display.close()
    _report(application, result, options)
    if result.errors:
        raise IncompleteRestoreError(count=len(result.errors))


def _report(application: Application, result: Any, options: Any) -> None:
    if application.json:
        fields: dict[str, Any] = {"message_type": "summary", "seconds_elapsed": int(result.seconds),
                                  "total_files": result.items_total - result.items_skipped,
                                  "files_restored": result.items_restored}
        for name, value in (("files_skipped", result.items_skipped), ("files_deleted", result.items_deleted)):
            if value:
                fields[name] = value
        fields |= {"total_bytes": result.bytes_total - result.bytes_skipped,
                   "bytes_restored": result.bytes_restored}
        if result.bytes_skipped:
            fields["bytes_skipped"] = result.bytes_skipped
        if options.verify:
            fields["files_verified"] = result.files_verified
        say_json(fields)
        return
    if application.quiet:
        return
    start = _("would restore {items} items ({size}) of snapshot {id}") if options.dry_run else \
        _("restored {items} items ({size}) of snapshot {id} in {seconds:.1f} s")
    say(start.format(items=result.items_restored, size=size_text(result.bytes_restored), id=result.snapshot_id[:8],
                     seconds=result.seconds))
    if result.items_skipped:
        say(_("left as they were: {items} items ({size})").format(
            items=result.items_skipped, size=size_text(result.bytes_skipped)))
    if result.items_deleted:
        text = _("would delete: {items} items") if options.dry_run else _("deleted: {items} items")
        say(text.format(items=result.items_deleted))
    if options.verify:
        say(_("read back and compared: {files} files").format(files=result.files_verified))
