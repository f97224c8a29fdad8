"""The suite that every :class:`~kuramori.storage.backend.Backend` must pass.

Derive a class from :class:`BackendContract`, give it a fixture ``backend``, and let pytest find it::

    class TestMyStore(BackendContract):
        @pytest.fixture
        def backend(self, tmp_path):
            return MyStore(...)

The fixture gives an empty store on which ``create()`` was not called. A store in which strange
files may lie beside those of the repository (a folder, a bucket) derives from
:class:`PlantableBackendContract`.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import overload

import pytest

from kuramori.errors import FileNotInStorageError, ShortReadError, StorageError
from kuramori.storage.backend import CONFIG_HANDLE, Backend, Buffer, FileInfo, FileType, Handle
from kuramori.storage.location import open_backend

LISTED_TYPES = tuple(file_type for file_type in FileType if file_type is not FileType.CONFIG)
_LARGE = 20 * 1024 * 1024
_THREADS = 8


def handle_of(file_type: FileType, content: bytes) -> Handle:
    """Return the handle of a file with this content, as a repository names it."""
    return Handle(file_type, hashlib.sha256(content).hexdigest())


def noise(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes that look random and are the same for the same ``seed``."""
    return random.Random(seed).randbytes(size)


class BackendContract:
    """What a store must do. See the module."""

    removing_tells_missing = True
    """False for a store that cannot say whether what it removed was there."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return an empty store; every derived class has its own."""
        raise NotImplementedError("a contract test gives its own backend fixture")

    @pytest.fixture
    def store(self, backend: Backend) -> Iterator[Backend]:
        """The store, made ready, and closed in the end."""
        backend.create()
        yield backend
        backend.close()

    # --- saving and loading ------------------------------------------------------------------

    @pytest.mark.parametrize("file_type", LISTED_TYPES)
    @pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 4095, 4096, 100_001])
    def test_what_was_saved_is_loaded(self, store: Backend, file_type: FileType, size: int) -> None:
        content = noise(size)
        handle = handle_of(file_type, content)
        store.save(handle, [content])
        assert store.load(handle) == content
        assert store.size(handle) == size

    def test_parts_are_stored_in_order_whatever_their_kind(self, store: Backend) -> None:
        parts: list[Buffer] = [b"", b"one", bytearray(b"two"), b"", memoryview(b"--three--")[2:-2], b""]
        handle = handle_of(FileType.INDEX, b"onetwothree")
        store.save(handle, parts)
        assert store.load(handle) == b"onetwothree"

    def test_a_file_of_no_parts_is_empty(self, store: Backend) -> None:
        handle = handle_of(FileType.LOCK, b"")
        store.save(handle, [])
        assert store.load(handle) == b""
        assert [*store.list(FileType.LOCK)] == [FileInfo(handle.name, 0)]

    def test_thousands_of_parts_are_stored(self, store: Backend) -> None:
        parts = [b"%d," % number for number in range(5000)]
        handle = handle_of(FileType.PACK, b"".join(parts))
        store.save(handle, parts)
        assert store.load(handle) == b"".join(parts)

    def test_a_large_file_is_stored(self, store: Backend) -> None:
        content = noise(_LARGE)
        handle = handle_of(FileType.PACK, content)
        store.save(handle, [content[:7], content[7:]])
        assert hashlib.sha256(store.load(handle)).hexdigest() == handle.name
        assert store.load(handle, _LARGE - 5, 5) == content[-5:]

    def test_parts_may_be_reused_after_saving(self, store: Backend) -> None:
        part = bytearray(b"before")
        handle = handle_of(FileType.SNAPSHOT, b"before")
        store.save(handle, [part])
        part[:] = b"after!"
        assert store.load(handle) == b"before"

    def test_types_are_kept_apart(self, store: Backend) -> None:
        name = "ab" * 32
        for file_type in LISTED_TYPES:
            store.save(Handle(file_type, name), [file_type.value.encode()])
        for file_type in LISTED_TYPES:
            assert store.load(Handle(file_type, name)) == file_type.value.encode()
        store.remove(Handle(FileType.INDEX, name))
        assert [*store.list(FileType.INDEX)] == []
        assert store.load(Handle(FileType.PACK, name)) == b"data"

    def test_saving_a_name_again_replaces_it(self, store: Backend) -> None:
        handle = handle_of(FileType.KEY, b"again")
        store.save(handle, [b"again"])
        store.save(handle, [b"again"])
        assert store.load(handle) == b"again"
        assert len([*store.list(FileType.KEY)]) == 1

    def test_the_config_is_saved_replaced_and_removed(self, store: Backend) -> None:
        with pytest.raises(FileNotInStorageError):
            store.load(CONFIG_HANDLE)
        store.save(CONFIG_HANDLE, [b"first, and longer"])
        store.save(CONFIG_HANDLE, [b"second"])
        assert store.load(CONFIG_HANDLE) == b"second"
        assert store.size(CONFIG_HANDLE) == 6
        assert all([*store.list(file_type)] == [] for file_type in LISTED_TYPES)
        store.remove(CONFIG_HANDLE)
        with pytest.raises(FileNotInStorageError):
            store.size(CONFIG_HANDLE)

    def test_a_save_that_fails_leaves_nothing(self, store: Backend) -> None:
        handle = handle_of(FileType.SNAPSHOT, b"half")
        with pytest.raises(_BrokenOffError):
            store.save(handle, _BrokenOffParts())
        with pytest.raises(FileNotInStorageError):
            store.load(handle)
        assert [*store.list(FileType.SNAPSHOT)] == []

    # --- ranges ------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "length"), [
        (0, 0), (0, 1), (0, 1000), (1, 998), (17, 500), (999, 1), (1000, 0), (500, None), (1000, None),
    ])
    @pytest.mark.parametrize("file_type", [FileType.PACK, FileType.INDEX])
    def test_ranges(self, store: Backend, file_type: FileType, offset: int, length: int | None) -> None:
        content = noise(1000)
        handle = handle_of(file_type, content)
        store.save(handle, [content])
        end = None if length is None else offset + length
        assert store.load(handle, offset, length) == content[offset:end]

    @pytest.mark.parametrize(("offset", "length"), [(0, 1001), (999, 2), (1000, 1), (1001, 0), (5000, 5),
                                                    (0, 1 << 40), (1 << 40, 1)])
    @pytest.mark.parametrize("file_type", [FileType.PACK, FileType.INDEX])
    def test_a_range_past_the_end_is_refused(self, store: Backend, file_type: FileType, offset: int,
                                             length: int) -> None:
        content = noise(1000)
        handle = handle_of(file_type, content)
        store.save(handle, [content])
        with pytest.raises(ShortReadError):
            store.load(handle, offset, length)

    # --- what is not there -------------------------------------------------------------------

    @pytest.mark.parametrize("handle", [CONFIG_HANDLE, *(Handle(kind, "0" * 64) for kind in LISTED_TYPES)],
                             ids=str)
    def test_a_missing_file_is_told_as_missing(self, store: Backend, handle: Handle) -> None:
        for operation in (store.load, store.size):
            with pytest.raises(FileNotInStorageError) as caught:
                operation(handle)
            assert not caught.value.retryable
            assert str(handle) in str(caught.value)
        with pytest.raises(FileNotInStorageError):
            store.load(handle, 5, 5)

    def test_removing(self, store: Backend) -> None:
        handle = handle_of(FileType.PACK, b"gone soon")
        stays = handle_of(FileType.PACK, b"stays")
        store.save(handle, [b"gone soon"])
        store.save(stays, [b"stays"])
        store.remove(handle)
        with pytest.raises(FileNotInStorageError):
            store.load(handle)
        assert [*store.list(FileType.PACK)] == [FileInfo(stays.name, 5)]
        if self.removing_tells_missing:
            with pytest.raises(FileNotInStorageError):
                store.remove(handle)
        else:
            store.remove(handle)
        store.save(handle, [b"gone soon"])
        assert store.load(handle) == b"gone soon"

    # --- listing -----------------------------------------------------------------------------

    @pytest.mark.parametrize("file_type", LISTED_TYPES)
    def test_listing_gives_every_file_once_with_its_size(self, store: Backend, file_type: FileType) -> None:
        assert [*store.list(file_type)] == []
        expected = set()
        for number in range(60):
            content = b"x" * number
            handle = handle_of(file_type, content)
            store.save(handle, [content])
            expected.add(FileInfo(handle.name, number))
        found = [*store.list(file_type)]
        assert len(found) == len(expected)
        assert set(found) == expected

    def test_a_listing_may_be_given_up_halfway(self, store: Backend) -> None:
        for number in range(10):
            content = b"%d" % number
            store.save(handle_of(FileType.SNAPSHOT, content), [content])
        next(iter(store.list(FileType.SNAPSHOT)))
        assert len([*store.list(FileType.SNAPSHOT)]) == 10

    # --- staged files ------------------------------------------------------------------------

    def test_a_staged_file_appears_whole_when_committed(self, store: Backend) -> None:
        staged = store.stage()
        assert staged.size == 0
        staged.write([b"one", bytearray(b"two"), b""])
        staged.write([])
        staged.write([memoryview(b"three")])
        assert staged.size == 11
        assert [*store.list(FileType.PACK)] == []
        handle = handle_of(FileType.PACK, b"onetwothree")
        staged.commit(handle)
        assert store.load(handle) == b"onetwothree"
        assert [*store.list(FileType.PACK)] == [FileInfo(handle.name, 11)]

    def test_what_was_staged_can_be_read_back_and_added_to(self, store: Backend) -> None:
        staged = store.stage()
        staged.write([b"begin"])
        assert staged.read_back() == b"begin"
        staged.write([b" end"])
        assert staged.read_back() == b"begin end"
        handle = handle_of(FileType.PACK, b"begin end")
        staged.commit(handle)
        assert store.load(handle) == b"begin end"

    def test_an_empty_staged_file(self, store: Backend) -> None:
        staged = store.stage()
        assert staged.read_back() == b""
        handle = handle_of(FileType.PACK, b"")
        staged.commit(handle)
        assert store.size(handle) == 0

    def test_a_discarded_file_leaves_nothing(self, store: Backend) -> None:
        staged = store.stage()
        staged.write([b"never mind"])
        staged.discard()
        staged.discard()
        assert [*store.list(FileType.PACK)] == []
        assert store.remove_leftovers(0) == 0

    def test_discarding_after_the_commit_does_nothing(self, store: Backend) -> None:
        staged = store.stage()
        staged.write([b"kept"])
        handle = handle_of(FileType.PACK, b"kept")
        staged.commit(handle)
        staged.discard()
        assert store.load(handle) == b"kept"

    def test_buffers_may_be_reused_after_writing(self, store: Backend) -> None:
        staged = store.stage()
        buffer = bytearray(4)
        for word in (b"abcd", b"efgh", b"ijkl"):
            buffer[:] = word
            staged.write([buffer])
        handle = handle_of(FileType.PACK, b"abcdefghijkl")
        staged.commit(handle)
        assert store.load(handle) == b"abcdefghijkl"

    def test_several_files_are_staged_at_once_and_committed_in_another_thread(self, store: Backend) -> None:
        contents = [noise(100_000, seed) for seed in range(3)]
        staged = [store.stage() for _ in contents]
        for position in range(0, 100_000, 1000):
            for file, content in zip(staged, contents, strict=True):
                file.write([content[position : position + 1000]])
        handles = [handle_of(FileType.PACK, content) for content in contents]
        with ThreadPoolExecutor(1) as other:
            for file, handle in zip(staged, handles, strict=True):
                other.submit(file.commit, handle).result()
        assert [store.load(handle) for handle in handles] == contents

    def test_a_large_staged_file(self, store: Backend) -> None:
        content = noise(_LARGE, 5)
        staged = store.stage()
        for position in range(0, _LARGE, 1 << 20):
            staged.write([content[position : position + (1 << 20)]])
        assert staged.size == _LARGE
        handle = handle_of(FileType.PACK, content)
        staged.commit(handle)
        assert hashlib.sha256(store.load(handle)).hexdigest() == handle.name

    def test_collecting_leftovers_spares_the_living(self, store: Backend) -> None:
        content = b"still being written"
        handle = handle_of(FileType.SNAPSHOT, b"a file")
        store.save(handle, [b"a file"])
        staged = store.stage()
        staged.write([content])
        assert store.remove_leftovers(24 * 3600) == 0
        assert store.remove_leftovers(0) == 0
        pack = handle_of(FileType.PACK, content)
        staged.commit(pack)
        assert store.load(pack) == content
        assert store.load(handle) == b"a file"

    # --- several threads ---------------------------------------------------------------------

    def test_many_threads_at_once(self, store: Backend) -> None:
        def work(worker: int) -> None:
            for number in range(20):
                content = noise(3000, worker * 1000 + number)
                handle = handle_of(FileType.PACK, content)
                store.save(handle, [content])
                assert store.load(handle, 100, 50) == content[100:150]
                assert store.size(handle) == 3000
                if number % 2:
                    store.remove(handle)

        _in_threads(work)
        assert len([*store.list(FileType.PACK)]) == _THREADS * 10

    def test_many_threads_save_the_same_file(self, store: Backend) -> None:
        content = noise(50_000)
        handle = handle_of(FileType.PACK, content)
        _in_threads(lambda worker: store.save(handle, [content]))
        assert store.load(handle) == content
        assert len([*store.list(FileType.PACK)]) == 1

    def test_a_file_that_is_replaced_is_seen_old_or_new_and_never_mixed(self, store: Backend) -> None:
        versions = [bytes([letter]) * 50_000 for letter in b"ABCD"]
        store.save(CONFIG_HANDLE, [versions[0]])
        wrong: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                content = store.load(CONFIG_HANDLE)
                if content not in versions:
                    wrong.append(len(content))

        with ThreadPoolExecutor(2) as pool:
            watchers = [pool.submit(watch) for _ in range(2)]
            try:
                for number in range(40):
                    version = versions[number % 4]
                    store.save(CONFIG_HANDLE, [version[:20_000], version[20_000:]])
            finally:
                done.set()
            for watcher in watchers:
                watcher.result()
        assert wrong == []

    def test_a_listing_survives_files_that_come_and_go(self, store: Backend) -> None:
        lasting = set()
        for number in range(30):
            content = b"lasting %d" % number
            handle = handle_of(FileType.PACK, content)
            store.save(handle, [content])
            lasting.add(handle.name)
        done = threading.Event()

        def churn() -> None:
            number = 0
            while not done.is_set():
                content = b"fleeting %d" % number
                handle = handle_of(FileType.PACK, content)
                store.save(handle, [content])
                store.remove(handle)
                number += 1

        with ThreadPoolExecutor(1) as pool:
            churner = pool.submit(churn)
            try:
                for _ in range(20):
                    names = [info.name for info in store.list(FileType.PACK)]
                    assert len(names) == len(set(names))
                    assert lasting <= set(names)
            finally:
                done.set()
            churner.result()

    # --- the rest ----------------------------------------------------------------------------

    def test_creating_again_keeps_what_is_there(self, store: Backend) -> None:
        handle = handle_of(FileType.KEY, b"key")
        store.save(handle, [b"key"])
        store.create()
        assert store.load(handle) == b"key"

    def test_it_says_where_it_is_and_how_much_at_once_makes_sense(self, store: Backend) -> None:
        assert store.location
        assert store.connections >= 1

    def test_errors_name_the_store(self, store: Backend) -> None:
        with pytest.raises(StorageError) as caught:
            store.load(Handle(FileType.PACK, "0" * 64))
        assert store.location in str(caught.value)

    def test_another_process_could_open_it_where_it_says_so(self, store: Backend) -> None:
        if store.worker_location is None:
            with pytest.raises(FileNotInStorageError):
                store.load(CONFIG_HANDLE)
            return
        other = open_backend(store.worker_location)
        content = b"written elsewhere"
        handle = handle_of(FileType.PACK, content)
        staged = other.stage()
        staged.write([content])
        staged.commit(handle)
        other.close()
        assert store.load(handle) == content

    def test_closing_twice(self, store: Backend) -> None:
        store.close()
        store.close()


class PlantableBackendContract(BackendContract):
    """For stores in which other files may lie beside those of a repository."""

    def plant(self, backend: Backend, path: str, content: bytes) -> None:
        """Put a file there, past the backend.

        Args:
            path: with slashes, such as ``snapshots/README``.
        """
        raise NotImplementedError("a contract test of such a store can plant files")

    def test_what_is_no_repository_file_is_not_listed(self, store: Backend) -> None:
        name = "0123456789abcdef" * 4
        for file_type in LISTED_TYPES:
            folder = "data/01" if file_type is FileType.PACK else file_type.value
            for odd in ("README", name[:-1], name + "0", name.upper(), f"{name}-tmp-123", f".{name}",
                        "g" * 64):
                self.plant(store, f"{folder}/{odd}", b"odd")
            self.plant(store, f"{folder}/{name}", b"real")
            assert [*store.list(file_type)] == [FileInfo(name, 4)]

    def test_what_is_there_already_is_found(self, store: Backend) -> None:
        content = b"put there by another program"
        for file_type in LISTED_TYPES:
            handle = handle_of(file_type, content)
            folder = f"data/{handle.name[:2]}" if file_type is FileType.PACK else file_type.value
            self.plant(store, f"{folder}/{handle.name}", content)
            assert store.load(handle) == content
        self.plant(store, "config", b"config")
        assert store.load(CONFIG_HANDLE) == b"config"


class _BrokenOffError(Exception):
    """What made the parts of a file is gone."""


class _BrokenOffParts(Sequence[Buffer]):
    """Parts of which the second can never be had."""

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, position: int) -> Buffer: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Buffer]: ...

    def __getitem__(self, position: int | slice) -> Buffer | Sequence[Buffer]:
        if position == 0:
            return b"half"
        raise _BrokenOffError


def _in_threads(work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        for future in [pool.submit(work, worker) for worker in range(_THREADS)]:
            future.result()
