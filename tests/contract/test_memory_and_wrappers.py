"""The contract, for memory and for every wrapper around it that changes nothing of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from kuramori.storage.backend import Backend, Buffer, FileType, Handle
from kuramori.storage.cache import CacheBackend
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.retry import RetryBackend
from kuramori.testing.backend_contract import BackendContract
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import FaultyBackend


class TestMemoryBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()


class TestForwardingBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return ForwardingBackend(MemoryBackend())


class TestForwardingToAFolder(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return ForwardingBackend(LocalBackend(tmp_path / "repository"))


class TestRetryBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return RetryBackend(MemoryBackend(), clock=FakeClock())


class TestCacheBackend(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return CacheBackend(MemoryBackend(), tmp_path / "cache", "5" * 64)


class _KeepsEveryPack(CacheBackend):
    """A cache for which every pack is worth a copy."""

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        if handle.type is FileType.PACK:
            self.keep_pack(handle.name)
        super().save(handle, parts)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        if handle.type is FileType.PACK:
            self.keep_pack(handle.name)
        return super().load(handle, offset, length)


class TestCacheBackendThatKeepsPacks(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return _KeepsEveryPack(MemoryBackend(), tmp_path / "cache", "5" * 64)


class TestCacheBackendWithoutItsFolder(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        (tmp_path / "cache").write_text("a file where the folder should be")
        return _KeepsEveryPack(MemoryBackend(), tmp_path / "cache", "5" * 64)


class TestFaultyBackendWithoutFaults(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return FaultyBackend(MemoryBackend())
