"""What ``--max-size``, and a cleanup with ``max_size``, says: what it costs, before anything goes, and whether it was
enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.manager_access import moment_json, moment_text
from kuramori.cli.output import say, say_json, shown, size_text, snapshot_json, table, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import SizeLimitMissedError

if TYPE_CHECKING:
    from kuramori.maintenance.forget import ForgetResult
    from kuramori.maintenance.size_limit import SizeLimitPlan
    from kuramori.manager.model import SizeCleanUp


def report_size_plan(application: Application, plan: SizeLimitPlan) -> None:
    """Say which snapshots go because of the size, and what each frees."""
    if application.json:
        say_json({
            "message_type": "size_limit", "limit": plan.limit, "bytes_before": plan.bytes_before,
            "bytes_expected": plan.bytes_expected,
            "remove": [snapshot_json(weight.stored) | {"freed": weight.bytes_in_packs} for weight in plan.going]})
        return
    if application.quiet:
        return
    say(_("the repository has {size}; the limit is {limit}").format(size=size_text(plan.bytes_before),
                                                                  limit=size_text(plan.limit)))
    if not plan.going:
        say(_("no snapshot has to go for that"))
        return
    count = len(plan.going)
    say(translate_count("{count} snapshot has to go for that, the oldest:",
                        "{count} snapshots have to go for that, the oldest first:", count).format(count=count))
    table([_("ID"), _("Time"), _("Host"), _("Tags"), _("Frees")],
          [[weight.stored.short_id, time_text(weight.stored.snapshot.time), shown(weight.stored.snapshot.hostname),
            shown(",".join(weight.stored.snapshot.tags or ())), size_text(weight.bytes_in_packs)]
           for weight in plan.going],
          [_("{size} are left then, at most").format(size=size_text(plan.bytes_expected))])


def report_size_reached(application: Application, location: str, result: ForgetResult) -> None:
    """Say what size the repository has now.

    Raises:
        SizeLimitMissedError: it is above the limit.
    """
    plan = result.size_limit
    if plan is None or plan.bytes_after is None:
        return
    if not plan.reached:
        raise SizeLimitMissedError(location=location, found=plan.bytes_after, over=plan.bytes_after - plan.limit)
    if not (application.quiet or application.json):
        say(_("the repository has {size} now; the limit is {limit}").format(size=size_text(plan.bytes_after),
                                                                          limit=size_text(plan.limit)))


# --- cleanups --------------------------------------------------------------------------------


def report_size_clean_up(application: Application, size: SizeCleanUp) -> None:
    """Say which runs go because of the size, and what each frees."""
    if application.json:
        say_json({"message_type": "size_limit", "repository": size.repository, **size_json(size)})
        return
    if application.quiet:
        return
    say(_("{repository} has {size}; its limit is {limit}").format(
        repository=shown(size.repository), size=size_text(size.bytes_before), limit=size_text(size.limit)))
    left = _("{size} are left then, at most").format(size=size_text(size.bytes_expected))
    if not size.runs:
        say(_("no run has to go for that, only what the rules do not keep and what nobody uses; {left}").format(
            left=left))
        return
    count = len(size.runs)
    say(translate_count("{count} run has to go for that, the oldest:",
                        "{count} runs have to go for that, the oldest first:", count).format(count=count))
    table([_("Time"), _("Job"), _("Run"), _("Components"), _("Frees")],
          [[moment_text(run.time), shown(run.job), shown(run.run), ", ".join(map(shown, run.components)) or "-",
            size_text(run.freed_bytes)] for run in size.runs], [left])


def size_json(size: SizeCleanUp) -> dict[str, Any]:
    """Return what the size takes, for programs."""
    return {"limit": size.limit, "bytes_before": size.bytes_before, "bytes_expected": size.bytes_expected,
            "bytes_after": size.bytes_after,
            "runs": [{"job": run.job, "run": run.run, "time": moment_json(run.time),
                      "components": list(run.components), "freed_bytes": run.freed_bytes} for run in size.runs]}
