"""Which repository was where, so that an empty mount point or another disk is not taken for it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

from kuramori.manager.state_files import read_state, write_state
from kuramori.settings.inspection import local_folder
from kuramori.settings.model import RepositorySettings
from kuramori.storage.backend import FileType

_LARGEST_CONFIG = 1 << 16


class KnownRepositories:
    """Which repository was where. One small file for each name."""

    def __init__(self, directory: Path) -> None:
        """Keep them in ``directory``, which is made when it is needed."""
        self._directory = directory

    def get(self, settings: RepositorySettings) -> str:
        """Return the id of the repository that was at this name and location, or an empty string."""
        return self._known(settings).get("id", "")

    def remember(self, settings: RepositorySettings, repository_id: str) -> None:
        """Note it, durably.

        Raises:
            StateError: the state folder cannot be written.
        """
        known = {"location": _fingerprint(settings.location), "id": repository_id,
                 "config": _config_fingerprint(settings) if repository_id else ""}
        if self._known(settings) != known:
            write_state(self._path(settings.name), known)

    def is_attached(self, settings: RepositorySettings) -> bool:
        """Tell whether the repository lies in its folder right now: its config, which nobody changes, is there and is
        the one that was there before. Needs no password, and looks at one small file."""
        found = _config_fingerprint(settings)
        return bool(found) and self._known(settings).get("config", "") in ("", found)

    def _known(self, settings: RepositorySettings) -> dict[str, str]:
        known = read_state(self._path(settings.name))
        if known.get("location") != _fingerprint(settings.location):
            return {}
        return {str(key): str(value) for key, value in known.items()}

    def _path(self, name: str) -> Path:
        return self._directory / f"{quote(name, safe='')}.json"


def _fingerprint(location: str) -> str:
    """Return what stands for a location, which may hold a password."""
    return hashlib.sha256(os.fsencode(location)).hexdigest()


def _config_fingerprint(settings: RepositorySettings) -> str:
    """Return what stands for the sealed config of a repository on this machine; empty where there is none."""
    folder = local_folder(settings.location)
    if folder is None:
        return ""
    try:
        with open(folder / FileType.CONFIG.value, "rb") as file:
            return hashlib.sha256(file.read(_LARGEST_CONFIG)).hexdigest()
    except OSError:
        return ""
