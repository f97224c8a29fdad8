"""The module paths of the smart-planter guide: ``src.backup.backup_manager`` and ``src.backup.backup_scheduler``."""
