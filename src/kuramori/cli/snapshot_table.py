"""Snapshots as a table, which ``snapshots``, ``forget`` and others show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kuramori.cli.output import shown, size_text, table, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.model.snapshot import StoredSnapshot


def print_snapshots(found: Sequence[StoredSnapshot], compact: bool = False,
                    reasons: Mapping[str, Sequence[str]] | None = None) -> None:
    """Print snapshots in the order given.

    Args:
        found: what to print.
        compact: one line for each; otherwise tags, reasons and paths stand below each other.
        reasons: why snapshots stay, by their ids; None leaves the column out.
    """
    rows = []
    for stored in found:
        snapshot = stored.snapshot
        size = size_text(snapshot.summary.total_bytes_processed) if snapshot.summary else ""
        listed = [[shown(tag) for tag in snapshot.tags or []], [shown(path) for path in snapshot.paths]]
        if reasons is not None:
            listed.insert(1, [shown(reason) for reason in reasons.get(stored.id, ())])
        first = (stored.short_id, time_text(snapshot.time), shown(snapshot.hostname))
        for line in range(1 if compact else max(1, *map(len, listed))):
            columns = [",".join(texts) if compact else "".join(texts[line : line + 1]) for texts in listed]
            rows.append((*(first if line == 0 else ("", "", "")), *columns, size if line == 0 else ""))
    count = translate_count("{count} snapshot", "{count} snapshots", len(found)).format(count=len(found))
    headings = [_("ID"), _("Time"), _("Host"), _("Tags"), _("Paths"), _("Size")]
    if reasons is not None:
        headings.insert(4, _("Reasons"))
    table(headings, rows, [count])
