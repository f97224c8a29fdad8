"""kuramori: backups in the public restic format, as a library and as a command.

The names of ``__all__`` are the library; they are imported when they are first used, so that
``import kuramori`` is quick. Nothing here prints, reads the environment or exits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
    from kuramori.errors import KuramoriError
    from kuramori.maintenance.check import CheckOptions, CheckResult, check
    from kuramori.maintenance.copy import CopyOptions, CopyResult, copy_snapshots
    from kuramori.maintenance.prune import PruneOptions, PruneResult, prune
    from kuramori.maintenance.repair_index import RepairIndexOptions, RepairIndexResult, repair_index
    from kuramori.model.snapshot import Snapshot, StoredSnapshot
    from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
    from kuramori.repository.repository import Repository
    from kuramori.repository.snapshots import SnapshotFilter, find_snapshot, load_snapshots
    from kuramori.restoring.jobs import RestoreOptions, RestoreResult
    from kuramori.restoring.restore import restore
    from kuramori.secret import Secret
    from kuramori.storage.location import open_backend

_HOMES = {
    "BackupOptions": "kuramori.archiving.backup",
    "BackupResult": "kuramori.archiving.backup",
    "CheckOptions": "kuramori.maintenance.check",
    "CheckResult": "kuramori.maintenance.check",
    "CopyOptions": "kuramori.maintenance.copy",
    "CopyResult": "kuramori.maintenance.copy",
    "CreateOptions": "kuramori.repository.opening",
    "KuramoriError": "kuramori.errors",
    "OpenOptions": "kuramori.repository.opening",
    "PruneOptions": "kuramori.maintenance.prune",
    "PruneResult": "kuramori.maintenance.prune",
    "RepairIndexOptions": "kuramori.maintenance.repair_index",
    "RepairIndexResult": "kuramori.maintenance.repair_index",
    "Repository": "kuramori.repository.repository",
    "RestoreOptions": "kuramori.restoring.jobs",
    "RestoreResult": "kuramori.restoring.jobs",
    "Secret": "kuramori.secret",
    "Snapshot": "kuramori.model.snapshot",
    "SnapshotFilter": "kuramori.repository.snapshots",
    "StoredSnapshot": "kuramori.model.snapshot",
    "back_up": "kuramori.archiving.backup",
    "check": "kuramori.maintenance.check",
    "copy_snapshots": "kuramori.maintenance.copy",
    "create_repository": "kuramori.repository.opening",
    "find_snapshot": "kuramori.repository.snapshots",
    "load_snapshots": "kuramori.repository.snapshots",
    "open_backend": "kuramori.storage.location",
    "open_repository": "kuramori.repository.opening",
    "prune": "kuramori.maintenance.prune",
    "repair_index": "kuramori.maintenance.repair_index",
    "restore": "kuramori.restoring.restore",
}

__all__ = [
    "BackupOptions", "BackupResult", "CheckOptions", "CheckResult", "CopyOptions", "CopyResult", "CreateOptions",
    "KuramoriError", "OpenOptions", "PruneOptions", "PruneResult", "RepairIndexOptions", "RepairIndexResult",
    "Repository", "RestoreOptions", "RestoreResult", "Secret", "Snapshot", "SnapshotFilter", "StoredSnapshot",
    "back_up", "check", "copy_snapshots", "create_repository", "find_snapshot", "load_snapshots", "open_backend",
    "open_repository", "prune", "repair_index", "restore",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
