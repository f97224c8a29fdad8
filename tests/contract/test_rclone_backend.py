"""The contract of stores, through an rclone of our own over its pipes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import BackendContract


@pytest.mark.exhaustive(except_each=7)
class TestRcloneBackend(BackendContract):
    """On rclone's storage in memory: whole files, at once; a new one with each start."""

    @pytest.fixture
    def backend(self, rclone: str, tmp_path: Path) -> Backend:
        access = StoreAccess({"PATH": os.defpath, "RCLONE_CONFIG": str(tmp_path / "rclone.conf")},
                             {"rclone.program": rclone})
        return open_backend("rclone::memory:files/repository", access)
