"""What the classes of the smart-planter guide were asked that makes no sense."""

from __future__ import annotations

from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_


class PlanterSettingsError(UsageError):
    """``backup_settings`` or ``schedule_settings`` hold something that cannot be meant."""

    message = N_("the settings make no sense: {detail}")
    advice = N_("nothing was done; correct them and try again")


class FolderBackupError(UsageError):
    """A plain folder backup, as the guide's own code made it, cannot be used."""

    message = N_("the folder backup {name!s} cannot be used: {detail}")
