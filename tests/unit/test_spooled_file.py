"""A pack waits in a nameless temporary file until it is saved as a whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from kuramori.errors import StorageFullError, StorageRetryableError
from kuramori.ids import hash_id
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.retry import RetryBackend
from kuramori.storage.spooled_file import SpooledFile, SpooledParts, total_size
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import FailKind, FaultyBackend

CONTENT = random.Random(4).randbytes(700_001)
HANDLE = Handle(FileType.PACK, hash_id(CONTENT).hex())
AWAY = StorageRetryableError(location="memory", operation="x", name="y", detail="the network is away")


class _SpoolingBackend(MemoryBackend):
    """Takes packs only whole."""

    def stage(self) -> SpooledFile:  # type: ignore[override]
        return SpooledFile(lambda handle, parts: self.save(handle, parts), self.location)


def test_what_was_written_is_saved_in_order() -> None:
    store = _SpoolingBackend()
    staged = store.stage()
    for begin in range(0, len(CONTENT), 70_000):
        staged.write([CONTENT[begin : begin + 50_000], memoryview(CONTENT)[begin + 50_000 : begin + 70_000]])
    assert staged.size == len(CONTENT)
    assert staged.read_back() == CONTENT
    assert not store.snapshot()
    staged.commit(HANDLE)
    staged.discard()
    assert store.snapshot() == {HANDLE: CONTENT}


def test_a_commit_is_tried_again() -> None:
    store, clock = _SpoolingBackend(), FakeClock()
    faulty = FaultyBackend(store, FailKind("save", AWAY, times=3))
    faulty.stage = lambda: SpooledFile(faulty.save, "memory")  # type: ignore[assignment, method-assign]
    staged = RetryBackend(faulty, clock=clock).stage()
    staged.write([CONTENT])
    staged.commit(HANDLE)
    assert [operation.kind for operation in faulty.operations] == ["save"] * 4
    assert store.snapshot() == {HANDLE: CONTENT}


def test_a_commit_that_failed_may_be_repeated_by_hand() -> None:
    store = _SpoolingBackend()
    staged = store.stage()
    staged.write([CONTENT])

    def fail(handle: Handle, parts: object) -> None:
        raise AWAY

    with pytest.raises(StorageRetryableError):
        staged.through(fail).commit(HANDLE)
    staged.through(store.save).commit(HANDLE)
    assert store.snapshot() == {HANDLE: CONTENT}


def test_the_pieces_are_the_content(tmp_path: Path) -> None:
    for size in (0, 1, 256 * 1024, 256 * 1024 + 1, len(CONTENT)):
        path = tmp_path / f"{size}"
        path.write_bytes(CONTENT[:size])
        with path.open("rb") as file:
            parts = SpooledParts(file.fileno(), size)
            assert b"".join(parts) == CONTENT[:size] == b"".join(parts[:])
            assert total_size(parts) == size == total_size([CONTENT[:size]])
            with pytest.raises(IndexError):
                parts[len(parts)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_folder_for_temporary_files_is_said() -> None:
    staged = _SpoolingBackend().stage()
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), staged._file.fileno())
        with pytest.raises(StorageFullError):
            staged.write([CONTENT])
    staged.discard()
