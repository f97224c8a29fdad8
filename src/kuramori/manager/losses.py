"""Sources that are suspicious: gone, suddenly empty, or a fraction of what they were.

An unmounted disk looks like an empty folder. Saving that would look like success, and cleanups
would in time remove what is really there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kuramori.errors import N_, SourceEmptiedError, SourceGoneError, SourceShrunkError
from kuramori.manager.manifest import ManifestComponent
from kuramori.model.snapshot import SnapshotSummary
from kuramori.settings.model import ComponentSettings


def missing_sources(component: ComponentSettings) -> list[SourceGoneError]:
    """Return an error for every source that is not there."""
    return [SourceGoneError(path=str(path)) for path in component.sources if not _is_there(path)]


def _is_there(path: Path) -> bool:
    try:
        os.stat(path)  # a link that leads nowhere is a source that is gone
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # not allowed, or a disk that fails: reading it will say so
    return True


def loss_judge(component: ComponentSettings, last: ManifestComponent | None, run: str,
               accept: bool) -> Callable[[SnapshotSummary], None]:
    """Return what is asked before a snapshot of a component is written.

    Args:
        component: says how much may be lost.
        last: what was saved whole the last time; None if nothing ever was.
        run: the name of that run.
        accept: let everything through.

    Returns:
        A function that raises :class:`SourceEmptiedError` or :class:`SourceShrunkError`.
    """

    def judge(summary: SnapshotSummary) -> None:
        if accept or last is None or component.max_loss >= 1:
            return
        path = next(map(str, component.sources), component.name)
        files, size = summary.total_files_processed, summary.total_bytes_processed
        if files == 0 < last.files:
            raise SourceEmptiedError(path=path, before=last.files, run=run)
        for what, before, now in ((N_("files"), last.files, files), (N_("bytes"), last.size_bytes, size)):
            if before - now > component.max_loss * before:
                raise SourceShrunkError(path=path, what=what, run=run, before=before, now=now,
                                        percent=100 * (before - now) // before)

    return judge
