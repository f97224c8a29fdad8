"""The history of operations cannot be kept or read."""

from __future__ import annotations

from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError


class HistoryError(KuramoriError):
    """The history's file fails. It never stops a backup: it is said, and work goes on."""


class HistoryUnavailableError(HistoryError):
    """The file cannot be read or written now."""

    message = N_("the history {path!s} cannot be used: {detail}")
    advice = N_("backups are made all the same; see that the folder can be written and has space left")


class HistoryDamagedError(HistoryError):
    """The file is no database, or a damaged one; it was moved aside and a new one began."""

    message = N_("the history {path!s} was damaged; it is kept as {kept!s}, and a new one was begun")
    advice = N_("backups are not affected; what ran before is known to the repositories")


class HistoryTooNewError(HistoryError):
    """A newer kuramori wrote the file."""

    message = N_("the history {path!s} was written by a newer version of kuramori and is left as it is")
    advice = N_("use that newer version; backups are made all the same")


class NoSuchOperationError(UsageError):
    """No operation has that number."""

    message = N_("there is no operation {number} in the history")
    advice = N_("list them with: kuramori history")
