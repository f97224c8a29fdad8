"""``kuramori snapshots``."""

from __future__ import annotations

from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import complain, say, say_json, shown, snapshot_json
from kuramori.cli.snapshot_table import print_snapshots
from kuramori.cli.translation import translate as _
from kuramori.model.snapshot import StoredSnapshot


@declare("snapshots", _("list the snapshots"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@snapshot_filter_options
@click.option("--latest", type=int, metavar="N", help=_("only the newest N of each host and paths"))
@click.option("-g", "--group-by", default="", metavar="GROUP", help=_("group by host, paths, tags"))
@click.option("-c", "--compact", is_flag=True, help=_("one line for each snapshot"))
@pass_application
def command(application: Application, ids: tuple[str, ...], hosts: tuple[str, ...], tags: tuple[str, ...],
            paths: tuple[str, ...], latest: int | None, group_by: str, compact: bool) -> None:
    """List the snapshots."""
    from kuramori.repository.snapshots import load_snapshots

    display = application.progress()
    with application.open() as repository, application.lock(repository):
        found = [stored for stored in load_snapshots(repository, display)
                 if make_filter(hosts, tags, paths).matches(stored.snapshot)]
        if ids:
            found = _named(repository, ids, found)
    if latest:
        found = _newest(found, latest)
    groups = _group(found, group_by)
    if application.json:
        _print_json(groups, bool(group_by))
        return
    for key, group in groups:
        if key:
            say(", ".join(f"{name}: {shown(str(value))}" for name, value in key.items()))
        print_snapshots(group, compact)


def _named(repository: Any, ids: tuple[str, ...], found: list[StoredSnapshot]) -> list[StoredSnapshot]:
    from kuramori.errors import UsageError
    from kuramori.repository.snapshots import find_snapshot

    if "latest" in ids and len(ids) == 1:
        return found[-1:]
    chosen = []
    for name in ids:
        try:
            chosen.append(find_snapshot(repository, name))
        except UsageError as error:
            complain(_("left out: {reason}").format(reason=error.text(_)))
    return chosen


def _newest(found: list[StoredSnapshot], count: int) -> list[StoredSnapshot]:
    groups: dict[tuple[str, ...], list[StoredSnapshot]] = {}
    for stored in found:
        groups.setdefault((stored.snapshot.hostname, *sorted(stored.snapshot.paths)), []).append(stored)
    kept = {stored.id for group in groups.values() for stored in group[-count:]}
    return [stored for stored in found if stored.id in kept]


def _group(found: list[StoredSnapshot], group_by: str) -> list[tuple[dict[str, Any], list[StoredSnapshot]]]:
    if not group_by:
        return [({}, found)]
    names = [name.strip().rstrip("s") for name in group_by.split(",")]
    groups: dict[str, tuple[dict[str, Any], list[StoredSnapshot]]] = {}
    for stored in found:
        key: dict[str, Any] = {"hostname": "", "paths": None, "tags": None}
        if "host" in names:
            key["hostname"] = stored.snapshot.hostname
        if "path" in names:
            key["paths"] = sorted(stored.snapshot.paths)
        if "tag" in names:
            key["tags"] = sorted(stored.snapshot.tags or [])
        groups.setdefault(repr(key), (key, []))[1].append(stored)
    return list(groups.values())


def _print_json(groups: list[tuple[dict[str, Any], list[StoredSnapshot]]], grouped: bool) -> None:
    if grouped:
        say_json([{"group_key": key, "snapshots": [snapshot_json(stored) for stored in group]}
                  for key, group in groups])
    else:
        say_json([snapshot_json(stored) for _key, group in groups for stored in group])
