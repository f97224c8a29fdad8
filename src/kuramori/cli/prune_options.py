"""The options of a prune, which ``prune`` and ``forget --prune`` take, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application
from kuramori.cli.output import percent_text, say, say_json, size_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.cli.values import parse_size
from kuramori.errors import UsageError

if TYPE_CHECKING:
    from kuramori.maintenance.prune import PruneResult
    from kuramori.maintenance.prune_plan import PlanCounts, PrunePolicy, UnusedLimit


def prune_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as keyword arguments for :func:`make_policy`."""
    for decorator in reversed([
        click.option("--max-unused", default="5%", metavar="LIMIT",
                     help=_("unused data that may stay: 5%, a size such as 500M, or unlimited")),
        click.option("--max-repack-size", metavar="SIZE", help=_("write at most so much anew in one go")),
        click.option("--repack-cacheable-only", is_flag=True, help=_("write only packs of folders anew")),
        click.option("--repack-small", is_flag=True, help=_("join packs below 80% of the pack size")),
        click.option("--repack-smaller-than", metavar="SIZE", help=_("join packs smaller than this")),
        click.option("--repack-uncompressed", is_flag=True, help=_("compress what is stored uncompressed")),
    ]):
        function = decorator(function)
    return function


def make_policy(application: Application, *, max_unused: str, max_repack_size: str | None,
                repack_cacheable_only: bool, repack_small: bool, repack_smaller_than: str | None,
                repack_uncompressed: bool) -> PrunePolicy:
    """Return what the options mean.

    Raises:
        UsageError: one of them cannot be understood.
    """
    from kuramori.maintenance.prune_plan import PrunePolicy

    return PrunePolicy(
        max_unused=parse_unused(max_unused), repack_small=repack_small,
        max_repack_size=None if max_repack_size is None else parse_size(max_repack_size),
        repack_smaller_than=None if repack_smaller_than is None else parse_size(repack_smaller_than),
        repack_cacheable_only=repack_cacheable_only, repack_uncompressed=repack_uncompressed,
        pack_size=application.pack_bytes(),
    )


def parse_unused(text: str) -> UnusedLimit:
    """Return the limit that ``5%``, ``500M`` or ``unlimited`` means.

    Raises:
        UsageError: it is none.
    """
    from kuramori.maintenance.prune_plan import UnusedLimit

    text = text.strip()
    if text == "unlimited":
        return UnusedLimit()
    if not text.endswith("%"):
        return UnusedLimit(size=parse_size(text))
    try:
        return UnusedLimit(percent=float(text[:-1]))
    except ValueError:
        raise UsageError(detail=_("a part looks like 5% or 2.5%, not {text}").format(text=text)) from None


def report_prune(application: Application, result: PruneResult) -> None:
    """Say what was done or would be; nothing with ``--quiet``."""
    if application.json:
        say_json(prune_json(result))
    elif not application.quiet:
        if result.dry_run:
            say(_("this would be done:"))
        _say_amounts(result.plan.counts, application.verbose > 0)
        if application.verbose > 0:
            _say_packs(result)
        _say_done(application, result)


def _say_amounts(counts: PlanCounts, verbose: bool) -> None:
    rows: list[tuple[str, int | None, int]] = []
    if verbose:
        rows.append((_("used"), counts.used.blobs, counts.used.bytes))
        if counts.duplicate.blobs:
            rows.append((_("duplicates"), counts.duplicate.blobs, counts.duplicate.bytes))
        rows.append((_("unused"), counts.unused.blobs, counts.unused.bytes))
        if counts.unreferenced_bytes:
            rows.append((_("in no index"), None, counts.unreferenced_bytes))
        rows.append((_("total"), counts.total_blobs, counts.total_bytes))
    rows += [
        (_("to repack"), counts.repacked.blobs, counts.repacked.bytes),
        (_("this removes"), counts.repack_removed.blobs, counts.repack_removed.bytes),
        (_("to delete"), counts.removed.blobs, counts.removed.bytes + counts.unreferenced_bytes),
        (_("total prune"), counts.pruned_blobs, counts.pruned_bytes),
        (_("remaining"), counts.total_blobs - counts.pruned_blobs, counts.total_bytes - counts.pruned_bytes),
    ]
    for label, blobs, size in rows:
        if blobs is None:
            say(_("{label}: {size}").format(label=label, size=size_text(size)))
        else:
            say(_("{label}: {blobs} blobs / {size}").format(label=label, blobs=blobs, size=size_text(size)))
    left = counts.unused_bytes_afterwards
    say(_("unused afterwards: {size} ({percent} of what remains)").format(
        size=size_text(left), percent=percent_text(left, counts.total_bytes - counts.pruned_bytes)))


def _say_packs(result: PruneResult) -> None:
    plan = result.plan
    for label, number in (
        (_("packs wholly used"), plan.counts.packs_used), (_("packs partly used"), plan.counts.packs_partly_used),
        (_("packs not used"), plan.counts.packs_unused), (_("packs to keep"), plan.counts.packs_kept),
        (_("packs to repack"), len(plan.repacked)), (_("packs to delete"), len(plan.removed)),
        (_("packs to delete that no index names"), len(plan.unreferenced)),
        (_("missing packs to forget"), len(plan.forgotten)),
    ):
        say(_("{label}: {value}").format(label=label, value=number))


def _say_done(application: Application, result: PruneResult) -> None:
    if not result.dry_run:
        say(translate_count("removed {count} pack", "removed {count} packs", result.packs_removed).format(
            count=result.packs_removed))
        return
    if application.verbose < 2:
        return
    plan = result.plan
    for label, packs in ((_("would repack"), plan.repacked), (_("would delete"), plan.removed),
                         (_("would delete, in no index"), plan.unreferenced)):
        for pack in packs:
            say(_("{label}: {value}").format(label=label, value=pack.hex()))


def prune_json(result: PruneResult) -> dict[str, Any]:
    """Return the result as JSON; restic prints none for a prune."""
    plan, counts = result.plan, result.plan.counts
    return {
        "message_type": "summary", "dry_run": result.dry_run,
        "blobs": {"used": counts.used.blobs, "duplicate": counts.duplicate.blobs, "unused": counts.unused.blobs,
                  "repack": counts.repacked.blobs, "repack_removed": counts.repack_removed.blobs,
                  "removed": counts.removed.blobs},
        "bytes": {"used": counts.used.bytes, "duplicate": counts.duplicate.bytes, "unused": counts.unused.bytes,
                  "unreferenced": counts.unreferenced_bytes, "repack": counts.repacked.bytes,
                  "repack_removed": counts.repack_removed.bytes, "removed": counts.removed.bytes,
                  "unused_afterwards": counts.unused_bytes_afterwards,
                  "remaining": counts.total_bytes - counts.pruned_bytes},
        "packs": {"kept": counts.packs_kept, "repacked": len(plan.repacked), "removed": len(plan.removed),
                  "unreferenced": len(plan.unreferenced), "forgotten": len(plan.forgotten)},
        "num_errors": len(result.errors),
    }
