"""``BackupScheduler`` where the smart-planter guide has it; it lives in :mod:`kuramori.planter`."""

import sys
import time

from kuramori.planter.backup_scheduler import BackupScheduler

__all__ = ["BackupScheduler"]

# The guide's second test command calls time.sleep without importing time. Its commands shall run as they
# are written, so a program that was typed on the command line finds the module there.
_typed = sys.modules.get("__main__")
if _typed is not None and not hasattr(_typed, "__file__"):
    vars(_typed).setdefault("time", time)
