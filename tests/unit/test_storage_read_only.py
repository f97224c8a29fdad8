"""A store that is only read."""

from collections.abc import Callable

import pytest

from kuramori.errors import ReadOnlyStorageError
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileInfo, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.read_only import ReadOnlyBackend
from kuramori.testing.backend_contract import handle_of

KEY = handle_of(FileType.KEY, b"key")


def test_reading_is_passed_on() -> None:
    memory = MemoryBackend({KEY: b"key"}, name="the store")
    store = ReadOnlyBackend(memory)
    assert store.load(KEY, 1, 2) == b"ey"
    assert store.size(KEY) == 3
    assert [*store.list(FileType.KEY)] == [FileInfo(KEY.name, 3)]
    assert (store.location, store.connections) == ("the store", 2)
    assert store.worker_location is None
    store.close()


@pytest.mark.parametrize("change", [
    lambda store: store.create(), lambda store: store.save(CONFIG_HANDLE, [b"x"]),
    lambda store: store.stage(), lambda store: store.remove(KEY),
])
def test_changes_are_refused_before_they_reach_the_store(change: Callable[[Backend], object]) -> None:
    memory = MemoryBackend({KEY: b"key"})
    with pytest.raises(ReadOnlyStorageError) as caught:
        change(ReadOnlyBackend(memory))
    assert "reading only" in str(caught.value)
    assert memory.snapshot() == {KEY: b"key"}


def test_leftovers_stay() -> None:
    assert ReadOnlyBackend(MemoryBackend()).remove_leftovers(0) == 0
