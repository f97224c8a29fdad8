"""The faults happen where they are asked for."""

import pytest

from kuramori.errors import FileNotInStorageError, StorageError, StorageFullError
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.backend_contract import handle_of
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import (
    CallAt,
    CrashAt,
    Delay,
    FailAt,
    FailKind,
    FaultyBackend,
    FlipBit,
    SimulatedCrash,
    Truncate,
)

KEY = handle_of(FileType.KEY, b"0123456789")
OTHER = Handle(FileType.KEY, "0" * 64)
FULL = StorageFullError(location="memory", operation="save", name="x")


def everything(handle: Handle) -> bool:
    return True


def store_with(*faults: FailAt | FailKind | CrashAt | Delay | Truncate | FlipBit | CallAt,
               clock: FakeClock | None = None) -> FaultyBackend:
    return FaultyBackend(MemoryBackend({KEY: b"0123456789"}), *faults, clock=clock)


def test_every_operation_is_numbered() -> None:
    store = store_with()
    store.create()
    store.load(KEY)
    store.size(KEY)
    list(store.list(FileType.KEY))
    staged = store.stage()
    staged.write([b"x"])
    staged.read_back()
    staged.commit(OTHER)
    staged.discard()
    store.save(OTHER, [b"x"])
    store.remove(OTHER)
    store.remove_leftovers(0)
    assert [operation.number for operation in store.operations] == list(range(1, 13))
    assert [operation.kind for operation in store.operations] == [
        "create", "load", "size", "list", "stage", "write", "read_back", "commit", "discard", "save",
        "remove", "remove_leftovers"]
    assert store.operations[1].subject == str(KEY)


def test_one_operation_fails_once() -> None:
    store = store_with(FailAt(2, FULL))
    store.load(KEY)
    with pytest.raises(StorageFullError):
        store.save(OTHER, [b"x"])
    store.save(OTHER, [b"x"])


def test_everything_fails_from_an_operation_on() -> None:
    store = store_with(FailAt(2, FULL, forever=True))
    store.load(KEY)
    for _ in range(3):
        with pytest.raises(StorageFullError):
            store.load(KEY)


def test_an_answer_that_is_lost() -> None:
    store = store_with(FailAt(1, FULL, after=True))
    with pytest.raises(StorageError):
        store.save(OTHER, [b"x"])
    assert store.load(OTHER) == b"x"


def test_a_kind_fails_so_many_times() -> None:
    store = store_with(FailKind("save", FULL, times=2))
    for _ in range(2):
        with pytest.raises(StorageFullError):
            store.save(OTHER, [b"x"])
        assert store.load(KEY) == b"0123456789"
    store.save(OTHER, [b"x"])


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_ends_everything_and_the_next_process_finds_what_was_done(after: bool) -> None:
    store = store_with(CrashAt(2, after=after))
    store.load(KEY)
    staged_before = store.operations
    with pytest.raises(SimulatedCrash):
        store.save(OTHER, [b"x"])
    assert store.crashed
    for operation in (lambda: store.load(KEY), store.stage, lambda: store.list(FileType.KEY)):
        with pytest.raises(SimulatedCrash):
            operation()
    assert len(staged_before) == 2
    store.heal()
    assert (OTHER.name in {info.name for info in store.list(FileType.KEY)}) is after


def test_no_handler_of_errors_catches_a_crash() -> None:
    assert not issubclass(SimulatedCrash, Exception)


def test_reads_are_cut_short() -> None:
    store = store_with(Truncate(everything, keep=4, times=2))
    assert store.load(KEY) == b"0123"
    assert store.load(KEY, 2, 5) == b"23"
    assert store.load(KEY) == b"0123456789"


def test_a_bit_is_wrong_in_every_read_that_covers_it() -> None:
    store = store_with(FlipBit(everything, offset=3, bit=1))
    assert store.load(KEY) == b"0121456789"
    assert store.load(KEY, 3, 1) == b"1"
    assert store.load(KEY, 4) == b"456789"
    assert store.load(KEY, 0, 3) == b"012"


def test_delays_pass_by_the_clock() -> None:
    clock = FakeClock()
    store = store_with(Delay(5, "load"), Delay(1), clock=clock)
    store.load(KEY)
    store.size(KEY)
    assert clock.slept == [5, 1, 1]


def test_another_process_comes_in_between() -> None:
    memory = MemoryBackend({KEY: b"0123456789"})
    store = FaultyBackend(memory, CallAt(2, lambda: memory.remove(KEY)))
    assert store.load(KEY) == b"0123456789"
    with pytest.raises(FileNotInStorageError):
        store.load(KEY)
    assert len(store.operations) == 2


def test_another_process_comes_before_the_second_of_a_kind() -> None:
    seen: list[int] = []
    store = store_with(CallAt(2, lambda: seen.append(len(store.operations)), "load"))
    for _ in range(2):
        store.size(KEY)
        store.load(KEY)
    store.load(KEY)
    assert seen == [4]
