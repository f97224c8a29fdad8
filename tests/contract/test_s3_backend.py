"""The contract of backends, in a bucket of SeaweedFS."""

import os
import uuid
from contextlib import suppress

import pytest

from kuramori.clock import SystemClock
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


def test_of_a_store_that_was_closed_no_connection_stays(seaweed: SeaweedServer) -> None:
    """A daemon opens it again and again."""
    location = seaweed.location(f"closed/{uuid.uuid4().hex}")

    def use() -> None:
        store = open_backend(location, StoreAccess(variables=ADMIN.variables()))
        content = noise(100)
        store.save(handle_of(FileType.INDEX, content), [content])
        assert store.load(handle_of(FileType.INDEX, content)) == content
        store.close()

    before = _sockets()
    for _ in range(30):
        use()
    clock = SystemClock()
    for _ in range(600):  # they end in a thread of the library
        if _sockets() <= before + 10:
            return
        clock.sleep(0.1)
    pytest.fail(f"{_sockets()} sockets are open, and {before} were")


def _sockets() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found
