"""``kuramori copy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.interruption import polled_interruption
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options, source_repository_options
from kuramori.cli.output import say, say_json, shown, size_text, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import IncompleteCopyError

if TYPE_CHECKING:
    from kuramori.cli.progress_display import Display
    from kuramori.maintenance.copy import CopyOutcome, CopyResult


@declare("copy", _("copy snapshots from another repository"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@source_repository_options
@snapshot_filter_options
@pass_application
def command(application: Application, ids: tuple[str, ...], hosts: tuple[str, ...], tags: tuple[str, ...],
            paths: tuple[str, ...], **source: Any) -> None:
    """Copy snapshots from another repository."""
    from kuramori.maintenance.copy import CopyOptions, copy_snapshots

    display = application.progress()

    def told(outcome: CopyOutcome) -> None:
        _tell(application, display, outcome)

    with application.source(**source).open() as origin, application.open() as repository, \
            polled_interruption() as cancelled:
        options = CopyOptions(
            snapshots=ids, snapshot_filter=make_filter(hosts, tags, paths), compression=application.compression_mode(),
            pack_size=application.pack_bytes(), told=told, cancelled=cancelled, **application.lock_options())
        location = repository.backend.location
        try:
            result = copy_snapshots(origin, repository, options, display)
        finally:
            display.close()
    _report(application, result)
    if result.failures:
        raise IncompleteCopyError(location=location, count=result.failures)


def _tell(application: Application, display: Display, outcome: CopyOutcome) -> None:
    """Say at once what became of a snapshot; that one failed was said on standard error."""
    if application.json:
        if not application.quiet:
            say_json(outcome_json(outcome))
        return
    if application.quiet or outcome.snapshot_id is None:
        return
    from kuramori.maintenance.copy import CopyAction

    snapshot = outcome.source.snapshot
    text = _("snapshot {source} of {paths} at {time}: saved as {id}") if outcome.action is CopyAction.COPIED else \
        _("snapshot {source} of {paths} at {time}: skipped, it was copied to {id} before")
    display.print(text.format(
        source=outcome.source.short_id, paths=", ".join(shown(path) for path in snapshot.paths),
        time=time_text(snapshot.time), id=outcome.snapshot_id[:8]))


def outcome_json(outcome: CopyOutcome) -> dict[str, Any]:
    """Return what became of a snapshot as JSON; restic prints none for a copy."""
    fields: dict[str, Any] = {"message_type": "snapshot", "action": outcome.action.value,
                              "source_snapshot_id": outcome.source.id}
    if outcome.snapshot_id is not None:
        fields["snapshot_id"] = outcome.snapshot_id
    if outcome.error is not None:
        fields["error"] = {"message": outcome.error.text(_)}
    return fields


def _report(application: Application, result: CopyResult) -> None:
    from kuramori.maintenance.copy import CopyAction

    copied, skipped = result.of(CopyAction.COPIED), result.of(CopyAction.SKIPPED)
    if application.json:
        say_json({"message_type": "summary", "snapshots_copied": len(copied), "snapshots_skipped": len(skipped),
                  "num_errors": result.failures, "blobs_copied": result.blobs_copied,
                  "bytes_copied": result.bytes_copied, "total_duration": result.seconds})
    elif not application.quiet:
        say(translate_count("copied {count} snapshot, skipped {skipped}", "copied {count} snapshots, skipped {skipped}",
                            len(copied)).format(count=len(copied), skipped=len(skipped)))
        say(_("stored {blobs} blobs, {size}, in {seconds:.1f} s").format(
            blobs=result.blobs_copied, size=size_text(result.bytes_copied), seconds=result.seconds))
