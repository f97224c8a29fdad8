"""From the guide's ``schedule_settings`` to schedules, and back to whoever wrote something impossible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kuramori.errors import N_, Phrase, PlanterSettingsError
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule

DEFAULTS: Mapping[str, Any] = {
    "full_backup_enabled": True,
    "full_backup_interval_hours": 24,
    "full_backup_time": "02:00",
    "cleanup_enabled": True,
    "cleanup_interval_hours": 24,
    "cleanup_time": "03:00",
}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DAY_HOURS = 24
_LONGEST_HOURS = 24 * 366


def check_schedule_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what cannot be meant.

    Args:
        settings: some or all of the guide's keys.

    Raises:
        PlanterSettingsError: with every problem.
    """
    if not isinstance(settings, Mapping):
        raise PlanterSettingsError(detail=N_("schedule settings must be a dictionary"))
    problems = [problem for key, value in settings.items() if (problem := _problem(key, value)) is not None]
    if problems:
        raise PlanterSettingsError(detail=tuple(problems))


def _problem(key: object, value: Any) -> Phrase | None:
    shown = {"key": str(key)[:60], "value": repr(value)[:60]}
    if key not in DEFAULTS:
        return Phrase(N_("there is no setting {key}; known are {known}"), known=", ".join(DEFAULTS), **shown)
    if str(key).endswith("_enabled"):
        return None if isinstance(value, bool) else Phrase(N_("{key} must be True or False, not {value}"), **shown)
    if str(key).endswith("_time"):
        if isinstance(value, str) and _TIME.fullmatch(value):
            return None
        return Phrase(N_("{key} must be a time such as '02:00', not {value}"), **shown)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LONGEST_HOURS:
        return None
    return Phrase(N_("{key} must be a number of hours, more than 0, not {value}"), **shown)


def schedule_of(settings: Mapping[str, Any], kind: str) -> Schedule:
    """Return when something is due: at the time, and every so many hours from there.

    Args:
        settings: all of the guide's keys, checked.
        kind: ``full_backup`` or ``cleanup``.

    Returns:
        At a time of the day where the hours divide the day; otherwise an interval, which counts from the
        last one.
    """
    hour, minute = time_of(settings, kind)
    hours = settings[f"{kind}_interval_hours"]
    if hours == _DAY_HOURS:
        return DailyAt(hour, minute)
    if hours < _DAY_HOURS and hours == int(hours) and _DAY_HOURS % int(hours) == 0:
        due = sorted((hour + step) % _DAY_HOURS for step in range(0, _DAY_HOURS, int(hours)))
        return CronExpression(f"{minute} {','.join(map(str, due))} * * *")
    return Every(hours * 3600.0, f"{hours:g}h")


def time_of(settings: Mapping[str, Any], kind: str) -> tuple[int, int]:
    """Return the hour and the minute at which something is due first."""
    hour, minute = map(int, str(settings[f"{kind}_time"]).split(":"))
    return hour, minute
