"""``kuramori restore RUN``: bring a run back, or take a restore back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kuramori.cli.application import Application
from kuramori.cli.manager_access import error_json, managed
from kuramori.cli.output import say, say_json, shown, size_text
from kuramori.cli.translation import translate as _
from kuramori.errors import IncompleteRunRestoreError

if TYPE_CHECKING:
    from kuramori.manager.model import RestoredComponent, RestoreRunResult


def restore_run(application: Application, run: str, *, job: str, repository: str, components: tuple[str, ...],
                target: str | None, database: str, disconnect: bool, dry_run: bool) -> None:
    """Bring a run back.

    Raises:
        IncompleteRunRestoreError: some components are not back.
        KuramoriError: see :meth:`Manager.restore`.
    """
    from kuramori.manager.model import RestoreRunOptions

    with managed(application) as manager:
        result = manager.restore(RestoreRunOptions(
            run, job=job, repository=repository, components=components,
            target=Path(os.path.abspath(target)) if target is not None else None, database=database,
            disconnect=disconnect, dry_run=dry_run))
    _report(application, result, "would restore" if dry_run else "restored")
    _require_success(result)


def undo_restore(application: Application, restore_id: str) -> None:
    """Bring back what a restore in place replaced.

    Raises:
        IncompleteRunRestoreError: some of it is not back.
        KuramoriError: see :meth:`Manager.undo_restore`.
    """
    with managed(application) as manager:
        result = manager.undo_restore(restore_id)
    _report(application, result, "undone")
    _require_success(result)


def drop_kept(application: Application, restore_id: str) -> None:
    """Remove what a restore in place kept.

    Raises:
        KuramoriError: see :meth:`Manager.drop_kept`.
    """
    with managed(application) as manager:
        count = manager.drop_kept(restore_id)
    if application.json:
        say_json({"message_type": "dropped", "restore_id": restore_id, "count": count})
    elif not application.quiet:
        say(_("removed what restore {id} had kept; it cannot be undone any more").format(id=restore_id))


def _require_success(result: RestoreRunResult) -> None:
    missing = [name for name, component in result.components.items() if not component.success]
    if missing:
        raise IncompleteRunRestoreError(names=", ".join(missing))


def _report(application: Application, result: RestoreRunResult, what: str) -> None:
    if application.json:
        say_json({"message_type": "restore", "action": what, "run": result.run, "job": result.job,
                  "repository": result.repository, "restore_id": result.restore_id, "success": result.success,
                  "components": {name: _component_json(one) for name, one in result.components.items()}})
        return
    if application.quiet:
        return
    for component in result.components.values():
        if component.success:
            say(_component_text(component, what))
    if what == "restored" and result.restore_id and any(one.kept for one in result.components.values()):
        say(_("this brings back what was there before: kuramori restore --undo {id}").format(id=result.restore_id))


def _component_text(component: RestoredComponent, what: str) -> str:
    name, target, kept = shown(component.name), shown(component.target), shown(component.kept)
    if what == "undone":
        text = _("{name}: {target} is as it was before; what was restored is kept as {kept}") if kept else \
            _("{name}: {target} is as it was before")
    elif what == "would restore":
        text = _("{name}: would be restored to {target}; what is there would be kept as {kept}") if kept else \
            _("{name}: would be restored to {target}")
    else:
        text = _("{name}: restored to {target} ({size}, verified); what was there is kept as {kept}") if kept else \
            _("{name}: restored to {target} ({size}, verified)")
    return text.format(name=name, target=target, kept=kept, size=size_text(component.size_bytes))


def _component_json(component: RestoredComponent) -> dict[str, Any]:
    return {"success": component.success, "target": component.target, "kept": component.kept,
            "files": component.files, "size_bytes": component.size_bytes, "verified": component.verified,
            "repository": component.repository or None, "blobs_from_other_repositories": dict(component.fetched),
            "errors": [error_json(error) for error in component.errors]}
