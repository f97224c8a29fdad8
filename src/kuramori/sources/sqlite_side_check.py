"""Checks a database in a thread of its own while its image is read.

Both read the same file under the lock of the one transaction. SQLite needs no Python for the check, so neither keeps
the other waiting; whoever has to wait for the end of the transaction does so hardly longer than without a check.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw

from kuramori.model.databases import DatabaseRecord
from kuramori.sources.sqlite_facts import examine
from kuramori.sources.sqlite_reading import Reading


class SideCheck:
    """A check that runs beside others' work. Used by one thread."""

    def __init__(self, reading: Reading) -> None:
        """Begin. The transaction must not end before :meth:`stop`.

        Args:
            reading: what it reads must be in its file (:attr:`Reading.is_in_its_file`).
        """
        self._path = Path(reading.path)
        self._identity = reading.identity
        self._stopped = False
        self.record: DatabaseRecord | None = None
        """What was found out, once it has ended; None still, if that could not be."""
        self._thread = threading.Thread(target=self._run, name="kuramori-check", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            record = examine(self._path, lambda: self._stopped)
            status = os.stat(self._path, follow_symlinks=False)
        except (apsw.Error, OSError):
            return  # whoever asks finds out by himself
        # Without the lock of the transaction somebody may have put another file in its place.
        if (status.st_dev, status.st_ino) == self._identity:
            self.record = record

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; tell whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Return when the check has come to its end or to a halt. May be called more than once."""
        self._stopped = True
        self._thread.join()
