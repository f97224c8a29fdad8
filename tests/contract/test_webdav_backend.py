"""The contract of stores, over WebDAV with a real server."""

from __future__ import annotations

import itertools

import pytest
import urllib3

from kuramori.clock import SystemClock
from kuramori.storage.backend import Backend
from kuramori.storage.reaching import reach_store
from kuramori.testing.backend_contract import PlantableBackendContract
from samples.rclone_server import PASSWORD, USER, RcloneServer

_numbers = itertools.count()


@pytest.mark.exhaustive(except_each=3)
class TestWebdavBackend(PlantableBackendContract):
    """On ``rclone serve webdav`` with a folder."""

    # The standard has a server delete what a MOVE replaces (RFC 4918, 9.9.3): for a moment there is neither.
    test_a_file_that_is_replaced_is_seen_old_or_new_and_never_mixed = None

    @pytest.fixture
    def backend(self, webdav_server: RcloneServer) -> Backend:
        folder = f"contract-{next(_numbers)}/a b"
        self._url = webdav_server.url(folder.replace(" ", "%20"), login="")
        # Two that move to one name at once: the server tells the second to come back later (423).
        return reach_store("webdav:" + webdav_server.url(folder), clock=SystemClock())

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        """Put it there through the server, which remembers what it has listed."""
        headers = urllib3.make_headers(basic_auth=f"{USER}:{PASSWORD}")
        *folders, _name = path.split("/")
        with urllib3.PoolManager() as pool:
            for depth in range(len(folders)):
                pool.request("MKCOL", f"{self._url}/{'/'.join(folders[:depth + 1])}", headers=headers)
            assert pool.request("PUT", f"{self._url}/{path}", headers=headers, body=content).status in (201, 204)
