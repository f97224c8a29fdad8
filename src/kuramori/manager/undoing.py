"""Taking a restore in place back, and dropping what it kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from kuramori.errors import KuramoriError, UndoError, UnknownRestoreError, suggest
from kuramori.manager.model import RestoredComponent, RestoreRunResult
from kuramori.manager.server_restoring import drop_served, undo_served
from kuramori.manager.swap_journal import (
    DONE,
    SQLITE,
    UNDOING,
    UNDOING_DONE,
    UNDONE,
    RestoreJournal,
    RestoreJournals,
    SwappedComponent,
)
from kuramori.manager.swapping import remove_kept, undo_swap
from kuramori.progress import Progress
from kuramori.settings.model import ComponentSettings


def find_journal(journals: RestoreJournals, restore_id: str) -> RestoreJournal:
    """Return the journal of a restore; without an id that of the newest.

    Raises:
        UnknownRestoreError: there is none.
    """
    known = journals.all()
    if not restore_id and known:
        return known[-1]
    for journal in known:
        if journal.restore_id == restore_id:
            return journal
    raise UnknownRestoreError(name=restore_id or "at all",
                              suggestion=suggest(restore_id, [journal.restore_id for journal in known]))


def undo(journal: RestoreJournal, journals: RestoreJournals, components: Mapping[str, ComponentSettings],
         now: datetime, progress: Progress) -> RestoreRunResult:
    """Bring back what a restore replaced. What it had put there is kept beside it, as
    ``NAME.undone-restore-<time>``. May be called again after it was broken off.

    Args:
        components: what the settings say of the job's components: where its servers are.

    Raises:
        StateError: the journal cannot be written; nothing was changed.
    """
    if journal.state == UNDONE:
        results = {component.name: RestoredComponent(component.name, True, os.pathsep.join(
            target for target, _ in component.roots)) for component in journal.components}
    else:
        whole = journal.state in (DONE, UNDOING_DONE)
        again = journal.state in (UNDOING, UNDOING_DONE)
        journal.state = UNDOING_DONE if whole else UNDOING
        journals.write(journal)
        results = {}
        for component in reversed(journal.components):
            if component.served:
                results[component.name] = _undo_served(component, components.get(component.name), now,
                                                        again or not (whole and component.done), progress)
            else:
                results[component.name] = _undo(component, now, whole and component.done, progress)
    if all(result.success for result in results.values()):
        journal.state = UNDONE
        journals.write(journal)
        for component in journal.components:
            _remove_remains(component)
        journals.remove(journal.restore_id)
    return RestoreRunResult(journal.run, journal.job, journal.repository, journal.restore_id, results)


def _remove_remains(component: SwappedComponent) -> None:
    """Remove what served its purpose: copies of databases that have their rows again, folders in which
    nothing is any more, and where restored things waited."""
    for swap in component.swaps:
        if swap.kind == SQLITE:
            with suppress(OSError):
                remove_kept(swap.kept)
    for _target, kept in component.roots:
        _remove_empty_folders(kept)
    for folder in component.stagings:
        shutil.rmtree(folder, ignore_errors=True)  # only what was restored is in it, or nothing


def _undo(component: SwappedComponent, now: datetime, whole: bool, progress: Progress) -> RestoredComponent:
    errors: list[KuramoriError] = []
    undone: list[str] = []
    for target, _kept in component.roots:
        root = _free_name(f"{target}.undone-restore-{now:%Y%m%d_%H%M%S}")
        for swap in reversed(component.swaps):
            if swap.target != target and not swap.target.startswith(target + "/"):
                continue
            try:
                undo_swap(swap, root + swap.target[len(target):], component.busy_timeout, done=whole)
            except OSError as error:
                errors.append(UndoError(path=swap.target, detail=error.strerror or str(error)))
            except KuramoriError as error:
                errors.append(error)
        if os.path.lexists(root):
            undone.append(root)
    for failure in errors:
        progress.warning(failure)
    return RestoredComponent(component.name, not errors, os.pathsep.join(target for target, _ in component.roots),
                             os.pathsep.join(undone), errors=tuple(errors))


def _undo_served(component: SwappedComponent, settings: ComponentSettings | None, now: datetime, again: bool,
                 progress: Progress) -> RestoredComponent:
    target = os.pathsep.join(served.database for served in component.served)
    try:
        aside = undo_served(component, settings, now, again=again)
    except KuramoriError as error:
        progress.warning(error)
        return RestoredComponent(component.name, False, target, errors=(error,))
    return RestoredComponent(component.name, True, target, os.pathsep.join(aside))


def _free_name(name: str) -> str:
    free, number = name, 1
    while os.path.lexists(free):
        number += 1
        free = f"{name}_{number}"
    return free


def _remove_empty_folders(path: str) -> None:
    """Remove folders that only held what went back, and nothing else."""
    if not os.path.isdir(path) or os.path.islink(path):
        return
    for folder, _folders, _files in os.walk(path, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def drop(journal: RestoreJournal, journals: RestoreJournals, components: Mapping[str, ComponentSettings]) -> int:
    """Remove for good what a restore kept; return how many things. It cannot be undone any more.

    Raises:
        UndoError: something cannot be removed; the rest can still be dropped or brought back.
    """
    count = 0
    for component in journal.components:
        count += drop_served(component, components.get(component.name))
        for _target, kept in component.roots:
            try:
                count += os.path.lexists(kept)
                remove_kept(kept)
            except OSError as error:
                raise UndoError(path=kept, detail=error.strerror or str(error)) from None
    journals.remove(journal.restore_id)
    return count
