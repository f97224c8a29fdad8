"""``kuramori ls``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.node_display import human_readable_option, listed_json, node_line
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say, say_json, shown, snapshot_json, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument
from kuramori.errors import UsageError

if TYPE_CHECKING:
    from kuramori.browsing.listing import Listing
    from kuramori.browsing.walk import WalkedNode

_ORDERS = ("name", "size", "time", "mtime", "atime", "ctime", "extension")


@declare("ls", _("list what is in a snapshot"))
@click.argument("snapshot", metavar="ID[:FOLDER]")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("-l", "--long", is_flag=True, help=_("show mode, owner, size and time as well"))
@click.option("--recursive", is_flag=True, help=_("with folders: also what lies deeper in them"))
@human_readable_option()
@click.option("-s", "--sort", "order", type=click.Choice(_ORDERS), default="name", metavar="ORDER",
              help=_("sort by name, size, time, atime, ctime or extension"))
@click.option("--reverse", is_flag=True, help=_("sort the other way round"))
@snapshot_filter_options
@pass_application
def command(application: Application, snapshot: str, folders: tuple[str, ...], long: bool, recursive: bool,
            human_readable: bool, order: str, reverse: bool, hosts: tuple[str, ...], tags: tuple[str, ...],
            paths: tuple[str, ...]) -> None:
    """List what is in a snapshot."""
    from kuramori.browsing.listing import ListingOptions, list_snapshot

    if any(not folder.startswith("/") for folder in folders):
        raise UsageError(detail=_("folders in a snapshot begin with a slash, as /home/me"))
    options = ListingOptions(folders=tuple(map(encode_argument, folders)), recursive=recursive)
    with application.open() as repository, application.lock(repository):
        repository.load_index()
        listing = list_snapshot(repository, snapshot, options, make_filter(hosts, tags, paths))
        _print_head(application, listing)
        entries = listing.nodes
        if order != "name" or reverse:
            entries = iter(sorted(entries, key=lambda walked: _key(order, walked), reverse=reverse))
        for walked in entries:
            if application.json:
                say_json(listed_json(walked.path, walked.node))
            else:
                say(node_line(walked.path, walked.node, long=long, human_readable=human_readable))


def _print_head(application: Application, listing: Listing) -> None:
    stored = listing.snapshot
    if application.json:
        say_json(snapshot_json(stored) | {"tree": listing.tree.hex(), "message_type": "snapshot",
                                          "struct_type": "snapshot"})
    elif not application.quiet:
        say(_("snapshot {id} of {paths} at {time} by {user}@{host}:").format(
            id=stored.short_id, paths=", ".join(map(shown, stored.snapshot.paths)),
            time=time_text(stored.snapshot.time), user=shown(stored.snapshot.username),
            host=shown(stored.snapshot.hostname)))


def _key(order: str, walked: WalkedNode) -> tuple[object, bytes]:
    from kuramori.model.times import parse_nanoseconds

    node = walked.node
    if order == "size":
        return node.size, walked.path
    if order == "extension":
        return os.path.splitext(walked.path)[1], walked.path
    if order == "name":
        return 0, walked.path
    text = {"atime": node.atime, "ctime": node.ctime}.get(order, node.mtime)
    try:
        return parse_nanoseconds(text), walked.path
    except ValueError:
        return 0, walked.path
