"""``kuramori cleanup``: remove what the settings' rules do not keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.interruption import polled_interruption
from kuramori.cli.manager_access import error_json, managed, moment_json, moment_text
from kuramori.cli.options import command as declare
from kuramori.cli.output import complain, say, say_json, shown, size_text, table
from kuramori.cli.size_report import report_size_clean_up, size_json
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.cli.values import parse_size
from kuramori.errors import IncompleteCleanUpError, UsageError

if TYPE_CHECKING:
    from kuramori.manager.model import CleanUpResult, RepositoryCleanUp
    from kuramori.settings.model import Settings


@declare("cleanup", _("remove old runs, by the rules of the settings file\n\nEach component has rules of its own "
                      "(retention_days, keep_last and so on), and each repository may have a max_size, for which the "
                      "oldest runs go. The newest good snapshot of a component always stays."))
@click.argument("job", metavar="[JOB]", required=False)
@click.option("-n", "--dry-run", is_flag=True, help=_("remove nothing, only show what would go, and why"))
@click.option("--max-size", "sizes", multiple=True, metavar="[REPOSITORY=]SIZE",
              help=_("this once in place of the max_size of the settings: the oldest runs go until the repository has "
                     "no more than this, such as 50G"))
@click.option("--accept-missing", is_flag=True,
              help=_("snapshots that this machine knew and that are gone were removed on purpose"))
@pass_application
def command(application: Application, job: str | None, dry_run: bool, sizes: tuple[str, ...],
            accept_missing: bool) -> None:
    """Remove old runs."""
    with managed(application) as manager, polled_interruption() as cancelled:
        result = manager.clean_up(
            job or "", dry_run, accept_missing=accept_missing, cancelled=cancelled,
            retry_lock_seconds=application.retry_seconds(), max_sizes=_max_sizes(sizes, manager.settings, job or ""),
            before_size_limit=lambda size: report_size_clean_up(application, size))
    if application.json:
        say_json(clean_up_json(result))
    elif not application.quiet:
        _report(result)
    failed = {name: one.error for name, one in result.repositories.items() if one.error is not None}
    if len(failed) == len(result.repositories) == 1:
        raise next(iter(failed.values()))
    for error in failed.values() if not application.json else ():
        advice = error.advice_text(_)
        complain(f"{error.text(_)}; {advice}" if advice else error.text(_))
    if failed:
        raise IncompleteCleanUpError(names=", ".join(failed))


def _max_sizes(texts: Sequence[str], settings: Settings, job: str) -> dict[str, int]:
    """Return the sizes by the names of repositories.

    Raises:
        UsageError: one makes no sense, or it is not clear which repository is meant.
    """
    known = settings.jobs.get(job)
    names = list(known.repositories if known is not None else settings.repositories)
    found: dict[str, int] = {}
    for text in texts:
        name, separator, size = text.rpartition("=")
        if not separator and len(names) > 1:
            raise UsageError(detail=_("several repositories are cleaned up; say which one is meant: --max-size "
                                      "{name}={size}").format(name=names[0], size=size))
        found[name if separator else names[0]] = parse_size(size)
    return found


def _report(result: CleanUpResult) -> None:
    if result.removed:
        table([_("Repository"), _("Time"), _("Run"), _("Component"), _("Size"), _("Reason")], [
            [shown(one.repository), moment_text(one.time), shown(one.run), shown(one.component),
             size_text(one.size_bytes), one.reason.text(_)] for one in result.removed])
    for one in result.repositories.values():
        if one.error is None or one.removed:
            say(_repository_text(one, result.dry_run))
        if one.size is not None and one.size.bytes_after is not None:
            say(_("{repository} has {size} now; its limit is {limit}").format(
                repository=shown(one.repository), size=size_text(one.size.bytes_after),
                limit=size_text(one.size.limit)))


def _repository_text(one: RepositoryCleanUp, dry_run: bool) -> str:
    if not one.removed:
        return _("{repository}: nothing is old enough to go").format(repository=shown(one.repository))
    count = len(one.removed)
    text = translate_count("{repository}: {count} snapshot would go, which frees {size}",
                           "{repository}: {count} snapshots would go, which frees {size}", count) if dry_run else \
        translate_count("{repository}: removed {count} snapshot, which freed {size}",
                        "{repository}: removed {count} snapshots, which freed {size}", count)
    return text.format(repository=shown(one.repository), count=count, size=size_text(one.freed_bytes))


def clean_up_json(result: CleanUpResult) -> dict[str, Any]:
    """Return a cleanup for programs."""
    return {
        "message_type": "cleanup", "dry_run": result.dry_run, "success": result.success,
        "removed_count": len(result.removed), "freed_bytes": result.freed_bytes,
        "repositories": {name: _repository_json(one) for name, one in result.repositories.items()}}


def _repository_json(one: RepositoryCleanUp) -> dict[str, Any]:
    removed = [{"job": gone.job, "run": gone.run, "component": gone.component, "snapshot_id": gone.snapshot_id,
                "time": moment_json(gone.time), "size_bytes": gone.size_bytes, "reason": str(gone.reason)}
               for gone in one.removed]
    return {"removed": removed, "kept_count": one.kept, "freed_bytes": one.freed_bytes,
            "size_limit": size_json(one.size) if one.size is not None else None,
            "error": error_json(one.error) if one.error is not None else None}
