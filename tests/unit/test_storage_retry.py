"""Trying again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from kuramori.errors import (
    FileNotInStorageError,
    ShortReadError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
)
from kuramori.storage.backend import Backend, FileInfo, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.read_only import ReadOnlyBackend
from kuramori.storage.retry import RetryBackend, RetryOptions, impatience
from kuramori.testing.backend_contract import handle_of
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import Delay, FailAt, FailKind, Fault, FaultyBackend

KEY = handle_of(FileType.KEY, b"key")
OTHER = Handle(FileType.KEY, "0" * 64)
AWAY = StorageRetryableError(location="memory", operation="x", name="y", detail="the network is away")


class WaitingClock(FakeClock):
    """Keeps how long was waited each time, however often somebody looked meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []


def stores(*faults: Fault, options: RetryOptions | None = None,
           answered: bool = True) -> tuple[RetryBackend, FaultyBackend, WaitingClock]:
    """A store that fails, and that has answered once before unless told otherwise."""
    clock = WaitingClock()
    faulty = FaultyBackend(MemoryBackend({KEY: b"key"}))
    store = RetryBackend(faulty, clock=clock, options=options,
                         notice=lambda operation, error, seconds: clock.waits.append(seconds))
    if answered:
        [*store.list(FileType.SNAPSHOT)]
        faulty.operations.clear()
    faulty.inject(*faults)
    return store, faulty, clock


OPERATIONS: dict[str, Callable[[Backend], object]] = {
    "create": lambda store: store.create(),
    "save": lambda store: store.save(OTHER, [b"other"]),
    "load": lambda store: store.load(KEY),
    "size": lambda store: store.size(KEY),
    "list": lambda store: [*store.list(FileType.KEY)],
    "remove": lambda store: store.remove(KEY),
    "remove_leftovers": lambda store: store.remove_leftovers(0),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_what_may_pass_is_tried_again_until_it_has(kind: str) -> None:
    store, faulty, clock = stores(FailKind(kind, AWAY, times=3))
    OPERATIONS[kind](store)
    assert [operation.kind for operation in faulty.operations] == [kind] * 4
    assert len(clock.waits) == 3


@pytest.mark.parametrize("error", [
    FileNotInStorageError(name="x"), ShortReadError(name="x"), StorageFullError(name="x"),
    StoragePermissionError(name="x"), StorageError(name="x"),
])
@pytest.mark.parametrize("kind", OPERATIONS)
def test_what_cannot_pass_is_not_tried_again(kind: str, error: StorageError) -> None:
    store, faulty, clock = stores(FailKind(kind, error))
    with pytest.raises(type(error)):
        OPERATIONS[kind](store)
    assert len(faulty.operations) == 1
    assert clock.waits == []


@pytest.mark.parametrize("kind", OPERATIONS)
def test_the_last_error_comes_out_when_the_budget_is_used_up(kind: str) -> None:
    store, faulty, clock = stores(FailKind(kind, AWAY))
    with pytest.raises(StorageRetryableError):
        OPERATIONS[kind](store)
    assert clock.monotonic() <= 15 * 60
    assert clock.monotonic() > 14 * 60 - 60
    assert len(faulty.operations) == len(clock.waits) + 1


def test_waits_double_vary_and_stay_below_the_longest() -> None:
    options = RetryOptions(first_wait=1, longest_wait=32, budget=900)
    store, _, clock = stores(FailKind("load", AWAY), options=options)
    with pytest.raises(StorageRetryableError):
        store.load(KEY)
    for number, wait in enumerate(clock.waits):
        top = min(2.0**number, 32)
        assert top / 2 <= wait <= top
    assert len(set(clock.waits)) == len(clock.waits)


def test_a_removal_whose_answer_was_lost_is_no_error() -> None:
    store, faulty, _ = stores(FailAt(1, AWAY, after=True))
    store.remove(KEY)
    assert [operation.kind for operation in faulty.operations] == ["remove", "remove"]


def test_removing_what_is_not_there_is_an_error() -> None:
    store, _, _ = stores()
    with pytest.raises(FileNotInStorageError):
        store.remove(OTHER)


class _BreaksOff(ForwardingBackend):
    """Its first listing breaks off after one file."""

    broken = False

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        for number, info in enumerate(self._inner.list(file_type)):
            if number == 1 and not self.broken:
                self.broken = True
                raise AWAY
            yield info


def test_a_listing_that_broke_off_gives_everything_once() -> None:
    handles = [handle_of(FileType.INDEX, b"%d" % number) for number in range(5)]
    store = RetryBackend(_BreaksOff(MemoryBackend(dict.fromkeys(handles, b"x"))), clock=FakeClock())
    assert [info.name for info in store.list(FileType.INDEX)] == [handle.name for handle in handles]


def test_whoever_wants_to_know_is_told_before_each_wait() -> None:
    told: list[tuple[str, StorageError, float]] = []
    clock = FakeClock()
    faulty = FaultyBackend(MemoryBackend({KEY: b"key"}), FailKind("load", AWAY, times=2))
    store = RetryBackend(faulty, clock=clock, notice=lambda *notice: told.append(notice))
    assert store.load(KEY) == b"key"
    assert [(operation, type(error), str(error), wait) for operation, error, wait in told] == [
        ("load", type(AWAY), str(AWAY), clock.slept[0]), ("load", type(AWAY), str(AWAY), clock.slept[1])]


# --- a store that never answered, and one that asks for patience -----------------------------


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_store_that_never_answered_is_given_up_within_seconds(kind: str) -> None:
    store, faulty, clock = stores(FailKind(kind, AWAY), answered=False)
    with pytest.raises(StorageRetryableError):
        OPERATIONS[kind](store)
    assert clock.monotonic() <= 10
    assert len(faulty.operations) > 3


@pytest.mark.parametrize("kind", OPERATIONS)
def test_one_answer_is_enough_for_patience(kind: str) -> None:
    store, _faulty, clock = stores(FailKind(kind, AWAY, times=1), answered=False)
    OPERATIONS[kind](store)
    store.inner.inject(FailKind("load", AWAY))  # type: ignore[attr-defined]
    with pytest.raises(StorageRetryableError):
        store.load(KEY)
    assert clock.monotonic() > 60


def test_that_a_file_is_not_there_is_an_answer() -> None:
    store, faulty, clock = stores(answered=False)
    with pytest.raises(FileNotInStorageError):
        store.load(OTHER)
    faulty.inject(FailKind("load", AWAY))
    with pytest.raises(StorageRetryableError):
        store.load(KEY)
    assert clock.monotonic() > 60


def test_attempts_that_take_long_count_where_nobody_ever_answered() -> None:
    """A host that swallows packets: each attempt ends only after its own time-out."""
    clock = FakeClock()
    faulty = FaultyBackend(MemoryBackend(), Delay(8.0), FailKind("load", AWAY), clock=clock)
    with pytest.raises(StorageRetryableError):
        RetryBackend(faulty, clock=clock).load(KEY)
    assert len(faulty.operations) == 2
    assert clock.monotonic() < 20


def _busy(seconds: object) -> StorageRetryableError:
    return StorageRetryableError(location="memory", operation="x", name="y", detail="busy", retry_after=seconds)


@pytest.mark.parametrize("answered", [True, False])
def test_a_store_is_left_alone_for_as_long_as_it_asks(answered: bool) -> None:
    store, _faulty, clock = stores(FailKind("load", _busy(90.0), times=2), answered=answered)
    assert store.load(KEY) == b"key"
    assert len(clock.waits) == 2
    assert all(90 <= seconds < 93 for seconds in clock.waits)


def test_one_that_asks_for_longer_than_the_budget_is_asked_once_more_at_its_end() -> None:
    store, faulty, clock = stores(FailKind("load", _busy(1e9)))
    with pytest.raises(StorageRetryableError):
        store.load(KEY)
    assert len(faulty.operations) == 2
    assert clock.monotonic() == pytest.approx(15 * 60)


@pytest.mark.parametrize("nonsense", [-5.0, 0, "soon", None])
def test_nonsense_about_waiting_is_like_saying_nothing(nonsense: object) -> None:
    store, _faulty, clock = stores(FailKind("load", _busy(nonsense), times=1))
    assert store.load(KEY) == b"key"
    assert clock.waits[0] <= 0.5


def test_whoever_gives_up_is_not_kept_waiting() -> None:
    """Also not by what another thread tries again, behind other wrappers; and patience comes back."""
    store, faulty, clock = stores(FailKind("load", AWAY))
    wrapped = ReadOnlyBackend(store)
    with impatience(wrapped), pytest.raises(StorageRetryableError):
        wrapped.load(KEY)
    assert len(faulty.operations) == 1
    assert clock.waits == []
    with ExitStack() as stack:
        store._notice = lambda operation, error, seconds: stack.enter_context(impatience(wrapped))  # type: ignore[assignment]
        with pytest.raises(StorageRetryableError):
            store.load(KEY)
        assert clock.monotonic() == 0, "a wait that has begun ends too"
    faulty.heal()
    store._notice = None
    faulty.inject(FailKind("load", AWAY, times=3))
    assert wrapped.load(KEY) == b"key"
