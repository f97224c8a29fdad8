"""``kuramori rewrite``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say_json
from kuramori.cli.pattern_files import read_patterns
from kuramori.cli.snapshot_changes import count_modified, say_changed, say_count
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_moment

if TYPE_CHECKING:
    from kuramori.maintenance.rewrite import RewriteOptions
    from kuramori.maintenance.snapshot_replacing import SnapshotSelection


@declare("rewrite", _("make snapshots anew without some files, or with another host or time"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@snapshot_filter_options
@click.option("-e", "--exclude", multiple=True, metavar="PATTERN", help=_("leave out what matches"))
@click.option("--iexclude", multiple=True, metavar="PATTERN", help=_("the same, whatever the case of letters"))
@click.option("--exclude-file", multiple=True, metavar="FILE", help=_("read such patterns from a file"))
@click.option("--iexclude-file", multiple=True, metavar="FILE", help=_("the same, whatever the case of letters"))
@click.option("-i", "--include", multiple=True, metavar="PATTERN", help=_("keep only what matches"))
@click.option("--iinclude", multiple=True, metavar="PATTERN", help=_("the same, whatever the case of letters"))
@click.option("--include-file", multiple=True, metavar="FILE", help=_("read such patterns from a file"))
@click.option("--iinclude-file", multiple=True, metavar="FILE", help=_("the same, whatever the case of letters"))
@click.option("--new-host", default="", metavar="HOST", help=_("another host for the new snapshots"))
@click.option("--new-time", metavar="TIME", help=_("another time for the new snapshots"))
@click.option("-s", "--snapshot-summary", is_flag=True, help=_("give a summary to snapshots that have none"))
@click.option("--forget", is_flag=True, help=_("remove the old snapshots when the new ones are there"))
@click.option("-n", "--dry-run", is_flag=True, help=_("only say what would be done"))
@pass_application
def command(application: Application, ids: tuple[str, ...], hosts: tuple[str, ...], tags: tuple[str, ...],
            paths: tuple[str, ...], **flags: Any) -> None:
    """Make snapshots anew."""
    from kuramori.maintenance.rewrite import rewrite
    from kuramori.maintenance.snapshot_replacing import SnapshotSelection

    options = _options(application, SnapshotSelection(ids, make_filter(hosts, tags, paths)), flags)
    display = application.progress()
    with application.open() as repository:
        try:
            result = rewrite(repository, options, display)
        finally:
            display.close()
    say_changed(application, result.changed, dry_run=options.dry_run, forget=options.forget)
    if application.json:
        say_json({"message_type": "summary", "dry_run": options.dry_run, "snapshots": result.snapshots,
                  "modified": count_modified(result.changed, options.dry_run)})
    elif not application.quiet:
        say_count(result.changed, options.dry_run)


def _options(application: Application, selection: SnapshotSelection, flags: dict[str, Any]) -> RewriteOptions:
    from kuramori.maintenance.rewrite import IncludeOptions, RewriteOptions

    return RewriteOptions(
        selection=selection,
        exclude_patterns=read_patterns(flags["exclude"], flags["exclude_file"]),
        case_insensitive_exclude_patterns=read_patterns(flags["iexclude"], flags["iexclude_file"]),
        includes=IncludeOptions(read_patterns(flags["include"], flags["include_file"]),
                                read_patterns(flags["iinclude"], flags["iinclude_file"])),
        new_host=flags["new_host"], new_time=parse_moment(flags["new_time"]) if flags["new_time"] else None,
        summary=flags["snapshot_summary"], forget=flags["forget"], dry_run=flags["dry_run"],
        retry_lock_seconds=application.retry_seconds(), lock_waiting=application.lock_options()["lock_waiting"])
