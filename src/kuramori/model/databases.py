"""What was found out about a database when it was saved: by it a restore can be proven."""

from __future__ import annotations

import msgspec


class TableCount(msgspec.Struct, frozen=True):
    """One table and how many rows it has."""

    name: str
    rows: int


class DatabaseRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One database of a snapshot, at the instant that the snapshot holds."""

    path: str
    """Its path in the snapshot."""
    kind: str
    """``sqlite``, ``postgres`` or ``mysql``."""
    schema_hash: str = ""
    """SHA-256 of the schema's text, hexadecimal; empty where it was not looked at."""
    tables: tuple[TableCount, ...] = ()
    """Sorted by name."""
    integrity: str = ""
    """``ok``, or what SQLite's integrity_check said first; empty where it was not run."""
    foreign_keys: str = ""
    """``ok``, or the first violation that foreign_key_check found."""
    page_size: int = 0
    page_count: int = 0
    server_version: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing was found wrong."""
        return self.integrity in ("", "ok") and self.foreign_keys in ("", "ok")
