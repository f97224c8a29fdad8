"""``kuramori check``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import complain, say, say_json, size_text
from kuramori.cli.repair_advice import repair_advice
from kuramori.cli.rolling_report import report_rolling
from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_size
from kuramori.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from kuramori.cli.named_repositories import NamedRepository
    from kuramori.maintenance.rolling_check import RollingCheckOptions, RollingCheckResult
    from kuramori.progress import Progress
    from kuramori.repository.repository import Repository


@declare("check", _("look for errors in the repository"))
@click.option("--read-data", is_flag=True, help=_("read every byte, not only the structure"))
@click.option("--read-data-subset", metavar="N/T|X%|SIZE", help=_("read a part: 1/5, 10% or 500M"))
@click.option("--rolling", is_flag=True, help=_("read the packs whose turn it is, each within so many days"))
@click.option("--days", type=click.IntRange(1, 36500), metavar="N", help=_(
    "with --rolling: in how many days (check_days of the settings, or 30)"))
@click.option("--budget", metavar="SIZE", help=_(
    "with --rolling: read at most so much a day, such as 5G (check_budget of the settings, or what the days ask for)"))
@click.option("--accept-missing", is_flag=True,
              help=_("snapshots that vanished were forgotten on purpose by another machine or by restic"))
@pass_application
def command(application: Application, read_data: bool, read_data_subset: str | None, rolling: bool,
            days: int | None, budget: str | None, accept_missing: bool) -> None:
    """Look for errors in the repository."""
    from kuramori.maintenance.check import check
    from kuramori.maintenance.check_result import CheckOptions

    application.last_keys = application.cache_folder()
    application.no_cache = True  # a copy that was on this machine before proves nothing
    if rolling:
        if read_data or read_data_subset or accept_missing or application.no_lock:
            raise UsageError(detail=_("--rolling goes with --days and --budget only"))
        _check_rolling(application, days, None if budget is None else parse_size(budget))
        return
    if days is not None or budget is not None:
        raise UsageError(detail=_("--days and --budget mean something with --rolling only"))
    if read_data and read_data_subset:
        raise UsageError(detail=_("--read-data and --read-data-subset exclude each other"))
    options = CheckOptions(read_data=read_data, read_data_subset=read_data_subset, no_lock=application.no_lock,
                           accept_missing=accept_missing, retry_lock_seconds=application.retry_seconds())
    display = application.progress()
    with TemporaryDirectory(prefix="kuramori-check-", ignore_cleanup_errors=True) as fresh:
        application.fresh_cache = Path(fresh)
        with application.open() as repository:
            location = repository.backend.location
            try:
                result = check(repository, options, display)
            finally:
                display.close()
    _report(application, result)
    if result.errors:
        raise CheckFailedError(location=location, count=len(result.errors))


def _check_rolling(application: Application, days: int | None, budget: int | None) -> None:
    from kuramori.maintenance.rolling_check import RollingCheckOptions, rolling_check

    named = application.named()
    known = None if named is None else named.settings.repositories[named.name]
    options = RollingCheckOptions(
        days=days or (30 if known is None else known.check_days),
        budget=budget or (None if known is None else known.check_budget),
        retry_lock_seconds=application.retry_seconds(), lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    with application.open() as repository:
        location = repository.backend.location
        try:
            result = rolling_check(repository, options, display) if named is None else \
                _check_named(repository, named, options, display)
        finally:
            display.close()
    report_rolling(application, result, options.days)
    count = len(result.check.errors) or len(result.coverage.damaged)
    if count:
        raise CheckFailedError(location=location, count=count)


def _check_named(repository: Repository, named: NamedRepository, options: RollingCheckOptions,
                 display: Progress) -> RollingCheckResult:
    """Check a repository of the settings, and note it in their history."""
    from kuramori.clock import SystemClock
    from kuramori.history.history import History, history_path
    from kuramori.history.records import OperationKind
    from kuramori.manager.checking import check_open_repository
    from kuramori.manager.finishing import Finished

    with closing(History(history_path(named.settings.state_directory), SystemClock())) as history, \
            Finished(history.begin(OperationKind.CHECK, "", repository=named.name)) as operation:
        found = check_open_repository(repository, named.name, named.others, options, operation, display)
        assert found.details is not None
        return found.details


def _report(application: Application, result: Any) -> None:
    for hint in result.hints:
        if not application.json and not application.quiet:
            say(_("note: {text}").format(text=hint.text(_)))
    if application.json:
        for error in result.errors:
            complain_error(error.text(_))
        summary = {"message_type": "summary", "num_errors": len(result.errors),
                   "broken_packs": result.broken_packs or None, "suggest_repair_index": result.suggest_repair_index,
                   "suggest_prune": result.suggest_prune}
        summary |= {"vanished_snapshots": result.vanished} if result.vanished else {}
        say_json(summary | ({"known_damage": result.known_damage} if result.known_damage else {}))
        return
    for error in result.errors:
        complain(_("error: {text}").format(text=error.text(_)))
    for line in repair_advice(result, application.named()):
        complain(line)
    if application.quiet:
        return
    say(_("looked at {snapshots} snapshots, {trees} folders, {blobs} blobs in {packs} packs").format(
        snapshots=result.snapshots, trees=result.trees, blobs=result.blobs, packs=result.packs))
    if result.packs_read:
        say(_("read {packs} packs ({size}) whole").format(packs=result.packs_read, size=size_text(result.bytes_read)))
    if not result.errors:
        say(_("no other errors were found") if result.known_damage else _("no errors were found"))


def complain_error(text: str) -> None:
    """Print an error as restic's JSON has it."""
    from kuramori.cli.output import to_json

    complain(to_json({"message_type": "error", "message": text}))
