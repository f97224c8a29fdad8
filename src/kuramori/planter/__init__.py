"""The two classes of the smart-planter guide, standing on the manager and the scheduler.

``from kuramori.planter import BackupManager, BackupScheduler``; in a clone of the project also under
the guide's own module paths, ``src.backup.backup_manager`` and ``src.backup.backup_scheduler``.
"""

from __future__ import annotations

from kuramori.planter.backup_manager import BackupManager
from kuramori.planter.backup_scheduler import BackupScheduler

__all__ = ["BackupManager", "BackupScheduler"]
