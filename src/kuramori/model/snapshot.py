"""A snapshot: one state of some paths at one time (format section 2.6)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kuramori.errors import N_
from kuramori.model.json import decode_json, go_json
from kuramori.model.times import parse_datetime, parse_nanoseconds


class SnapshotSummary(msgspec.Struct, kw_only=True):
    """What a backup did; always written whole."""

    backup_start: str
    backup_end: str
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    data_added: int = 0
    """Bytes before compression."""
    data_added_packed: int = 0
    """Bytes as stored."""
    total_files_processed: int = 0
    total_bytes_processed: int = 0


class Snapshot(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The JSON of a snapshot file. The order of the fields is the order in the file."""

    time: str
    parent: str | None = None
    tree: str
    paths: list[str]
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] | None = None
    tags: list[str] | None = None
    original: str | None = None
    program_version: str = ""
    summary: SnapshotSummary | None = None

    @property
    def time_nanoseconds(self) -> int:
        """The snapshot's time, in nanoseconds since 1970-01-01 UTC."""
        return parse_nanoseconds(self.time)

    def has_tags(self, wanted: Iterable[str]) -> bool:
        """Tell whether it has all of these tags. An empty one stands for having none, and where that
        is so, those behind it are not looked at (restic's rule)."""
        own = self.tags or ()
        for tag in wanted:
            if not tag and not own:
                return True
            if tag not in own:
                return False
        return True


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot and the id of the file it lies in."""

    id: str
    snapshot: Snapshot

    @property
    def short_id(self) -> str:
        """The first eight digits."""
        return self.id[:8]


_DECODER = msgspec.json.Decoder(Snapshot)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the JSON of a snapshot (no trailing newline)."""
    return go_json(snapshot)


def decode_snapshot(document: bytes) -> Snapshot:
    """Return the snapshot of a JSON document.

    Raises:
        ValueError: it is none, its time is malformed or its tree is no id.
    """
    snapshot = decode_json(_DECODER, document)
    parse_datetime(snapshot.time)
    if len(snapshot.tree) != 64 or bytes.fromhex(snapshot.tree).hex() != snapshot.tree:
        raise ValueError(N_("the tree of the snapshot is not an id"))
    return snapshot
