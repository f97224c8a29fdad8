"""The contract, for folders."""

from pathlib import Path

import pytest

from kuramori.storage.backend import Backend
from kuramori.storage.local import LocalBackend
from kuramori.testing.backend_contract import PlantableBackendContract


class TestLocalBackend(PlantableBackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return LocalBackend(tmp_path / "repository")

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        target = Path(backend.location, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
