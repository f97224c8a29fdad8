"""``kuramori find``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.node_display import found_json, human_readable_option, node_line
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say, say_json, shown, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument, parse_moment
from kuramori.errors import UsageError

if TYPE_CHECKING:
    from kuramori.browsing.find import FindOptions, FoundObject
    from kuramori.repository.repository import Repository


@declare("find", _("find files in snapshots"))
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@click.option("-i", "--ignore-case", is_flag=True, help=_("do not look at the case of letters"))
@click.option("-l", "--long", is_flag=True, help=_("show mode, owner, size and time as well"))
@human_readable_option()
@click.option("-O", "--oldest", metavar="TIME", help=_("only what was changed then or later"))
@click.option("-N", "--newest", metavar="TIME", help=_("only what was changed then or before"))
@click.option("-s", "--snapshot", "snapshots", multiple=True, metavar="ID", help=_("look into this snapshot"))
@click.option("-R", "--reverse", is_flag=True, help=_("show the oldest snapshot first"))
@click.option("--blob", is_flag=True, help=_("the patterns are ids of blobs"))
@click.option("--tree", is_flag=True, help=_("the patterns are ids of trees"))
@click.option("--pack", is_flag=True, help=_("the patterns are ids of packs"))
@click.option("--show-pack-id", is_flag=True, help=_("with --blob or --tree: name the pack as well"))
@snapshot_filter_options
@pass_application
def command(application: Application, patterns: tuple[str, ...], snapshots: tuple[str, ...], hosts: tuple[str, ...],
            tags: tuple[str, ...], paths: tuple[str, ...], **flags: Any) -> None:
    """Find files in snapshots."""
    from kuramori.browsing.find import FindOptions, chosen_snapshots

    if sum((flags["blob"], flags["tree"], flags["pack"])) > 1:
        raise UsageError(detail=_("--blob, --tree and --pack exclude each other"))
    snapshot_filter = make_filter(hosts, tags, paths)
    oldest, newest = _instant(flags["oldest"]), _instant(flags["newest"])
    with application.open() as repository, application.lock(repository):
        if flags["reverse"]:
            chosen = chosen_snapshots(repository, snapshots, snapshot_filter)
            snapshots = tuple(stored.id for stored in reversed(chosen))
        repository.load_index()
        by_id = flags["blob"] or flags["tree"] or flags["pack"]
        options = FindOptions(
            patterns=() if by_id else tuple(map(encode_argument, patterns)), ignore_case=flags["ignore_case"],
            oldest=oldest, newest=newest, snapshots=snapshots, snapshot_filter=snapshot_filter,
            blobs=patterns if flags["blob"] else (), trees=patterns if flags["tree"] else (),
            packs=patterns if flags["pack"] else (),
        )
        if by_id:
            _find_objects(application, repository, options, flags["show_pack_id"])
        else:
            _find_entries(application, repository, options, flags)


def _instant(text: str | None) -> int | None:
    """Return the nanoseconds since 1970 of a time, or None for none."""
    if text is None:
        return None
    from kuramori.model.times import format_datetime, parse_nanoseconds

    return parse_nanoseconds(format_datetime(parse_moment(text)))


def _find_entries(application: Application, repository: Repository, options: FindOptions,
                  flags: dict[str, Any]) -> None:
    from kuramori.browsing.find import find

    answer, shown_before = [], False
    for found in find(repository, options):
        if application.json:
            matches = [found_json(walked.path, walked.node) for walked in found.entries]
            if matches:
                answer.append({"matches": matches, "hits": len(matches), "snapshot": found.snapshot.id})
            continue
        first = True
        for walked in found.entries:
            if first and not application.quiet:
                say("\n" * shown_before + _("found in snapshot {id} of {time}:").format(
                    id=found.snapshot.short_id, time=time_text(found.snapshot.snapshot.time)))
            first, shown_before = False, True
            say(node_line(walked.path, walked.node, long=flags["long"], human_readable=flags["human_readable"]))
    if application.json:
        say_json(answer)


def _find_objects(application: Application, repository: Repository, options: FindOptions, show_pack: bool) -> None:
    from kuramori.browsing.find import find_objects

    answer = []
    for found in find_objects(repository, options):
        if application.json:
            answer.append(_object_json(found))
            continue
        kind = found.type.value
        say(_("{kind} {id} in {path}, snapshot {snapshot} of {time}").format(
            kind=kind, id=found.id.hex(), path=shown(found.path or b"/"), snapshot=found.snapshot.short_id,
            time=time_text(found.snapshot.snapshot.time)))
        if show_pack:
            for blob in repository.index.lookup(found.type, found.id):
                say(_("    in pack {pack} at {offset}, {length} bytes").format(
                    pack=blob.pack.hex(), offset=blob.offset, length=blob.length))
    if application.json:
        say_json(answer)


def _object_json(found: FoundObject) -> dict[str, Any]:
    fields: dict[str, Any] = {"object_type": "tree" if found.parent_tree is None else "blob", "id": found.id.hex(),
                              "path": shown_path(found.path)}
    if found.parent_tree is not None:
        fields["parent_tree"] = found.parent_tree.hex()
    return fields | {"snapshot": found.snapshot.id, "time": found.snapshot.snapshot.time}


def shown_path(path: bytes) -> str:
    """Return a path as JSON has it; the root is a slash."""
    return path.decode("utf-8", "surrogateescape") or "/"
