"""The daemon's log on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from kuramori.cli.application import Application
from kuramori.cli.output import complain, local_text, to_json
from kuramori.cli.translation import translate as _
from kuramori.clock import Clock
from kuramori.errors import KuramoriError, Phrase
from kuramori.scheduling.reporting import Priority


class DaemonLog:
    """A :class:`kuramori.scheduling.reporting.Log`: lines for the journal with its priorities in front
    (sd-daemon(3)), with ``--json`` an object each, otherwise with the time."""

    def __init__(self, application: Application, clock: Clock) -> None:
        """Nothing is written yet."""
        self._json = application.json
        self._least = Priority.WARNING if application.quiet else Priority.INFO
        self._journal = "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()
        self._clock = clock

    def __call__(self, priority: Priority, text: Phrase | KuramoriError) -> None:
        """Write one line."""
        if priority > self._least:
            return
        line = text.text(_)
        if isinstance(text, KuramoriError) and (advice := text.advice_text(_)):
            line += f"; {advice}"
        if self._json:
            line = to_json({"message_type": "log", "time": self._clock.now().isoformat(timespec="seconds"),
                            "priority": priority.name.lower(), "message": line})
        else:
            line = f"<{int(priority)}>{line}" if self._journal else f"{local_text(self._clock.now())} {line}"
        with suppress(OSError, ValueError):  # whoever read it is gone, a terminal that was closed: work goes on
            complain(line)
            sys.stderr.flush()
