"""Which snapshots this machine knows to be complete: all their blobs are in certain index files.

A backup looks every blob of an unchanged file up, so that lost ones are stored again. When it has finished, all blobs
of its snapshot are named by the index files of that moment. Index files never change: while all of them are still
there, so are the blobs, and the next backup need not look each of a million up. After a prune or a repair, which
replace index files, it looks again.

A note is a file in the local cache, sealed with the repository's key. It may be deleted, damaged or old at any time.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.ids import ID_LENGTH
from kuramori.storage.cache import cache_folder, make_cache_folder

_MOST_NOTES = 64
"""More snapshots are not the newest of anything."""
_LARGEST = 64 * 1024 * 1024


class CompleteSnapshots:
    """The notes about one repository. Nothing that goes wrong with them fails an operation."""

    def __init__(self, directory: Path, repository_id: str, key: MasterKey) -> None:
        """Use a folder of caches; it is made when a note is first written."""
        self._directory = str(directory)
        self._folder = cache_folder(self._directory, repository_id)
        self._notes = os.path.join(self._folder, "complete-snapshots")
        self._key = key

    def is_complete(self, snapshot: str, index_names: Collection[str]) -> bool:
        """Tell whether a snapshot is known to be complete.

        Args:
            snapshot: its whole id.
            index_names: of all index files that were read.
        """
        try:
            path = Path(self._notes, snapshot)
            if path.stat().st_size > _LARGEST:
                return False
            plain = self._key.open(path.read_bytes())
        except (OSError, OpenError):
            return False
        names = {plain[at : at + ID_LENGTH].hex() for at in range(ID_LENGTH, len(plain), ID_LENGTH)}
        # The name is in the note as well: its file may have been renamed.
        return plain[:ID_LENGTH].hex() == snapshot and names <= set(index_names)

    def note(self, snapshot: str, index_names: Collection[str], instead_of: str | None) -> None:
        """Note that all blobs of a snapshot are in these index files.

        Args:
            instead_of: another snapshot, which nobody will ask for any more.
        """
        sealed = self._key.seal(b"".join(map(bytes.fromhex, (snapshot, *sorted(index_names)))))
        path = os.path.join(self._notes, snapshot)
        try:
            make_cache_folder(self._directory, self._folder)
            os.makedirs(self._notes, mode=0o700, exist_ok=True)
            # Neither synced nor renamed: what is cut off does not open.
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(sealed)
            self._remove_old(instead_of)
        except OSError:
            return  # a full or read-only disk: the next backup looks again

    def _remove_old(self, instead_of: str | None) -> None:
        if instead_of is not None:
            with suppress(OSError):
                os.unlink(os.path.join(self._notes, instead_of))
        found = list(os.scandir(self._notes))
        if len(found) > _MOST_NOTES:
            for entry in sorted(found, key=_by_age)[:-_MOST_NOTES]:
                os.unlink(entry.path)


def _by_age(entry: os.DirEntry[str]) -> int:
    return entry.stat(follow_symlinks=False).st_mtime_ns
