"""Restored databases against what was recorded when they were saved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from kuramori.errors import DatabaseDiffersError
from kuramori.manager.staging import Staged
from kuramori.manager.swapping import is_live_database
from kuramori.model.databases import DatabaseRecord
from kuramori.restoring.database_feeding import compare_records
from kuramori.sources.sqlite_facts import examine

_SQLITE = "sqlite"


def _within(staged: Staged, records: Sequence[DatabaseRecord]) -> Iterator[tuple[DatabaseRecord, str]]:
    """Yield the SQLite databases of what was staged, each with its path below it; empty for itself."""
    top = staged.placement.path.rstrip("/")
    for record in records:
        if record.kind == _SQLITE and (record.path == top or record.path.startswith(top + "/")):
            yield record, record.path[len(top):]


def prove_databases(staged: Staged, records: Sequence[DatabaseRecord]) -> None:
    """Compare each restored database with its record: checks, schema, rows of every table.

    Raises:
        DatabaseDiffersError: one is not what was saved.
    """
    for record, below in _within(staged, records):
        try:
            arrived = examine(Path(staged.path + below))
        except apsw.Error as error:
            raise DatabaseDiffersError(path=record.path, detail=str(error)) from None
        if arrived.integrity != record.integrity:
            raise DatabaseDiffersError(path=record.path, detail=arrived.integrity)
        compare_records(record.path, record, arrived, with_schema=True)


def live_databases(staged: Staged, records: Sequence[DatabaseRecord]) -> frozenset[str]:
    """Return the paths of databases that stand where one was restored: they are replaced through SQLite."""
    target = staged.placement.target
    candidates = {"", *(below for _, below in _within(staged, records))}
    return frozenset(os.path.normpath(target + below) for below in candidates
                     if is_live_database(target + below) and is_live_database(staged.path + below))
