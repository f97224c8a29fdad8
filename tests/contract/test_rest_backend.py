"""The contract of stores, over restic's REST protocol with a real server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from kuramori.storage.backend import Backend
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import BackendContract, PlantableBackendContract
from samples.rclone_server import RcloneServer

_numbers = itertools.count()


class TestRestBackend(BackendContract):
    """On ``rclone serve restic``, which stores in memory: whole files, at once."""

    @pytest.fixture
    def backend(self, rest_server_in_memory: RcloneServer) -> Backend:
        return open_backend("rest:" + rest_server_in_memory.url(f"contract-{next(_numbers)}"))


class TestRestBackendOnFolder:
    """On the same with a folder, past which strange files can be planted. It writes over files that are there, so that
    what the contract says of replacing is not to be had from it."""

    test_strange_files = PlantableBackendContract.test_what_is_no_repository_file_is_not_listed
    test_what_is_there_already_is_found = PlantableBackendContract.test_what_is_there_already_is_found

    @pytest.fixture
    def store(self, rest_server: RcloneServer) -> Iterator[Backend]:
        self._files = rest_server.files / f"planted-{next(_numbers)}"
        store = open_backend("rest:" + rest_server.url(self._files.name))
        store.create()
        yield store
        store.close()

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        file = self._files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
