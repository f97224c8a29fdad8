"""Which key opened a repository last, so that the next run asks the store for this one and lists none.

A name of a key file is no secret. It is kept beside the caches, by the hash of the sealed config: the repository's id
is known only when it is open. May be deleted at any time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kuramori.ids import hash_id, is_hex_id

_FOLDER = "last-keys"
_NAME_BYTES = 64


class LastKeys:
    """A small file for each repository. Nothing that goes wrong with it fails an operation."""

    def __init__(self, directory: Path) -> None:
        """Keep them below ``directory``, the folder of all caches."""
        self._folder = directory / _FOLDER

    def get(self, sealed_config: bytes) -> str:
        """Return the name of the key that opened the repository with this config last; empty if nobody knows."""
        try:
            with open(self._path(sealed_config), "rb") as file:
                name = file.read(_NAME_BYTES + 1).decode("ascii", "replace")
        except OSError:
            return ""
        return name if is_hex_id(name) else ""

    def remember(self, sealed_config: bytes, name: str) -> None:
        """Keep the name of a key. Nothing is written where it is the same as before."""
        if self.get(sealed_config) == name:
            return
        path = self._path(sealed_config)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_text(name, encoding="ascii")
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, sealed_config: bytes) -> Path:
        return self._folder / hash_id(sealed_config).hex()
