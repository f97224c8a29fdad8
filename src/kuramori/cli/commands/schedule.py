"""``kuramori schedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import moment_json, moment_text, refuse_repository
from kuramori.cli.options import command as declare
from kuramori.cli.output import complain, duration_text, say, say_json, shown, table
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from datetime import datetime

    from kuramori.scheduling.scheduler import Upcoming


@declare("schedule", _("show what runs next, and when"))
@pass_application
def command(application: Application) -> None:
    """Show what runs next."""
    from kuramori.cli.environment import time_zone
    from kuramori.cli.history_access import KINDS, open_history
    from kuramori.cli.settings_access import load_application_settings
    from kuramori.clock import SystemClock
    from kuramori.scheduling.arrivals import wanted_arrivals
    from kuramori.scheduling.forecast import forecast
    from kuramori.scheduling.local_zone import local_zone
    from kuramori.scheduling.plausibility import ClockJudge
    from kuramori.scheduling.state_directory import daemon_runs
    from kuramori.scheduling.work import scheduled_work

    refuse_repository(application)
    settings = load_application_settings(application)
    clock = SystemClock()
    with open_history(settings, clock) as history:
        now = clock.now()
        runs = daemon_runs(settings.state_directory)
        entries = forecast(scheduled_work(settings), history, now, local_zone(clock, time_zone()), daemon_running=runs)
        judge = ClockJudge(clock, history)
        judge.judge()
    if judge.doubt is not None:
        complain(judge.doubt.text(_))
    arrivals = wanted_arrivals(settings, (), starting=False)
    if application.json:
        say_json({"daemon_running": runs, "schedule": [_entry_json(entry) for entry in entries],
                  "when_attached": [{"repository": one.repository, "work": one.kind.value, "job": one.job or None}
                                    for one in arrivals]})
        return
    if not entries and not arrivals:
        say(_("nothing has a schedule"))
        return
    if entries:
        table((_("When"), _("In"), _("What"), _("Name"), _("Schedule"), _("Last success"), _("Remark")),
              [_row(entry, now) for entry in entries])
    for one in arrivals:
        say(_("when the disk of {repository} appears: {work} of {job}").format(
            repository=shown(one.repository), work=_(KINDS[one.kind.value]), job=shown(one.job or one.repository)))
    if not runs and not application.quiet:
        complain(_("note: no daemon runs here, so nothing starts by itself; kuramori daemon is one, and "
                   "kuramori settings units lets systemd start it"))


def _row(entry: Upcoming, now: datetime) -> tuple[str, ...]:
    from kuramori.cli.history_access import KINDS, STATES

    state = entry.state
    remark = ""
    if state.running:
        remark = _("runs")
    elif state.failures:
        remark = _("{state}, {count} times in a row").format(
            state=_(STATES[state.problem]) if state.problem else _("without success"), count=state.failures)
    seconds = max(0.0, (entry.time - now).total_seconds())
    return (moment_text(entry.time), duration_text(seconds), _(KINDS[entry.work.kind.value]), shown(entry.work.subject),
            shown(str(entry.work.schedule)), moment_text(state.last_good), remark)


def _entry_json(entry: Upcoming) -> dict[str, Any]:
    state = entry.state
    return {
        "work": entry.work.kind.value, "job": entry.work.job or None, "repository": entry.work.repository or None,
        "schedule": str(entry.work.schedule),
        "next": moment_json(entry.time), "is_retry": entry.is_retry, "running": state.running,
        "last_due": moment_json(state.last_due), "last_started": moment_json(state.last_started),
        "last_success": moment_json(state.last_good), "failures": state.failures, "problem": state.problem or None,
    }
