"""``kuramori history``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.history_access import KINDS, STATES, open_history
from kuramori.cli.manager_access import moment_json, moment_text, refuse_repository
from kuramori.cli.options import command as declare
from kuramori.cli.output import duration_text, say, say_json, shown, size_text, table
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.history.history import History
    from kuramori.history.records import LogLine, OperationRecord


@declare("history", _(
    "list what was done, or show one operation with its log\n\n"
    "Lists backups, cleanups, restores and so on, the newest first. With the number of one, shows its components, "
    "errors and log."))
@click.argument("number", metavar="[NUMBER]", required=False, type=click.IntRange(1))
@click.option("--job", default="", metavar="JOB", help=_("only of this job"))
@click.option("--kind", type=click.Choice(list(KINDS)), metavar="KIND", help=_(
    "only backup, cleanup, restore, copy, check, proof or daemon"))
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help=_("at most so many; default: 50"))
@pass_application
def command(application: Application, number: int | None, job: str, kind: str | None, limit: int) -> None:
    """List what was done."""
    from kuramori.cli.settings_access import load_application_settings
    from kuramori.clock import SystemClock
    from kuramori.history.records import OperationKind

    refuse_repository(application)
    settings = load_application_settings(application)
    with open_history(settings, SystemClock()) as history:
        if number is not None:
            _show(application, history, number)
            return
        # Whoever asks what was done does not mean that a daemon was started.
        records = history.operations(job, OperationKind(kind) if kind else None, limit,
                                     hidden=None if kind else OperationKind.DAEMON)
    if application.json:
        say_json([_record_json(record) for record in records])
    elif not records:
        say(_("nothing was done yet"))
    else:
        table((_("No."), _("Began"), _("Took"), _("What"), _("Name"), _("Run"), _("State"), _("Size"), _("Errors")),
              [_row(record) for record in records])


def _row(record: OperationRecord) -> tuple[str, ...]:
    return (str(record.id), moment_text(record.started), _took(record), _(KINDS[record.kind.value]),
            shown(_subject(record)) or "-", shown(record.run) or "-", _(STATES[record.state.value]),
            size_text(record.size_bytes), str(len(record.errors)) if record.errors else "-")


def _subject(record: OperationRecord) -> str:
    """Return the name of what it was done for: a job, or a repository that was checked."""
    return record.job or (record.repository if record.kind.value == "check" else "")


def _took(record: OperationRecord) -> str:
    if record.ended is None:
        return "-"
    return duration_text(max(0.0, (record.ended - record.started).total_seconds()))


def _show(application: Application, history: History, number: int) -> None:
    from kuramori.errors import NoSuchOperationError

    record, lines = history.operation(number), history.log_lines(number)
    if record is None:
        raise NoSuchOperationError(number=number)
    if application.json:
        say_json(_record_json(record) | {
            "log": [{"time": moment_json(line.time), "text": line.text} for line in lines]})
        return
    _show_record(record)
    _show_log(lines)


def _show_record(record: OperationRecord) -> None:
    title = _(KINDS[record.kind.value]) + (f" {shown(_subject(record))}" if _subject(record) else "")
    say(f"{record.id}: {title}, {_(STATES[record.state.value])}")
    say(_("began {began}, took {took}").format(began=moment_text(record.started), took=_took(record)))
    if record.run:
        say(_("Run: {run}").format(run=shown(record.run)))
    for entry in record.components:
        say(_("{component} in {repository}: {state}, {size}, files: {files}").format(
            component=shown(entry.component), repository=shown(entry.repository), state=_(STATES[entry.state.value]),
            size=size_text(entry.size_bytes), files=entry.files))
    for error in record.errors:
        advice = error.advice_text(_)
        say("- " + error.text(_) + (f"; {advice}" if advice else ""))


def _show_log(lines: list[LogLine]) -> None:
    if lines:
        say()
    for line in lines:
        say(f"{moment_text(line.time)}  {shown(line.text)}")


def _record_json(record: OperationRecord) -> dict[str, Any]:
    return {
        "id": record.id, "kind": record.kind.value, "job": record.job, "run": record.run,
        "repository": record.repository, "state": record.state.value, "started": moment_json(record.started),
        "ended": moment_json(record.ended), "size_bytes": record.size_bytes, "added_bytes": record.added_bytes,
        "files": record.files,
        "errors": [{"kind": error.kind, "message": error.text(), "advice": error.advice_text()}
                   for error in record.errors],
        "components": [{"component": entry.component, "repository": entry.repository, "state": entry.state.value,
                        "size_bytes": entry.size_bytes, "added_bytes": entry.added_bytes, "files": entry.files,
                        "seconds": entry.seconds, "snapshot_id": entry.snapshot_id} for entry in record.components],
    }
