"""From the command line to the manager: which commands go by the settings, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application
from kuramori.cli.output import local_text
from kuramori.cli.translation import translate as _
from kuramori.errors import KuramoriError, UsageError

if TYPE_CHECKING:
    from kuramori.manager.manager import Manager
    from kuramori.manager.model import Timetable
    from kuramori.settings.model import JobSettings


def goes_by_settings(application: Application) -> bool:
    """Tell whether a command that knows both ways goes by the settings file: see
    :func:`kuramori.cli.settings_access.has_settings`."""
    from kuramori.cli.settings_access import has_settings

    return has_settings(application)


def refuse_options(context: click.Context, allowed: set[str], why: str) -> None:
    """Raise if an option was given that means nothing here.

    Args:
        allowed: names of parameters that mean something.
        why: where the others belong.

    Raises:
        UsageError
    """
    for parameter in context.command.params:
        given = parameter.name is not None and context.get_parameter_source(parameter.name) is \
            click.core.ParameterSource.COMMANDLINE
        if given and parameter.expose_value and parameter.name not in allowed:
            name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name
            raise UsageError(detail=f"{name}: {why}")


def refuse_engine_options(context: click.Context, *allowed: str) -> None:
    """Raise if an option was given that only means something with ``-r``.

    Raises:
        UsageError
    """
    refuse_options(context, set(allowed), _("this goes with a repository that is named with -r; here the settings "
                                            "file says what is done"))


def refuse_settings_options(context: click.Context, *names: str) -> None:
    """Raise if an option was given that only means something with the settings file.

    Raises:
        UsageError
    """
    others = {parameter.name for parameter in context.command.params if parameter.name} - set(names)
    refuse_options(context, others, _("this goes with the settings file, and not with a repository that is named"))


@contextmanager
def managed(application: Application) -> Iterator[Manager]:
    """Give the manager of the settings file for a ``with`` block; what happens is shown as the global
    options say.

    Raises:
        SettingsError, NoSettingsError: the file cannot be used.
        UsageError: an option contradicts the settings.
    """
    from kuramori.cli.settings_access import load_application_settings, open_manager

    refuse_repository(application)
    refuse_passwords(application)
    settings = load_application_settings(application)
    display = application.progress()
    display.advises = True
    try:
        with open_manager(application, settings, progress=display) as manager:
            manager.mark_unfinished()
            yield manager
    finally:
        display.close()


def refuse_repository(application: Application) -> None:
    """Raise if a repository was named on the command line of a command that goes by the settings.

    Raises:
        UsageError
    """
    if application.repository or application.repository_file:
        raise UsageError(detail=_("this command goes by the settings file, and looks at all of its repositories; leave "
                                  "out -r and --repository-file"))


def refuse_passwords(application: Application) -> None:
    """Raise if an option says where the password is: the settings do.

    Raises:
        UsageError
    """
    if application.password_file or application.password_command:
        raise UsageError(detail=_("here the settings file says where the password is; leave out --password-file and "
                                  "--password-command"))


def error_json(error: KuramoriError) -> dict[str, Any]:
    """Return an error for programs: in English, whatever the language."""
    return {"kind": type(error).__name__, "message": error.text(), "advice": error.advice_text()}


def moment_json(moment: Any) -> str | None:
    """Return an aware datetime for programs: ISO 8601, to the second."""
    return moment.isoformat(timespec="seconds") if moment is not None else None


def moment_text(moment: Any) -> str:
    """Return an aware datetime for people: in local time; a dash for None."""
    return local_text(moment) if moment is not None else "-"


def job_timetable(manager: Manager) -> Callable[[JobSettings], Timetable]:
    """Return what tells when a job runs next, and how often: from its schedule, and from what the
    daemon has planned."""
    from kuramori.cli.environment import time_zone
    from kuramori.clock import SystemClock
    from kuramori.manager.model import Timetable
    from kuramori.scheduling.local_zone import local_zone
    from kuramori.scheduling.triggers import longest_pause, next_due
    from kuramori.scheduling.work import WorkKind, due_key

    clock = SystemClock()
    now, zone = clock.now(), local_zone(clock, time_zone())

    def timetable(job: JobSettings) -> Timetable:
        if job.schedule is None:
            return Timetable()
        state = manager.history.due_state(due_key(WorkKind.BACKUP, job.name))
        planned = state.due if state is not None else None
        due = planned if planned is not None and planned > now else next_due(job.schedule, now, zone)
        return Timetable(due, longest_pause(job.schedule, now, zone).total_seconds())

    return timetable


def schedule_interval() -> Callable[[str], float | None]:
    """Return what gives the longest time in seconds between two runs of a schedule that is written as in the settings;
    None where that makes no sense."""
    from kuramori.cli.environment import time_zone
    from kuramori.clock import SystemClock
    from kuramori.errors import ScheduleError
    from kuramori.scheduling.local_zone import local_zone
    from kuramori.scheduling.triggers import longest_pause
    from kuramori.settings.reader import Refused
    from kuramori.settings.schedules import schedule_of

    clock = SystemClock()
    now, zone = clock.now(), local_zone(clock, time_zone())

    def interval(text: str) -> float | None:
        try:
            return longest_pause(schedule_of(text), now, zone).total_seconds()
        except (Refused, ScheduleError):
            return None

    return interval


def starts_by_itself(manager: Manager) -> bool:
    """Tell whether somebody sees to the schedules: a daemon runs, or one (of a timer, perhaps) did within
    the last day or so. True also if nothing has a schedule."""
    from datetime import UTC, timedelta

    from kuramori.clock import SystemClock
    from kuramori.history.records import OperationKind
    from kuramori.scheduling.state_directory import daemon_runs
    from kuramori.scheduling.work import scheduled_work

    if not scheduled_work(manager.settings) or daemon_runs(manager.settings.state_directory):
        return True
    last = manager.history.operations(kind=OperationKind.DAEMON, limit=1)
    now = SystemClock().now().astimezone(UTC)
    return any(now - (record.ended or record.started) < timedelta(hours=25) for record in last)
