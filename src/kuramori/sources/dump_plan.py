"""What the manager is given to save a component that is made of streams."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from kuramori.errors import KuramoriError
from kuramori.model.databases import DatabaseRecord
from kuramori.sources.stream_source import StreamSource


def _no_records() -> tuple[DatabaseRecord, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class DumpPlan:
    """Streams that belong together, and what is known of them afterwards.

    Hand :attr:`streams` to ``BackupOptions.streams``. When the snapshot is there, ask :attr:`finish`.
    """

    streams: tuple[StreamSource, ...]
    databases: tuple[str, ...] = ()
    """Their names, in the order of their streams."""
    warnings: tuple[KuramoriError, ...] = ()
    """What the user should know though all went well."""
    finish: Callable[[], tuple[DatabaseRecord, ...]] = _no_records
    """Returns what can prove a restore, one record for each database. Call it once, after the streams
    were read, inside the plan's context."""


def dump_path(folder: str, database: str, extension: str) -> bytes:
    """Return the path in the snapshot of a database's dump: ``/postgres/databases/shop.dump``. Bytes that a
    file name cannot hold are written as in URLs."""
    name = "".join(quote(c, safe="") if c in "/%\\\0" or not c.isprintable() else c for c in database)
    if name.startswith("."):
        name = "%2E" + name[1:]
    return os.fsencode(f"/{folder}/databases/{name}{extension}")


def dumped_database(path: bytes | str) -> str:
    """Return the database whose dump has that path in the snapshot."""
    text = os.fsdecode(path)
    name = text.rpartition("/")[2]
    return unquote(name.rpartition(".")[0])
