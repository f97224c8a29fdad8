"""``kuramori tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options, split_tags
from kuramori.cli.output import complain, say, say_json
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import IncompleteTagError, UsageError

if TYPE_CHECKING:
    from kuramori.maintenance.tag import TagChange


@declare("tag", _("change the tags of snapshots"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--add", multiple=True, metavar="TAG[,TAG]", help=_("tags to add"))
@click.option("--remove", multiple=True, metavar="TAG[,TAG]", help=_("tags to take away"))
@click.option("--set", "replace", multiple=True, metavar="TAG[,TAG]",
              help=_("the tags that take the place of all others; '' for none"))
@snapshot_filter_options
@pass_application
def command(application: Application, ids: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...],
            replace: tuple[str, ...], hosts: tuple[str, ...], tags: tuple[str, ...], paths: tuple[str, ...]) -> None:
    """Change the tags of snapshots."""
    from kuramori.maintenance.tag import TagOptions, tag_snapshots

    if not (add or remove or replace):
        raise UsageError(detail=_("there is nothing to do: say which tags with --add, --remove or --set"))
    if replace and (add or remove):
        raise UsageError(detail=_("--set cannot go with --add or --remove"))
    if ids and "latest" not in ids and (hosts or tags or paths):
        complain(_("--host, --tag and --path mean nothing here, because snapshots are named"))

    def told(change: TagChange) -> None:
        if application.json:
            say_json({"message_type": "changed", "old_snapshot_id": change.old_id, "new_snapshot_id": change.new_id})
        elif application.verbose and not application.quiet:
            say(_("snapshot {old} is now {new}").format(old=change.old_id, new=change.new_id))

    lock = application.lock_options()
    options = TagOptions(
        add=_flat(add), remove=_flat(remove), replace=_flat(replace) if replace else None, ids=ids, told=told,
        snapshot_filter=make_filter(hosts, tags, paths), retry_lock_seconds=lock["retry_lock_seconds"],
        lock_waiting=lock["lock_waiting"])
    display = application.progress()
    with application.open() as repository:
        location = repository.backend.location
        try:
            result = tag_snapshots(repository, options, display)
        finally:
            display.close()
    for error in result.not_found:
        complain(_("left out: {reason}").format(reason=error.text(_)))
    count = len(result.changes)
    if application.json:
        say_json({"message_type": "summary", "changed_snapshots": count})
    elif not application.quiet:
        say(translate_count("changed the tags of {count} snapshot", "changed the tags of {count} snapshots",
                            count).format(count=count))
    if result.errors:
        raise IncompleteTagError(location=location, count=len(result.errors))


def _flat(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(tag for group in split_tags(texts) for tag in group if tag)
