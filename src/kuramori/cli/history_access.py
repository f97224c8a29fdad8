"""From the command line to the history, for those who only look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kuramori.errors import N_

if TYPE_CHECKING:
    from kuramori.clock import Clock
    from kuramori.history.history import History
    from kuramori.settings.model import Settings

KINDS = {
    "backup": N_("backup"), "cleanup": N_("cleanup"), "restore": N_("restore"), "copy": N_("copy"),
    "check": N_("check"), "proof": N_("proof"), "daemon": N_("daemon"),
}
"""What was done, in words (values of ``OperationKind``)."""
STATES = {
    "running": N_("runs"), "complete": N_("complete"), "partial": N_("not complete"), "failed": N_("failed"),
    "interrupted": N_("interrupted"), "unfinished": N_("cut off"), "damaged": N_("damage found"),
}
"""How it ended, in words (values of ``OperationState``, and of ``DueState.problem``)."""


@contextmanager
def open_history(settings: Settings, clock: Clock) -> Iterator[History]:
    """Give the history of the settings' state directory for a ``with`` block. Looking needs all of it:

    Raises:
        HistoryError: at the end of the block, if the file could not be read.
    """
    from kuramori.history.history import History, history_path

    history = History(history_path(settings.state_directory), clock)
    try:
        history.mark_unfinished()
        yield history
        if history.problems:
            raise history.problems[0]
    finally:
        history.close()
