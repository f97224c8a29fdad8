"""``kuramori diff``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json, shown, size_text
from kuramori.cli.translation import translate as _
from kuramori.model.names import display_text

if TYPE_CHECKING:
    from kuramori.browsing.diff import DiffResult


@declare("diff", _("compare two snapshots\n\n+ added, - removed, M content changed, U only metadata changed, "
                   "T another kind of thing, ? content changed but not the time: perhaps a failing disk"))
@click.argument("first", metavar="ID[:FOLDER]")
@click.argument("second", metavar="ID[:FOLDER]")
@click.option("--metadata", is_flag=True, help=_("also name what changed only in times, owner, mode and the like"))
@pass_application
def command(application: Application, first: str, second: str, metadata: bool) -> None:
    """Compare two snapshots."""
    from kuramori.browsing.diff import DiffOptions, diff_snapshots

    with application.open() as repository, application.lock(repository):
        repository.load_index()
        result = diff_snapshots(repository, first, second, DiffOptions(metadata=metadata))
        if not application.json and not application.quiet:
            say(_("comparing snapshot {first} with {second}:").format(
                first=result.first.short_id, second=result.second.short_id))
            say()
        for change in result.changes:
            if application.json:
                say_json({"message_type": "change", "path": display_text(change.path), "modifier": change.modifier})
            else:
                say(f"{change.modifier:<5}{shown(change.path)}")
        _print_sums(application, result, first, second)


def _print_sums(application: Application, result: DiffResult, first: str, second: str) -> None:
    sums = result.statistics
    if application.json:
        say_json({"message_type": "statistics", "source_snapshot": first, "target_snapshot": second,
                  "changed_files": sums.changed_files,
                  "added": asdict(sums.added), "removed": asdict(sums.removed)})
        return
    if application.quiet:
        return
    added, removed = sums.added, sums.removed
    say()
    say(_("Files:   {new} new, {removed} removed, {changed} changed").format(
        new=added.files, removed=removed.files, changed=sums.changed_files))
    say(_("Folders: {new} new, {removed} removed").format(new=added.dirs, removed=removed.dirs))
    say(_("Others:  {new} new, {removed} removed").format(new=added.others, removed=removed.others))
    say(_("Added:   {size}, {data} data blobs and {trees} tree blobs").format(
        size=size_text(added.bytes), data=added.data_blobs, trees=added.tree_blobs))
    say(_("Removed: {size}, {data} data blobs and {trees} tree blobs").format(
        size=size_text(removed.bytes), data=removed.data_blobs, trees=removed.tree_blobs))
