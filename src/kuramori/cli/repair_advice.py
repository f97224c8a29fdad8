"""What to do after a check has found damage, in the order in which it helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuramori.cli.translation import translate as _
from kuramori.errors import SnapshotContentError

if TYPE_CHECKING:
    from kuramori.maintenance.check_result import CheckResult

_PACKS_NAMED = 10


def repair_advice(result: CheckResult) -> list[str]:
    """Return lines for people; none where nothing that is stored is damaged."""
    steps = []
    content = any(isinstance(error, SnapshotContentError) for error in result.errors)
    if result.suggest_repair_index and result.errors:
        steps.append(_("kuramori repair index writes the index anew from what the packs say"))
    if result.broken_packs or content:
        steps.append(_("kuramori backup of the same folders stores again what is lost, as far as the files "
                       "still exist"))
    if result.broken_packs:
        names = " ".join(result.broken_packs[:_PACKS_NAMED])
        more = " ..." if len(result.broken_packs) > _PACKS_NAMED else ""
        steps.append(_("kuramori repair packs {names} saves what is intact in them; with --from-repo it fetches "
                       "the rest from another repository").format(names=names + more))
    if content:
        steps.append(_("kuramori repair blobs --from-repo LOCATION fetches what snapshots need from another "
                       "repository"))
    if result.broken_packs or content:
        steps.append(_("kuramori repair snapshots --forget, last, takes out of the snapshots what is lost for good"))
    return [_("what to do:"), *(f"  {number}. {step}" for number, step in enumerate(steps, 1))] if steps else []
