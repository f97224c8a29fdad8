"""What is said of snapshots that ``rewrite`` and ``repair snapshots`` replace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.output import say, say_json, shown, time_text
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count

if TYPE_CHECKING:
    from kuramori.maintenance.snapshot_replacing import ChangedSnapshot


def say_changed(application: Application, changed: Sequence[ChangedSnapshot], *, dry_run: bool, forget: bool) -> None:
    """Name every snapshot that was or would be replaced, and every change in it; with ``--json``
    one line for each."""
    for each in changed:
        if application.json:
            say_json(_json(each))
        elif not application.quiet:
            _say(each, dry_run, forget)


def _say(each: ChangedSnapshot, dry_run: bool, forget: bool) -> None:
    old = each.old.snapshot
    say(_("snapshot {id} of {paths} at {time} by {user}@{host}:").format(
        id=each.old.short_id, paths=", ".join(map(shown, old.paths)), time=time_text(old.time),
        user=shown(old.username), host=shown(old.hostname)))
    for change in each.changes:
        say(f"  {shown(change.path)}: {change.what.text(_)}")
    if each.new is None:
        if dry_run and forget:
            say("  " + _("would remove it"))
        elif not each.removed:
            say("  " + _("it stays as it is; with --forget it would be removed"))
    elif each.healed:
        say("  " + (_("an empty folder would be stored again, and the snapshot is sound") if dry_run else
                    _("an empty folder was stored again, and the snapshot is sound")))
    elif dry_run:
        say("  " + _("would save a new snapshot"))
        if forget:
            say("  " + _("would remove the old one"))
    elif each.saved:
        say("  " + _("saved new snapshot {id}").format(id=(each.new_id or "")[:8]))
    else:
        say("  " + _("the new snapshot is there already: {id}").format(id=(each.new_id or "")[:8]))
    if each.removed:
        say("  " + _("removed old snapshot {id}").format(id=each.old.short_id))


def say_count(changed: Sequence[ChangedSnapshot], dry_run: bool) -> None:
    """Say how many snapshots were or would be replaced."""
    count = count_modified(changed, dry_run)
    if not count:
        text = _("no snapshots would be modified") if dry_run else _("no snapshots were modified")
    elif dry_run:
        text = translate_count("would modify {count} snapshot", "would modify {count} snapshots", count)
    else:
        text = translate_count("modified {count} snapshot", "modified {count} snapshots", count)
    say(text.format(count=count))


def count_modified(changed: Sequence[ChangedSnapshot], dry_run: bool) -> int:
    """Return how many snapshots were or would be replaced or removed."""
    return sum(1 for each in changed if each.saved or each.removed or (dry_run and not each.healed))


def _json(each: ChangedSnapshot) -> dict[str, Any]:
    return {
        "message_type": "changed", "snapshot": each.old.id, "new_snapshot": each.new_id,
        "new_tree": each.new.tree if each.new else None, "saved": each.saved, "removed": each.removed,
        "healed": each.healed,
        "changes": [{"path": change.path, "change": change.what.text(_)} for change in each.changes],
    }
