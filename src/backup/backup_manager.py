"""``BackupManager`` where the smart-planter guide has it; it lives in :mod:`kuramori.planter`."""

from kuramori.planter.backup_manager import BackupManager

__all__ = ["BackupManager"]
