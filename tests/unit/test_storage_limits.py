"""Bytes per second, by a clock that is told the time."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence

import pytest

from kuramori.clock import Clock
from kuramori.ids import hash_id
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend, Buffer, FileType, Handle
from kuramori.storage.limits import LimitedBackend, TokenBucket, limited
from kuramori.storage.memory import MemoryBackend
from kuramori.storage.reaching import reach_store
from kuramori.storage.spooled_file import SpooledFile, in_pieces, total_size
from kuramori.testing.clock import FakeClock

CONTENT = random.Random(5).randbytes(1_000_003)
HANDLE = Handle(FileType.PACK, hash_id(CONTENT).hex())
RATE = 100_000


class _Store(MemoryBackend):
    """Notes when each piece of a file reached it."""

    def __init__(self, clock: Clock, *, spooled: bool) -> None:
        super().__init__()
        self._clock = clock
        self._spooled = spooled
        self.arrived: list[tuple[float, int]] = []

    @property
    def worker_location(self) -> str | None:
        return "/somewhere"

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        whole = []
        size = total_size(parts)
        for part in parts:
            whole.append(bytes(part))
            self.arrived.append((self._clock.monotonic(), len(part)))
        assert sum(map(len, whole)) == size
        super().save(handle, whole)

    def stage(self) -> SpooledFile:  # type: ignore[override]
        return SpooledFile(self.save, self.location) if self._spooled else super().stage()  # type: ignore[return-value]


def _stores(*, spooled: bool = True, up: int | None = RATE,
            down: int | None = None) -> tuple[Backend, _Store, FakeClock]:
    clock = FakeClock()
    store = _Store(clock, spooled=spooled)
    return limited(store, up, down, clock), store, clock


@pytest.mark.parametrize("staged", [False, True])
def test_what_is_sent_keeps_the_rate_piece_by_piece(staged: bool) -> None:
    backend, store, clock = _stores()
    if staged:
        file = backend.stage()
        file.write([CONTENT])
        assert clock.monotonic() == 0, "nothing was sent yet"
        file.commit(HANDLE)
    else:
        backend.save(HANDLE, [CONTENT[:500_000], CONTENT[500_000:]])
    assert store.snapshot() == {HANDLE: CONTENT}
    assert clock.monotonic() == pytest.approx(len(CONTENT) / RATE, abs=0.6)
    sent = 0
    for moment, count in store.arrived:
        sent += count
        assert sent <= RATE * (moment + 0.6), "at no moment more than is allowed"
    assert max(count for _, count in store.arrived) <= RATE


def test_a_pack_that_lies_in_the_store_already_is_paid_for_as_it_is_written() -> None:
    backend, store, clock = _stores(spooled=False)
    file = backend.stage()
    file.write([CONTENT[:300_000]])
    file.write([CONTENT[300_000:]])
    assert file.size == len(CONTENT)
    assert file.read_back() == CONTENT
    assert clock.monotonic() == pytest.approx(len(CONTENT) / RATE, abs=0.6)
    file.commit(HANDLE)
    assert store.snapshot() == {HANDLE: CONTENT}


def test_what_is_fetched_keeps_the_rate() -> None:
    backend, store, clock = _stores(up=None, down=RATE)
    store.save(HANDLE, [CONTENT])
    for start in range(0, 1_000_000, 100_000):
        assert backend.load(HANDLE, start, 100_000) == CONTENT[start : start + 100_000]
    assert clock.monotonic() == pytest.approx(10, abs=0.6)


def test_sending_and_fetching_do_not_pay_for_each_other() -> None:
    backend, _store, clock = _stores(up=None, down=1)
    backend.save(HANDLE, [CONTENT])
    assert clock.monotonic() == 0
    backend, store, clock = _stores(up=1, down=None)
    store.save(HANDLE, [CONTENT])
    assert backend.load(HANDLE) == CONTENT
    assert clock.monotonic() == 0


def test_threads_share_one_rate() -> None:
    """Whatever the order, the bytes of all of them together are not through before their time."""
    clock = FakeClock()
    bucket = TokenBucket(RATE, clock)
    threads = [threading.Thread(target=lambda: [bucket.pay(1000) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic() >= 4 * 100 * 1000 / RATE - 0.5


def test_a_pause_saves_up_no_more_than_a_moment() -> None:
    clock = FakeClock()
    bucket = TokenBucket(RATE, clock)
    clock.advance(3600)
    bucket.pay(10 * RATE)
    assert clock.monotonic() == pytest.approx(3610, abs=0.6)


def test_a_slow_link_still_moves_at_every_moment() -> None:
    """Else it would be taken for stalled."""
    backend, store, _clock = _stores(up=3000)
    backend.save(HANDLE, [CONTENT[:60_000]])
    moments = [moment for moment, _ in store.arrived]
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) < 1


def test_other_processes_do_not_go_past_a_limit() -> None:
    backend, store, _clock = _stores()
    assert store.worker_location is not None
    assert backend.worker_location is None
    plain = limited(store, None, None, FakeClock())
    assert plain is store


def test_the_way_to_a_store_has_its_limits(tmp_path: object) -> None:
    clock = FakeClock()
    store = reach_store(f"local:{tmp_path}", StoreAccess(limit_upload=RATE, limit_download=RATE), clock=clock)
    store.create()
    store.save(HANDLE, [CONTENT])
    assert clock.monotonic() == pytest.approx(10, abs=0.6)
    assert store.load(HANDLE) == CONTENT
    assert clock.monotonic() == pytest.approx(20, abs=1.2)
    assert isinstance(store.inner, LimitedBackend)  # type: ignore[attr-defined]
    store.close()


@pytest.mark.parametrize("piece", [1, 1000, 250_000, 2_000_000])
def test_pieces_are_the_same_content(piece: int) -> None:
    content = CONTENT[:300_000] if piece > 1 else CONTENT[:300]
    cut = in_pieces([content[:100], b"", content[100:]], piece)
    assert b"".join(cut) == content
    assert cut.total_size == total_size(cut) == len(content)
    assert all(len(each) <= piece for each in cut)
    assert b"".join(cut[1:3]) == b"".join([*cut][1:3])
