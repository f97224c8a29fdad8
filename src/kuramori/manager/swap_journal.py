"""What a restore in place is about to replace, written down before it begins.

Whatever happens then, a kill at any step too, this says where the old things are: by their inode
numbers, which no rename changes. ``kuramori restore --undo`` works by nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kuramori.errors import StateError
from kuramori.manager.state_files import read_state, write_state
from kuramori.storage import durable_file

NEW, EXCHANGED, REMOVED, SQLITE = "new", "exchanged", "removed", "sqlite"
"""Kinds of swaps: nothing was there; two names change places; something that the run does not have
goes; a database is replaced through SQLite."""
SWAPPING, DONE, UNDOING, UNDOING_DONE, UNDONE = "swapping", "done", "undoing", "undoing-done", "undone"
"""States of a restore. Being undone, it matters whether it had come to its end. What is undone waits
only for what is not needed any more to be removed."""


class FileMark(msgspec.Struct, frozen=True):
    """What makes a file or folder that one, whatever it is called."""

    device: int
    inode: int


NO_MARK = FileMark(0, 0)


def mark_of(path: str) -> FileMark:
    """Return the mark of what stands at a path; :data:`NO_MARK` if nothing does."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return NO_MARK
    return FileMark(status.st_dev, status.st_ino)


class Swap(msgspec.Struct):
    """One thing that is replaced."""

    kind: str
    target: str
    """Where it is to be."""
    staged: str
    """Where the restored one waits; with ``removed`` nothing does."""
    kept: str
    """Where the old one is kept."""
    old: FileMark = NO_MARK
    new: FileMark = NO_MARK


class ServedDatabase(msgspec.Struct, frozen=True):
    """A database on a server that was restored."""

    database: str
    kept: str
    """The database that has what was there before; empty if nothing was."""


class SwappedComponent(msgspec.Struct):
    """The swaps of one component."""

    name: str
    kind: str
    swaps: list[Swap]
    done: bool = False
    """Whether all of them were done; known when the restore came to its end."""
    roots: list[tuple[str, str]] = []
    """Each target as a whole, and where all that is replaced in it is kept."""
    busy_timeout: float = 60.0
    """Seconds to wait for somebody who holds a database."""
    served: list[ServedDatabase] = []
    """Databases on a server; written down as soon as each is in its place."""
    stagings: list[str] = []
    """The folders where what was restored waited; nothing else was ever in them."""


class RestoreJournal(msgspec.Struct):
    """One restore in place."""

    restore_id: str
    time: str
    """ISO 8601 with the offset."""
    job: str
    run: str
    repository: str
    state: str
    components: list[SwappedComponent] = []


class RestoreJournals:
    """The journals of a state folder: one file for each restore that can be undone."""

    def __init__(self, directory: Path) -> None:
        """Nothing is made before the first is written."""
        self._directory = directory

    def write(self, journal: RestoreJournal) -> None:
        """Write a journal durably, in place of the one with the same id.

        Raises:
            StateError: it cannot be written; then nothing may be replaced.
        """
        value: dict[str, Any] = msgspec.to_builtins(journal)
        write_state(self._path(journal.restore_id), value)

    def all(self) -> list[RestoreJournal]:
        """Return every journal that makes sense, the oldest first."""
        return sorted(self._read(), key=lambda journal: (journal.time, journal.restore_id))

    def remove(self, restore_id: str) -> None:
        """Remove a journal, durably; none is fine.

        Raises:
            StateError: it cannot be removed.
        """
        path = self._path(restore_id)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                durable_file.sync_folder(str(path.parent))
        except OSError as error:
            raise StateError(path=str(path), detail=error.strerror or str(error)) from None

    def _path(self, restore_id: str) -> Path:
        return self._directory / f"{restore_id}.json"

    def _read(self) -> Iterator[RestoreJournal]:
        try:
            names = sorted(path for path in self._directory.iterdir() if path.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StateError(path=str(self._directory), detail=error.strerror or str(error)) from None
        for path in names:
            try:
                journal = msgspec.convert(read_state(path), RestoreJournal)
            except (msgspec.ValidationError, StateError):
                continue
            if path.stem == journal.restore_id:
                yield journal
