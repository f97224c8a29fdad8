"""kuramori: backups in the public restic format, as a library and as a command.

The names of ``__all__`` are the library; they are imported when they are first used, so that
``import kuramori`` is quick. Nothing here prints, reads the environment or exits.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # without the module of that name, which takes 10 ms to import
if TYPE_CHECKING:
    from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
    from kuramori.archiving.databases import DatabaseOptions
    from kuramori.errors import KuramoriError
    from kuramori.maintenance.check import CheckOptions, CheckResult, check
    from kuramori.maintenance.copy import CopyOptions, CopyResult, copy_snapshots
    from kuramori.maintenance.forget import ForgetOptions, ForgetResult, forget
    from kuramori.maintenance.migrate import MigrateOptions, MigrateResult, migrate
    from kuramori.maintenance.prune import PruneOptions, PruneResult, prune
    from kuramori.maintenance.recover import RecoverOptions, RecoverResult, recover
    from kuramori.maintenance.repair_blobs import RepairBlobsOptions, RepairBlobsResult, repair_blobs
    from kuramori.maintenance.repair_index import RepairIndexOptions, RepairIndexResult, repair_index
    from kuramori.maintenance.repair_packs import RepairPacksOptions, RepairPacksResult, repair_packs
    from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, RepairSnapshotsResult, repair_snapshots
    from kuramori.maintenance.rewrite import IncludeOptions, RewriteOptions, RewriteResult, rewrite
    from kuramori.maintenance.rolling_check import RollingCheckOptions, RollingCheckResult, rolling_check
    from kuramori.maintenance.snapshot_replacing import SnapshotSelection
    from kuramori.maintenance.tag import TagOptions, TagResult, tag_snapshots
    from kuramori.model.calendar import CalendarDuration
    from kuramori.model.databases import DatabaseRecord
    from kuramori.model.retention import UNLIMITED, Grouping, RetentionPolicy
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
    "CalendarDuration": "kuramori.model.calendar",
    "CheckOptions": "kuramori.maintenance.check",
    "CheckResult": "kuramori.maintenance.check",
    "CopyOptions": "kuramori.maintenance.copy",
    "CopyResult": "kuramori.maintenance.copy",
    "CreateOptions": "kuramori.repository.opening",
    "DatabaseOptions": "kuramori.archiving.databases",
    "DatabaseRecord": "kuramori.model.databases",
    "ForgetOptions": "kuramori.maintenance.forget",
    "ForgetResult": "kuramori.maintenance.forget",
    "Grouping": "kuramori.model.retention",
    "IncludeOptions": "kuramori.maintenance.rewrite",
    "KuramoriError": "kuramori.errors",
    "MigrateOptions": "kuramori.maintenance.migrate",
    "MigrateResult": "kuramori.maintenance.migrate",
    "OpenOptions": "kuramori.repository.opening",
    "PruneOptions": "kuramori.maintenance.prune",
    "PruneResult": "kuramori.maintenance.prune",
    "RecoverOptions": "kuramori.maintenance.recover",
    "RecoverResult": "kuramori.maintenance.recover",
    "RepairBlobsOptions": "kuramori.maintenance.repair_blobs",
    "RepairBlobsResult": "kuramori.maintenance.repair_blobs",
    "RepairIndexOptions": "kuramori.maintenance.repair_index",
    "RepairIndexResult": "kuramori.maintenance.repair_index",
    "RepairPacksOptions": "kuramori.maintenance.repair_packs",
    "RepairPacksResult": "kuramori.maintenance.repair_packs",
    "RepairSnapshotsOptions": "kuramori.maintenance.repair_snapshots",
    "RepairSnapshotsResult": "kuramori.maintenance.repair_snapshots",
    "Repository": "kuramori.repository.repository",
    "RestoreOptions": "kuramori.restoring.jobs",
    "RestoreResult": "kuramori.restoring.jobs",
    "RetentionPolicy": "kuramori.model.retention",
    "RewriteOptions": "kuramori.maintenance.rewrite",
    "RewriteResult": "kuramori.maintenance.rewrite",
    "RollingCheckOptions": "kuramori.maintenance.rolling_check",
    "RollingCheckResult": "kuramori.maintenance.rolling_check",
    "Secret": "kuramori.secret",
    "Snapshot": "kuramori.model.snapshot",
    "SnapshotFilter": "kuramori.repository.snapshots",
    "SnapshotSelection": "kuramori.maintenance.snapshot_replacing",
    "StoredSnapshot": "kuramori.model.snapshot",
    "TagOptions": "kuramori.maintenance.tag",
    "TagResult": "kuramori.maintenance.tag",
    "UNLIMITED": "kuramori.model.retention",
    "back_up": "kuramori.archiving.backup",
    "check": "kuramori.maintenance.check",
    "copy_snapshots": "kuramori.maintenance.copy",
    "create_repository": "kuramori.repository.opening",
    "find_snapshot": "kuramori.repository.snapshots",
    "forget": "kuramori.maintenance.forget",
    "load_snapshots": "kuramori.repository.snapshots",
    "migrate": "kuramori.maintenance.migrate",
    "open_backend": "kuramori.storage.location",
    "open_repository": "kuramori.repository.opening",
    "prune": "kuramori.maintenance.prune",
    "recover": "kuramori.maintenance.recover",
    "repair_blobs": "kuramori.maintenance.repair_blobs",
    "repair_index": "kuramori.maintenance.repair_index",
    "repair_packs": "kuramori.maintenance.repair_packs",
    "repair_snapshots": "kuramori.maintenance.repair_snapshots",
    "restore": "kuramori.restoring.restore",
    "rewrite": "kuramori.maintenance.rewrite",
    "rolling_check": "kuramori.maintenance.rolling_check",
    "tag_snapshots": "kuramori.maintenance.tag",
}

__all__ = [
    "UNLIMITED",
    "BackupOptions",
    "BackupResult",
    "CalendarDuration",
    "CheckOptions",
    "CheckResult",
    "CopyOptions",
    "CopyResult",
    "CreateOptions",
    "DatabaseOptions",
    "DatabaseRecord",
    "ForgetOptions",
    "ForgetResult",
    "Grouping",
    "IncludeOptions",
    "KuramoriError",
    "MigrateOptions",
    "MigrateResult",
    "OpenOptions",
    "PruneOptions",
    "PruneResult",
    "RecoverOptions",
    "RecoverResult",
    "RepairBlobsOptions",
    "RepairBlobsResult",
    "RepairIndexOptions",
    "RepairIndexResult",
    "RepairPacksOptions",
    "RepairPacksResult",
    "RepairSnapshotsOptions",
    "RepairSnapshotsResult",
    "Repository",
    "RestoreOptions",
    "RestoreResult",
    "RetentionPolicy",
    "RewriteOptions",
    "RewriteResult",
    "RollingCheckOptions",
    "RollingCheckResult",
    "Secret",
    "Snapshot",
    "SnapshotFilter",
    "SnapshotSelection",
    "StoredSnapshot",
    "TagOptions",
    "TagResult",
    "back_up",
    "check",
    "copy_snapshots",
    "create_repository",
    "find_snapshot",
    "forget",
    "load_snapshots",
    "migrate",
    "open_backend",
    "open_repository",
    "prune",
    "recover",
    "repair_blobs",
    "repair_index",
    "repair_packs",
    "repair_snapshots",
    "restore",
    "rewrite",
    "rolling_check",
    "tag_snapshots",
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
