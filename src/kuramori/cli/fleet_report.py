"""How the state of a fleet is written: a sentence, a table, JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

from kuramori.cli.manager_access import error_json, moment_json, moment_text
from kuramori.cli.output import say, shown, size_text, table, width
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import N_, KuramoriError
from kuramori.manager.fleet_model import DeviceState, DeviceStatus, FleetPart, FleetStatus
from kuramori.manager.model import Health
from kuramori.manager.status import duration_phrase

_STATES = {
    DeviceState.WELL: N_("well"), DeviceState.PARTIAL: N_("partial"), DeviceState.AHEAD: N_("clock ahead"),
    DeviceState.AWAY: N_("away"), DeviceState.OVERDUE: N_("overdue"), DeviceState.NEVER: N_("never saved"),
    DeviceState.LOCKED_OUT: N_("no password fits"), DeviceState.DAMAGED: N_("damaged"),
    DeviceState.UNUSABLE: N_("cannot be used"),
}
_KNOWN_BETTER = (DeviceState.PARTIAL, DeviceState.OVERDUE, DeviceState.NEVER)


def fleet_sentence(fleet: FleetStatus) -> str:
    """Return in one sentence whether all is well, and if not, what is worst."""
    count = len(fleet.devices)
    if fleet.health is Health.WELL:
        return translate_count("{count} device: all well", "{count} devices: all well", count).format(count=count)
    worst = _whole(fleet.devices[0].problems[0])
    return translate_count("{well} of {count} device well; {problem}", "{well} of {count} devices well; {problem}",
                           count).format(well=fleet.well_count, count=count, problem=worst)


def report_fleet(fleet: FleetStatus) -> None:
    """Print what else there is to say: further problems, and a row for each device."""
    problems = [problem for device in fleet.devices for problem in device.problems]
    for problem in problems[1:]:
        say(_("also: {problem}").format(problem=_whole(problem)))
    if any(device.state in _KNOWN_BETTER for device in fleet.devices):
        say(_("note: {text}").format(text=_("kuramori status on the device itself says more")))
    say()
    headings = [_("Device"), _("Last backup"), _("Age"), _("Stored"), _("State")]
    rows = [_row(device) for device in fleet.devices]
    if _fits([headings, *rows]):
        table(headings, rows)
        return
    for name, time, age, stored, state in rows:
        say(f"{name}: {state}")
        say(f"  {time}  {age}  {stored}")


def _whole(problem: KuramoriError) -> str:
    advice = problem.advice_text(_)
    return f"{problem.text(_)}; {advice}" if advice else problem.text(_)


def _row(device: DeviceStatus) -> list[str]:
    age = device.age_seconds
    return [shown(device.name), moment_text(device.last_run_time),
            duration_phrase(age).text(_) if age is not None else "-",
            size_text(device.stored_bytes) if device.stored_bytes is not None else "-", _(_STATES[device.state])]


def _fits(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether a table of these rows fits the terminal; it does where there is none."""
    if not sys.stdout.isatty():
        return True
    needed = sum(max(width(row[column]) for row in rows) for column in range(len(rows[0]))) + 2 * (len(rows[0]) - 1)
    return needed <= shutil.get_terminal_size().columns


def fleet_json(fleet: FleetStatus) -> dict[str, Any]:
    """Return the state of a fleet for programs."""
    return {
        "message_type": "fleet_report", "health": fleet.health.value, "time": moment_json(fleet.time),
        "device_count": len(fleet.devices), "well_count": fleet.well_count,
        "devices": [_device_json(device) for device in fleet.devices],
    }


def _device_json(device: DeviceStatus) -> dict[str, Any]:
    return {
        "name": device.name, "location": device.location, "health": device.health.value, "state": device.state.value,
        "repository_id": device.repository_id or None, "last_run_time": moment_json(device.last_run_time),
        "age_seconds": device.age_seconds, "stored_bytes": device.stored_bytes, "snapshots": device.snapshots,
        "problems": [error_json(problem) for problem in device.problems],
        "jobs": [_part_json(part) for part in device.parts],
    }


def _part_json(part: FleetPart) -> dict[str, Any]:
    return {
        "hostname": part.hostname, "job": part.job or None, "runs": part.runs, "last_run": part.last_run or None,
        "last_run_time": moment_json(part.last_run_time),
        "last_run_state": part.last_run_state.value if part.last_run_state is not None else None,
        "last_good_time": moment_json(part.last_good_time), "age_seconds": part.age_seconds,
        "allowed_seconds": part.allowed_seconds, "size_bytes": part.size_bytes,
        "problem": error_json(part.problem) if part.problem is not None else None,
    }
