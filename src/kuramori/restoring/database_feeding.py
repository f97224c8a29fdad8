"""What feeding a database is asked and what it answers, whatever the server."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from kuramori.errors import N_, DatabaseDiffersError, KuramoriError, Phrase, UsageError
from kuramori.model.databases import DatabaseRecord
from kuramori.restoring.dump_feeding import StoredDump
from kuramori.sources.child_process import Check, never_gives_up
from kuramori.sources.dump_plan import dumped_database
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


def require_kept_name(name: str) -> None:
    """Refuse a name that :func:`kept_name` has not made: only what a restore has kept is ever dropped.

    Raises:
        UsageError
    """
    if _KEPT.search(name) is None:
        raise UsageError(detail=Phrase(N_("{name} is no database that a restore has kept"), name=name))


class DatabaseFeeding(ABC):
    """A :class:`StagedDatabase` on its way, whatever the server. One class for each kind of server fills it,
    exchanges it and drops it."""

    name_bytes: ClassVar[int]
    """How long a name may be on the server."""

    def __init__(self, stored: StoredDump, options: FeedOptions) -> None:
        """Nothing is done yet."""
        self._stored = stored
        self._options = options
        self._target = options.database or dumped_database(stored.path)
        self._new = NEW_PREFIX + secrets.token_hex(6)
        self._made = False
        """Whether the new database is there, and to be dropped unless it is put in place."""
        self._size = 0
        self._arrived: DatabaseRecord | None = None
        self._warnings: list[KuramoriError] = []

    @property
    def database(self) -> str:
        """The target."""
        return self._target

    @property
    def size_bytes(self) -> int:
        """Of the dump."""
        return self._size

    def choose_kept(self) -> str:
        """Return the name under which what is there would be kept; empty if there is nothing."""
        present = self._list_databases()
        if self._target not in present:
            return ""
        return kept_name(self._target, self._stored.repository.clock.now(), present, self.name_bytes)

    def swap(self, kept: str) -> FeedResult:
        """Put it in place."""
        assert self._arrived is not None
        self._exchange(kept)
        self._made = False
        return FeedResult(self._target, kept, self._arrived, self._options.record is not None, self._size,
                          tuple(self._warnings))

    @contextmanager
    def staged(self) -> Iterator[StagedDatabase]:
        """Fill it; at the end drop it unless it was put in place, also after an interruption. Where the
        server is away by then, it stays."""
        try:
            self._fill()
            yield self
        finally:
            if self._made:
                with suppress(KuramoriError):
                    self._drop(self._new)

    @abstractmethod
    def _list_databases(self) -> list[str]:
        """Return the names of all databases of the server."""

    @abstractmethod
    def _fill(self) -> None:
        """Make the new database, feed it and compare it."""

    @abstractmethod
    def _exchange(self, kept: str) -> None:
        """Let the new database take the target's place; keep what was there, if the name is not empty."""

    @abstractmethod
    def _drop(self, database: str) -> None:
        """Drop a database, whatever is in it."""


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
