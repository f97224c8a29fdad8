"""``kuramori backup [JOB]``: the jobs of the settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.interruption import polled_interruption
from kuramori.cli.manager_access import error_json, managed, moment_json
from kuramori.cli.output import complain, say, say_json, shown, size_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.errors import N_, FailedRunError, IncompleteCopiesError, KuramoriError, PartialRunError, UsageError

if TYPE_CHECKING:
    from kuramori.manager.model import ComponentOutcome, CopyOutcome, RunResult

_RUN_STATES = {"complete": N_("complete"), "partial": N_("not complete"), "failed": N_("failed")}
_COMPONENT_STATES = {"complete": N_("saved"), "partial": N_("saved in part"), "failed": N_("not saved")}
_COPY_STATES = {"complete": N_("up to date"), "failed": N_("failed"),
                "stale": N_("not reached; it gets this run with the next one that reaches it")}


def back_up_jobs(application: Application, jobs: tuple[str, ...], *, components: tuple[str, ...], run_name: str,
                 accept_loss: bool) -> int:
    """Run a job, or all of them one after the other; return the exit code: of the worst.

    Raises:
        UsageError, UnknownJobError, UnknownComponentError, RunExistsError, JobBusyError: before anything is saved.
        KuramoriError: the run of the only job was not complete.
    """
    from kuramori.manager.model import RunOptions

    _refuse_nonsense(jobs, components, run_name)
    failures: list[KuramoriError] = []
    with managed(application) as manager, polled_interruption() as cancelled:
        names = jobs or tuple(manager.settings.jobs)
        if len(names) > 1 and (components or run_name):
            raise UsageError(detail=_("name the job whose run or components are meant"))
        options = RunOptions(run_name=run_name, components=components, accept_loss=accept_loss, cancelled=cancelled,
                             retry_lock_seconds=application.retry_seconds())
        for name in names:
            result = manager.back_up(name, options)
            _report(application, result)
            failures += _failure(result)
    if len(failures) == 1:
        raise failures[0]
    for failure in failures:
        complain(failure.text(_))
    return max((failure.exit_code for failure in failures), key=_badness, default=0)


def _badness(code: int) -> int:
    return code if code != 3 else 0  # something was saved: anything else is worse


def _refuse_nonsense(jobs: tuple[str, ...], components: tuple[str, ...], run_name: str) -> None:
    if len(jobs) > 1:
        raise UsageError(detail=_("name one job, or none for all"))
    if jobs and "/" in jobs[0]:
        raise UsageError(detail=_("{name} is no job; to save files and folders as they are named, say where to with -r")
                         .format(name=shown(jobs[0])))


def _failure(result: RunResult) -> list[KuramoriError]:
    """Return what a run makes the command end with: nothing if all is well."""
    if result.state.value == "failed":
        return [result.errors[0] if result.errors else FailedRunError(run=result.run, job=result.job)]
    for error in result.errors:
        complain(_("kuramori: {message}").format(message=error.text(_)))
    if result.state.value == "partial":
        names = [name for name, outcome in result.components.items() if outcome.state.value != "complete"]
        return [PartialRunError(run=result.run, job=result.job, names=", ".join(names) or _("its record is missing"))]
    lacking = [copy.repository for copy in result.copies if copy.state.value == "failed"]
    return [IncompleteCopiesError(run=result.run, job=result.job, names=", ".join(lacking))] if lacking else []


# --- output ----------------------------------------------------------------------------------


def _report(application: Application, result: RunResult) -> None:
    if application.json:
        say_json(run_json(result))
        return
    if application.quiet:
        return
    say(_("{job}: {run}: {state}").format(job=shown(result.job), run=shown(result.run),
                                          state=_(_RUN_STATES[result.state.value])))
    for name, outcome in result.components.items():
        say(f"    {shown(name)}: {_component_text(outcome)}")
    for copy in result.copies:
        say("    " + _copy_text(copy))


def _component_text(outcome: ComponentOutcome) -> str:
    state = _(_COMPONENT_STATES[outcome.state.value])
    if not outcome.snapshot_id:
        return state
    files = translate_count("{count} file", "{count} files", outcome.files).format(count=outcome.files)
    return _("{state}: {files}, {size} ({added} added)").format(
        state=state, files=files, size=size_text(outcome.size_bytes), added=size_text(outcome.added_bytes))


def _copy_text(copy: CopyOutcome) -> str:
    return _("copy in {repository}: {state}").format(repository=shown(copy.repository),
                                                     state=_(_COPY_STATES[copy.state.value]))


def run_json(result: RunResult) -> dict[str, Any]:
    """Return a run for programs."""
    return {
        "message_type": "run", "job": result.job, "run": result.run, "repository": result.repository,
        "state": result.state.value, "success": result.state.value == "complete",
        "started": moment_json(result.started), "ended": moment_json(result.ended),
        "size_bytes": result.size_bytes, "added_bytes": result.added_bytes, "manifest_id": result.manifest_id,
        "components": {name: _outcome_json(outcome) for name, outcome in result.components.items()},
        "copies": [{"repository": copy.repository, "state": copy.state.value,
                    "snapshots_copied": copy.snapshots_copied,
                    "error": error_json(copy.error) if copy.error is not None else None} for copy in result.copies],
        "errors": [error_json(error) for error in result.errors],
    }


def _outcome_json(outcome: ComponentOutcome) -> dict[str, Any]:
    return {
        "kind": outcome.kind.value, "state": outcome.state.value, "success": outcome.state.value == "complete",
        "snapshot_id": outcome.snapshot_id, "sources": list(outcome.sources), "files": outcome.files,
        "size_bytes": outcome.size_bytes, "added_bytes": outcome.added_bytes, "seconds": round(outcome.seconds, 3),
        "errors": [error_json(error) for error in outcome.errors[:100]], "error_count": len(outcome.errors),
        "databases": list(outcome.databases),
    }
