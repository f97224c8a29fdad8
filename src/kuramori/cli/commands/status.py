"""``kuramori status``: whether all is well, in one sentence, and then in detail.

Exit codes: 0 all is well, 3 somebody should look, 1 something is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import error_json, job_timetable, managed, moment_json, moment_text, starts_by_itself
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json, shown, size_text, table
from kuramori.cli.translation import translate as _
from kuramori.errors import N_, KuramoriError

if TYPE_CHECKING:
    from kuramori.manager.model import ComponentStatus, RepositoryStatus, Status

_EXIT_CODES = {"well": 0, "attention": 3, "alarm": 1}
_HEADINGS = {"attention": N_("Please look: {problem}"), "alarm": N_("Something is wrong: {problem}")}


@declare("status", _("say whether all is well\n\nThe exit code is 0 if it is, 3 if somebody should look, and 1 if "
                     "something is wrong."))
@pass_application
def command(application: Application) -> int:
    """Say whether all is well."""
    with managed(application) as manager:
        status = manager.status(job_timetable(manager))
        attended = starts_by_itself(manager)
    if application.json:
        say_json({**status_json(status), "starts_by_itself": attended})
    else:
        say(_sentence(status))
        if not application.quiet:
            _report(status)
            if not attended:
                say()
                say(_("note: no daemon runs here, so nothing starts by itself; kuramori daemon is one, and "
                      "kuramori settings units lets systemd start it"))
    return _EXIT_CODES[status.health.value]


def _sentence(status: Status) -> str:
    if status.problems:
        return _(_HEADINGS[status.health.value]).format(problem=_whole(status.problems[0]))
    newest = max((row.last_good_time for row in status.components if row.last_good_time is not None), default=None)
    if newest is None:
        return _("All is well: there is nothing to save yet.")
    return _("All is well: everything is saved, last at {time}.").format(time=moment_text(newest))


def _whole(problem: KuramoriError) -> str:
    advice = problem.advice_text(_)
    return f"{problem.text(_)}; {advice}" if advice else problem.text(_)


def _report(status: Status) -> None:
    for problem in status.problems[1:]:
        say(_("also: {problem}").format(problem=_whole(problem)))
    for note in status.notes:
        say(_("note: {text}").format(text=_whole(note)))
    if status.components:
        say()
        table([_("Job"), _("Component"), _("Repository"), _("Last good run"), _("Age"), _("Size"), _("Next run")],
              [_component_row(row) for row in status.components])
    if status.repositories:
        say()
        table([_("Repository"), _("Location"), _("Runs"), _("Last run"), _("Stored"),
               _("Read back")],
              [_repository_row(one) for one in status.repositories.values()])


def _component_row(row: ComponentStatus) -> list[str]:
    from kuramori.manager.status import duration_phrase

    age = duration_phrase(row.age_seconds).text(_) if row.age_seconds is not None else "-"
    return [shown(row.job), shown(row.component), shown(row.repository), shown(row.last_good_run) or _("never"), age,
            size_text(row.size_bytes) if row.last_good_run else "-", moment_text(row.next_run)]


def _repository_row(one: RepositoryStatus) -> list[str]:
    if not one.reachable:
        return [shown(one.name), shown(one.location), _("cannot be used"), "-", "-", "-"]
    return [shown(one.name), shown(one.location), str(one.runs), moment_text(one.last_run_time),
            size_text(one.stored_bytes) if one.stored_bytes is not None else "-",
            "-" if one.verified_percent is None else
            _("{percent} % in {days} days").format(percent=int(one.verified_percent), days=one.check_days)]


def status_json(status: Status) -> dict[str, Any]:
    """Return the status for programs."""
    return {
        "message_type": "status_report", "health": status.health.value, "time": moment_json(status.time),
        "problems": [error_json(problem) for problem in status.problems],
        "notes": [error_json(note) for note in status.notes],
        "components": [{
            "job": row.job, "component": row.component, "repository": row.repository,
            "last_good_run": row.last_good_run or None, "last_good_time": moment_json(row.last_good_time),
            "age_seconds": row.age_seconds, "size_bytes": row.size_bytes, "snapshots": row.snapshots,
            "next_run": moment_json(row.next_run),
            "problem": error_json(row.problem) if row.problem is not None else None} for row in status.components],
        "repositories": {name: {
            "location": one.location, "reachable": one.reachable, "runs": one.runs, "last_run": one.last_run or None,
            "last_run_time": moment_json(one.last_run_time), "stored_bytes": one.stored_bytes,
            "max_size": one.max_size,
            "verified_percent": one.verified_percent, "check_days": one.check_days, "lacking_runs": one.lacking_runs,
            "stale_since": moment_json(one.stale_since),
            "error": error_json(one.error) if one.error is not None else None}
            for name, one in status.repositories.items()},
    }
