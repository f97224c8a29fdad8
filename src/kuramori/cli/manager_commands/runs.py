"""``kuramori list``: the runs that the repositories of the settings file hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.manager_access import managed, moment_json, moment_text
from kuramori.cli.output import say, say_json, shown, size_text, table
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import N_

if TYPE_CHECKING:
    from kuramori.manager.model import StoredComponent, StoredRun

STATES = {"complete": N_("complete"), "partial": N_("not complete"), "failed": N_("failed")}


def list_runs(application: Application, *, job: str, repository: str) -> None:
    """List runs, the oldest first.

    Raises:
        UnknownJobError, UnknownRepositoryNameError, KuramoriError: see :meth:`Manager.list_runs`.
    """
    with managed(application) as manager:
        runs = manager.list_runs(job, repository)
    if application.json:
        say_json([_run_json(run) for run in runs])
        return
    rows: dict[tuple[str, str, str], tuple[StoredRun, list[str]]] = {}
    for run in runs:
        rows.setdefault((run.hostname, run.job, run.name), (run, []))[1].append(run.repository)
    if not rows:
        say(_("there is no run yet; this makes one: kuramori backup"))
        return
    footer = [translate_count("{count} run", "{count} runs", len(rows)).format(count=len(rows))]
    if any(not component.snapshot_id for run, _names in rows.values() for component in run.components.values()):
        footer.append(_("(in brackets): was not saved, or was removed since"))
    table([_("Time"), _("Run"), _("Job"), _("State"), _("Size"), _("Components"), _("Repositories")],
          [_row(run, repositories) for run, repositories in rows.values()], footer)


def _row(run: StoredRun, repositories: list[str]) -> list[str]:
    names = [shown(name) if component.snapshot_id else f"({shown(name)})" for name, component in run.components.items()]
    state = _(STATES[run.state.value]) if run.state is not None else _("broken off")
    return [moment_text(run.time), shown(run.name), shown(run.job), state,
            size_text(run.size_bytes), ", ".join(names), ", ".join(map(shown, repositories))]


def _run_json(run: StoredRun) -> dict[str, Any]:
    return {"run": run.name, "job": run.job, "repository": run.repository, "hostname": run.hostname,
            "time": moment_json(run.time), "state": run.state.value if run.state else None,
            "size_bytes": run.size_bytes, "manifest_id": run.manifest_id,
            "components": {name: _component_json(component) for name, component in run.components.items()}}


def _component_json(component: StoredComponent) -> dict[str, Any]:
    return {"kind": component.kind.value if component.kind else None, "snapshot_id": component.snapshot_id,
            "state": component.state.value if component.state else None, "sources": list(component.sources),
            "size_bytes": component.size_bytes, "files": component.files, "databases": list(component.databases),
            "error": component.error}
