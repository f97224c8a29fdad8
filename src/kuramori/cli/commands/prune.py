"""``kuramori prune``."""

from __future__ import annotations

from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.prune_options import make_policy, prune_options, report_prune
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_size
from kuramori.errors import IncompleteForgetError, IncompletePruneError, UsageError


@declare("prune", _("remove data that no snapshot uses"))
@click.option("-n", "--dry-run", is_flag=True, help=_("only say what would be done"))
@prune_options
@click.option("--max-size", metavar="SIZE", help=_("first forget the oldest snapshots, until the repository has no "
                                                   "more than this, such as 50G"))
@click.option("--accept-missing", is_flag=True,
              help=_("snapshots that vanished were forgotten on purpose by another machine or by restic"))
@click.option("--unsafe-allow-remove-all", is_flag=True, help=_("also where no snapshot is left"))
@click.option("--unsafe-recover-no-free-space", metavar="ID",
              help=_("delete the index first, where no space is left at all; the repository's id shows that you "
                     "mean it. Try --max-repack-size 0 before"))
@pass_application
def command(application: Application, dry_run: bool, max_size: str | None, accept_missing: bool,
            unsafe_allow_remove_all: bool, unsafe_recover_no_free_space: str | None, **policy: Any) -> None:
    """Remove data that no snapshot uses."""
    from kuramori.maintenance.prune import PruneOptions, prune

    if max_size is not None:
        if unsafe_allow_remove_all or unsafe_recover_no_free_space:
            raise UsageError(detail=_("--max-size goes with none of the unsafe options"))
        _stay_under(application, parse_size(max_size), dry_run, accept_missing, policy)
        return
    options = PruneOptions(
        policy=make_policy(application, **policy), compression=application.compression_mode(), dry_run=dry_run,
        accept_missing=accept_missing,
        allow_no_snapshots=unsafe_allow_remove_all, recover_without_space=unsafe_recover_no_free_space,
        **application.lock_options())
    display = application.progress()
    with application.open(maintenance=True) as repository:
        location = repository.backend.location
        try:
            result = prune(repository, options, display)
        finally:
            display.close()
    report_prune(application, result)
    if result.errors:
        raise IncompletePruneError(location=location, count=len(result.errors))


def _stay_under(application: Application, size: int, dry_run: bool, accept_missing: bool,
                policy: dict[str, Any]) -> None:
    """Forget what must go for the size, and prune."""
    from kuramori.cli.size_report import report_size_plan, report_size_reached
    from kuramori.maintenance.forget import ForgetOptions, forget

    options = ForgetOptions(
        max_size=size, prune=True, dry_run=dry_run, accept_missing=accept_missing,
        prune_policy=make_policy(application, **policy), compression=application.compression_mode(),
        before_size_limit=lambda plan: report_size_plan(application, plan), **application.lock_options())
    display = application.progress()
    with application.open(maintenance=True) as repository:
        location = repository.backend.location
        try:
            result = forget(repository, options, display)
        finally:
            display.close()
    if result.prune is not None:
        report_prune(application, result.prune)
    if result.errors:
        raise IncompleteForgetError(location=location, count=len(result.errors))
    report_size_reached(application, location, result)
    if result.prune is not None and result.prune.errors:
        raise IncompletePruneError(location=location, count=len(result.prune.errors))
