"""The contract, for folders on servers that are reached by SSH."""

from __future__ import annotations

import os
import secrets

import pytest

from kuramori.storage.backend import Backend
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import PlantableBackendContract
from samples.ssh_server import SshServer


class TestSftpBackend(PlantableBackendContract):
    @pytest.fixture
    def backend(self, ssh_server: SshServer) -> Backend:
        self._server = ssh_server
        self._folder = ssh_server.folder_for(secrets.token_hex(8))
        return open_backend(f"sftp:vault:{self._folder}", ssh_server.access())

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        os.chown(target, self._folder.stat().st_uid, self._folder.stat().st_gid)
