"""What to do after a check has found damage, in the order in which it helps."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kuramori.cli.translation import translate as _
from kuramori.errors import SnapshotContentError

if TYPE_CHECKING:
    from kuramori.cli.named_repositories import NamedRepository
    from kuramori.maintenance.check_result import CheckResult

_PACKS_NAMED = 10


def repair_advice(result: CheckResult, named: NamedRepository | None) -> list[str]:
    """Return lines for people; none where nothing that is stored is damaged.

    Args:
        named: what the settings call the repository, if they know it: then the commands can be typed as they are.
    """
    steps = []
    kuramori = "kuramori" if named is None else f"kuramori -r {shlex.quote(named.name)}"
    others = "" if named is None else ", ".join(named.others)
    content = any(isinstance(error, SnapshotContentError) for error in result.errors)
    if result.suggest_repair_index and result.errors:
        steps.append(_("{kuramori} repair index writes the index anew from what the packs say"))
    if (result.broken_packs or content) and named is not None:
        steps.append(_("kuramori backup stores again what is lost, as far as the files still exist"))
    elif result.broken_packs or content:
        steps.append(_("kuramori backup of the same folders stores again what is lost, as far as the files "
                       "still exist"))
    if result.broken_packs:
        steps.append(
            _("{kuramori} repair packs {packs} saves what is intact in them and fetches the rest from {others}")
            if others else
            _("{kuramori} repair packs {packs} saves what is intact in them; with --from-repo it fetches "
              "the rest from another repository"))
    if content:
        steps.append(
            _("{kuramori} repair blobs fetches what snapshots need from {others}") if others else
            _("{kuramori} repair blobs --from-repo LOCATION fetches what snapshots need from another repository"))
    if result.broken_packs or content:
        steps.append(_("{kuramori} repair snapshots --forget, last, takes out of the snapshots what is lost for good"))
    packs = " ".join(result.broken_packs[:_PACKS_NAMED]) + (" ..." if len(result.broken_packs) > _PACKS_NAMED else "")
    steps = [step.format(kuramori=kuramori, packs=packs, others=others) for step in steps]
    return [_("what to do:"), *(f"  {number}. {step}" for number, step in enumerate(steps, 1))] if steps else []
