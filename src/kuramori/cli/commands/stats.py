"""``kuramori stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import complain, say, say_json, shown, size_text, snapshot_json, table, time_text
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.browsing.stats import Statistics

_MODES = ("restore-size", "files-by-contents", "raw-data", "blobs-per-file", "unique")


@declare("stats", _("show how much is stored"))
@click.argument("snapshots", nargs=-1, metavar="[ID]...")
@click.option("--mode", type=click.Choice(_MODES), default="restore-size", metavar="MODE",
              help=_("restore-size (what a restore would write), files-by-contents (each content once), raw-data "
                     "(what the repository takes), blobs-per-file, or unique (what each snapshot alone holds, so what "
                     "forgetting it would free)"))
@snapshot_filter_options
@pass_application
def command(application: Application, snapshots: tuple[str, ...], mode: str, hosts: tuple[str, ...],
            tags: tuple[str, ...], paths: tuple[str, ...]) -> None:
    """Show how much is stored."""
    if mode == "unique":
        _show_unique(application, snapshots, make_filter(hosts, tags, paths))
        return
    from kuramori.browsing.stats import StatisticsMode, StatisticsOptions, count_statistics

    options = StatisticsOptions(mode=StatisticsMode(mode), snapshots=snapshots,
                                snapshot_filter=make_filter(hosts, tags, paths))
    display = application.progress()
    with application.open() as repository, application.lock(repository):
        try:
            repository.load_index(display)
            found = count_statistics(repository, options, display)
        finally:
            display.close()
    if application.json:
        say_json(_fields(found, mode))
    else:
        _print(found, mode)


def _show_unique(application: Application, names: tuple[str, ...], snapshot_filter: Any) -> None:
    """Show what each of some snapshots alone holds of all that are there."""
    from kuramori.maintenance.snapshot_choice import choose_snapshots, read_snapshots
    from kuramori.maintenance.snapshot_weights import weigh_alone
    from kuramori.repository.snapshots import list_snapshots

    display = application.progress()
    with application.open() as repository, application.lock(repository):
        try:
            choice = choose_snapshots(repository, names, snapshot_filter)
            everything = read_snapshots(repository, sorted(list_snapshots(repository)))
            repository.load_index(display)
            weights = {weight.stored.id: weight for weight in weigh_alone(repository, everything, display)}
        finally:
            display.close()
    for error in choice.not_found:
        complain(_("left out: {reason}").format(reason=error.text(_)))
    chosen = [weights[stored.id] for stored in choice.snapshots]
    if application.json:
        say_json({"snapshots": [snapshot_json(weight.stored) | {
            "unique_size": weight.bytes, "unique_blob_count": weight.blobs} for weight in chosen],
            "snapshots_count": len(chosen)})
        return
    table([_("ID"), _("Time"), _("Host"), _("Tags"), _("Holds alone")],
          [[weight.stored.short_id, time_text(weight.stored.snapshot.time), shown(weight.stored.snapshot.hostname),
            shown(",".join(weight.stored.snapshot.tags or ())), size_text(weight.bytes)] for weight in chosen],
          [_("together with others they hold more: what several snapshots share goes with the last of them")])


def _fields(found: Statistics, mode: str) -> dict[str, Any]:
    """Return what restic prints: what does not belong to the mode is left out."""
    fields: dict[str, Any] = {"total_size": found.total_size}
    for name in ("total_uncompressed_size", "compression_ratio", "compression_progress",
                 "compression_space_saving"):
        if mode == "raw-data" and getattr(found, name):
            fields[name] = getattr(found, name)
    for name in ("total_file_count", "total_blob_count"):
        if getattr(found, name):
            fields[name] = getattr(found, name)
    return fields | {"snapshots_count": found.snapshots}


def _print(found: Statistics, mode: str) -> None:
    rows = [(_("snapshots"), str(found.snapshots))]
    if mode in ("restore-size", "files-by-contents", "blobs-per-file"):
        rows.append((_("files and folders") if mode == "restore-size" else _("files"), str(found.total_file_count)))
    if mode in ("raw-data", "blobs-per-file"):
        rows.append((_("blobs"), str(found.total_blob_count)))
    if mode == "raw-data" and found.total_uncompressed_size:
        rows.append((_("size before compression"), size_text(found.total_uncompressed_size)))
        rows.append((_("compression ratio"), f"{found.compression_ratio:.2f}"))
        rows.append((_("saved by compression"), f"{found.compression_space_saving:.2f} %"))
    rows.append((_("size"), size_text(found.total_size)))
    for label, value in rows:
        say(_("{label}: {value}").format(label=label, value=value))
