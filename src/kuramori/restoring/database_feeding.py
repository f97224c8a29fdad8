"""What feeding a database is asked and what it answers, whatever the server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from kuramori.errors import N_, DatabaseDiffersError, KuramoriError, Phrase
from kuramori.model.databases import DatabaseRecord
from kuramori.sources.child_process import Check, never_gives_up
from kuramori.sources.server_address import ServerAddress

NEW_PREFIX = "kuramori_new_"
"""Databases of that name are being filled. One that is left was left by a process that was killed."""

_KEPT = re.compile(r"_(before|undone)_\d{8}_\d{6}(_\d+)?$")
_SHOWN_DIFFERENCES = 5


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """Where a dump is to go."""

    address: ServerAddress
    """The server; its ``database`` does not matter."""
    database: str = ""
    """Empty for the one that the dump is of."""
    record: DatabaseRecord | None = None
    """What was found out when it was saved; what arrives is compared with it."""
    disconnect: bool = False
    """End the sessions of those who use the database, instead of refusing."""
    program_folders: Sequence[Path] | None = None
    """Where PostgreSQL's programs are, besides ``PATH``; None for where distributions put them."""
    check: Check = never_gives_up
    """Called often; raises to give up. Until the swap nothing has changed then."""


@dataclass(frozen=True, slots=True)
class FeedResult:
    """What came of it."""

    database: str
    """Its name on the server."""
    kept: str
    """The database that has what was there before; empty if there was none."""
    record: DatabaseRecord
    """What arrived."""
    verified: bool
    """Whether there was something to compare it with. It is equal, or there is no result."""
    size_bytes: int
    """Of the dump."""
    warnings: tuple[KuramoriError, ...] = ()
    """What belongs to the database and is not as it was."""


class StagedDatabase(Protocol):
    """A dump that lies, compared with its record, in a new database beside its target."""

    @property
    def database(self) -> str:
        """The target."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of the dump."""
        ...

    def choose_kept(self) -> str:
        """Return the name under which what is there would be kept; empty if there is nothing."""
        ...

    def swap(self, kept: str) -> FeedResult:
        """Put it in place. Call it once.

        Args:
            kept: what :meth:`choose_kept` said.

        Raises:
            DatabaseInUseError, DatabaseServerError: what was there is as it was.
        """
        ...


def kept_name(database: str, moment: datetime, taken: Sequence[str], limit: int, word: str = "before") -> str:
    """Return a free name for what was there before.

    Args:
        limit: bytes that a name may have on the server.
        word: ``before`` or ``undone``.
    """
    for number in range(1, 10_000):
        ending = f"_{word}_{moment:%Y%m%d_%H%M%S}" + (f"_{number}" if number > 1 else "")
        stem = _KEPT.sub("", database).encode()[: limit - len(ending)].decode("utf-8", "ignore")
        if stem + ending not in taken:
            return stem + ending
    raise AssertionError("ten thousand restores in one second")


def is_kept_name(name: str) -> bool:
    """Tell whether :func:`kept_name` made that name: only such a database is ever dropped."""
    return _KEPT.search(name) is not None


def compare_records(database: str, saved: DatabaseRecord, arrived: DatabaseRecord, with_schema: bool) -> None:
    """Compare what arrived with what was saved.

    Args:
        with_schema: whether the two hashes of the schema can be compared.

    Raises:
        DatabaseDiffersError: they are not the same.
    """
    before = {table.name: table.rows for table in saved.tables}
    now = {table.name: table.rows for table in arrived.tables}
    differences = [
        Phrase(N_("{table} has {found} rows instead of {rows}"), table=name, found=now[name], rows=rows)
        if name in now else Phrase(N_("{table} is missing"), table=name)
        for name, rows in before.items() if now.get(name) != rows]
    if differences:
        raise DatabaseDiffersError(path=database, detail=tuple(differences[:_SHOWN_DIFFERENCES]))
    if with_schema and saved.schema_hash and arrived.schema_hash and saved.schema_hash != arrived.schema_hash:
        raise DatabaseDiffersError(path=database, detail=N_("the schema is not the same"))
