"""The contract of backends, in a bucket of SeaweedFS."""

import uuid

import pytest

from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend, FileType
from kuramori.storage.limits import limited
from kuramori.storage.location import open_backend
from kuramori.storage.s3 import S3Backend
from kuramori.testing.backend_contract import PlantableBackendContract, handle_of, noise
from kuramori.testing.clock import FakeClock
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


def test_what_is_sent_is_counted_once_by_a_limit(seaweed: SeaweedServer) -> None:
    """The content is gone over twice: to sign it, and to send it."""
    clock = FakeClock()
    store = open_backend(seaweed.location(f"limited/{uuid.uuid4().hex}"), StoreAccess(variables=ADMIN.variables()))
    slow = limited(store, 100_000, None, clock)
    content = noise(1_000_000)
    staged = slow.stage()
    staged.write([content])
    staged.commit(handle_of(FileType.PACK, content))
    assert 9 < sum(clock.slept) < 11
