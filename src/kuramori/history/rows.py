"""From rows of the history to data and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import apsw

from kuramori.history.records import (
    ComponentEntry,
    ComponentTotals,
    DueState,
    OperationKind,
    OperationRecord,
    OperationState,
)
from kuramori.history.stored_errors import decode_errors

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

OPERATION_COLUMNS = ("id, kind, job, run, repository, state, started, ended, size_bytes, added_bytes, files, errors, "
                     "pid")
TOTALS_COLUMNS = "job, component, repository, last_good, last_good_run, size_bytes, files, seconds, successes, failures"
_TIMES = ("due", "last_due", "last_started", "last_good", "since", "retry")
_DUE_FIELDS = ("due", "schedule", "last_due", "last_started", "last_good", "since", "running", "failures", "retry",
               "problem", "told", "overdue_told")
DUE_COLUMNS = ", ".join(_DUE_FIELDS)


def to_nanoseconds(moment: datetime) -> int:
    """Return an aware datetime as nanoseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def to_moment(nanoseconds: int) -> datetime:
    """Return nanoseconds since 1970-01-01 UTC as an aware datetime in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def optional_moment(nanoseconds: int | None) -> datetime | None:
    """Return the same, or None for NULL."""
    return None if nanoseconds is None else to_moment(nanoseconds)


def operation_record(connection: apsw.Connection, row: tuple[Any, ...]) -> OperationRecord:
    """Return a row of ``OPERATION_COLUMNS``, with its components."""
    number, kind, job, run, repository, state, started, ended, size, added, files, errors, pid = row
    components = connection.execute(
        "SELECT component, repository, state, size_bytes, added_bytes, files, seconds, snapshot_id FROM components "
        "WHERE operation = ? ORDER BY component, repository", (number,))
    return OperationRecord(
        number, OperationKind(kind), job, run, repository, OperationState(state), to_moment(started),
        optional_moment(ended), size, added, files, decode_errors(errors),
        tuple(ComponentEntry(name, place, OperationState(how), *rest) for name, place, how, *rest in components), pid)


def component_totals(row: tuple[Any, ...]) -> ComponentTotals:
    """Return a row of ``TOTALS_COLUMNS``."""
    job, component, repository, last_good, *rest = row
    return ComponentTotals(job, component, repository, optional_moment(last_good), *rest)


def due_state(row: tuple[Any, ...]) -> DueState:
    """Return a row of ``DUE_COLUMNS``."""
    fields = dict(zip(_DUE_FIELDS, row, strict=True))
    fields.update({name: optional_moment(fields[name]) for name in _TIMES})
    fields.update(running=bool(fields["running"]), overdue_told=bool(fields["overdue_told"]))
    return DueState(**fields)


def due_values(state: DueState) -> tuple[Any, ...]:
    """Return the values of ``DUE_COLUMNS`` for a state."""
    values = []
    for name in _DUE_FIELDS:
        value = getattr(state, name)
        values.append(to_nanoseconds(value) if isinstance(value, datetime) else value)
    return tuple(values)


def remember_newest(connection: apsw.Connection, nanoseconds: int) -> None:
    """Note that something was noted at an instant, if it is the latest so far."""
    connection.execute(
        "INSERT INTO newest VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET time = max(time, excluded.time)",
        (nanoseconds,))


def set_newest(connection: apsw.Connection, nanoseconds: int) -> None:
    """Forget all later instants."""
    connection.execute("INSERT OR REPLACE INTO newest VALUES (1, ?)", (nanoseconds,))
