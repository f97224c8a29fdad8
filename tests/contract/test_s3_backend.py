"""The contract of backends, in a bucket of SeaweedFS."""

import uuid

import pytest

from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.location import open_backend
from kuramori.storage.s3 import S3Backend
from kuramori.testing.backend_contract import PlantableBackendContract
from samples.seaweedfs import ADMIN, SeaweedServer


class TestS3Backend(PlantableBackendContract):
    removing_tells_missing = False

    @pytest.fixture
    def backend(self, seaweed: SeaweedServer) -> Backend:
        location = seaweed.location(f"contract/{uuid.uuid4().hex}")
        return open_backend(location, StoreAccess(variables=ADMIN.variables()))

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        assert isinstance(backend, S3Backend)
        backend._requests.put(f"{backend._place.prefix}/{path}", [content], path)
