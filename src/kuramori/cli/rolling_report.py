"""What ``check --rolling`` says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kuramori.cli.application import Application
from kuramori.cli.output import complain, local_text, say, say_json, size_text, to_json
from kuramori.cli.repair_advice import repair_advice
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.maintenance.rolling_check import RollingCheckResult


def report_rolling(application: Application, result: RollingCheckResult, days: int) -> None:
    """Say what was read now, what was read in the last days, and what is damaged."""
    if application.json:
        _report_json(result, days)
        return
    for error in result.check.errors:
        complain(_("error: {text}").format(text=error.text(_)))
    new = set(result.check.broken_packs)
    for pack, when in result.coverage.damaged:
        if pack not in new:
            complain(_("error: pack {id} was damaged when it was last read, {time}").format(
                id=pack, time=local_text(_moment(when))))
    known = sorted(new.union(result.damaged_packs))
    for line in repair_advice(replace(result.check, broken_packs=known), application.named()):
        complain(line)
    if result.plan.clock_doubtful:
        complain(
            _("warning: packs were read at times that have not come yet; they are read again; is the clock right?"))
    if result.plan.budget_too_small:
        complain(_("warning: the budget is too small: to read all in {days} days, {size} a day are needed").format(
            days=days, size=size_text(result.plan.needed_per_day)))
    if application.quiet:
        return
    coverage = result.coverage
    say(_("read {packs} packs ({size}) whole").format(packs=result.check.packs_read,
                                                     size=size_text(result.check.bytes_read)))
    say(_("read in the last {days} days: {percent} % ({size} of {total}, {packs} of {count} packs)").format(
        days=days, percent=int(coverage.percent), size=size_text(coverage.bytes_read),
        total=size_text(coverage.bytes), packs=coverage.packs_read, count=coverage.packs))


def _report_json(result: RollingCheckResult, days: int) -> None:
    for error in result.check.errors:
        complain(to_json({"message_type": "error", "message": error.text(_)}))
    coverage, plan = result.coverage, result.plan
    say_json({
        "message_type": "summary", "num_errors": len(result.check.errors),
        "broken_packs": result.check.broken_packs or None, "packs_read": result.check.packs_read,
        "bytes_read": result.check.bytes_read, "days": days, "total_packs": coverage.packs,
        "total_bytes": coverage.bytes, "covered_packs": coverage.packs_read, "covered_bytes": coverage.bytes_read,
        "covered_percent": round(coverage.percent, 2), "needed_bytes_per_day": plan.needed_per_day,
        "budget_too_small": plan.budget_too_small, "clock_doubtful": plan.clock_doubtful,
        "damaged_packs": [{"id": pack, "read": _moment(when).isoformat()} for pack, when in coverage.damaged]})


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
