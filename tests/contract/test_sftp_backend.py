"""The contract, for folders on servers that are reached by SSH."""

from __future__ import annotations

import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from kuramori.errors import FileNotInStorageError, StorageRetryableError
from kuramori.storage.backend import CONFIG_HANDLE, Backend
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import PlantableBackendContract
from samples.ssh_server import FORGETS_FOLDERS_AFTER, RcloneSftpServer, SftpServer, SshServer


class _SftpContract(PlantableBackendContract):
    server: SftpServer

    @pytest.fixture
    def backend(self) -> Backend:
        name = secrets.token_hex(8)
        self.folder = self.server.folder_for(name)
        return open_backend(self.server.location(name), self.server.access())

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        owner = self.folder.stat()
        os.chown(target, owner.st_uid, owner.st_gid)


class TestOpenSsh(_SftpContract):
    @pytest.fixture(autouse=True)
    def _of_openssh(self, ssh_server: SshServer) -> None:
        self.server = ssh_server


class _InTwoSteps(_SftpContract):
    """A server that cannot put one file in the place of another in one step."""

    def test_a_file_that_is_replaced_is_seen_old_or_new_and_never_mixed(self, store: Backend) -> None:
        """For a moment there is no file, which whoever opens a repository just then is told."""
        versions = [bytes([letter]) * 50_000 for letter in b"ABCD"]
        with ThreadPoolExecutor(1) as pool:
            store.save(CONFIG_HANDLE, [versions[0]])
            writing = pool.submit(lambda: [store.save(CONFIG_HANDLE, [version]) for version in versions * 3])
            while not writing.done():
                with suppress(FileNotInStorageError, StorageRetryableError):
                    assert store.load(CONFIG_HANDLE) in versions
            writing.result()
        assert store.load(CONFIG_HANDLE) == versions[-1]


@pytest.mark.exhaustive(except_each=12)
class TestRclone(_InTwoSteps):
    @pytest.fixture(autouse=True)
    def _of_rclone(self, rclone_sftp_server: RcloneSftpServer) -> None:
        self.server = rclone_sftp_server

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        super().plant(backend, path, content)
        time.sleep(5 * FORGETS_FOLDERS_AFTER)


@pytest.mark.exhaustive
class TestServerWithoutExtensions(_InTwoSteps):
    @pytest.fixture(autouse=True)
    def _of_plain_server(self, plain_sftp_server: SshServer) -> None:
        self.server = plain_sftp_server
