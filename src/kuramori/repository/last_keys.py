"""Which key opened a repository last, so that the next run asks the store for this one and lists none.

A name of a key file is no secret. It is kept beside the caches, by the hash of the sealed config (the repository's id
is known only when it is open), and by that of its location, so that a key can be asked for together with the config.
May be deleted at any time.
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
        return self._read(self._path(sealed_config))

    def guess(self, location: str) -> str:
        """Return the name of the key that opened what was at a location last; empty if nobody knows. Another repository
        may be there now."""
        return self._read(self._path(location.encode("utf-8", "surrogateescape")))

    def _read(self, path: Path) -> str:
        try:
            with open(path, "rb") as file:
                name = file.read(_NAME_BYTES + 1).decode("ascii", "replace")
        except OSError:
            return ""
        return name if is_hex_id(name) else ""

    def remember(self, sealed_config: bytes, location: str, name: str) -> None:
        """Keep the name of a key. Nothing is written where it is the same as before."""
        for about in (sealed_config, location.encode("utf-8", "surrogateescape")):
            path = self._path(about)
            if self._read(path) != name:
                self._write(path, name)

    def _write(self, path: Path, name: str) -> None:
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_text(name, encoding="ascii")
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, about: bytes) -> Path:
        return self._folder / hash_id(about).hex()
