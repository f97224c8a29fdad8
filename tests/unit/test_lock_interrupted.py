"""A lock whose writing is interrupted is not left behind."""

from __future__ import annotations

import threading

import pytest

from kuramori.errors import Interrupted
from kuramori.repository.locks import hold_lock
from kuramori.storage.backend import FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import CallAt, FaultyBackend
from samples.broken_runs import create, reopen


@pytest.mark.parametrize("stored", [False, True], ids=["before it is stored", "when it is stored"])
def test_a_lock_that_is_interrupted_while_it_is_written_goes(stored: bool) -> None:
    memory, clock = MemoryBackend(), FakeClock()
    create(memory, clock)

    def interrupt() -> None:
        raise Interrupted

    faulty = FaultyBackend(memory)
    repository = reopen(faulty, clock)
    if stored:
        save = faulty.save

        def save_and_interrupt(*arguments: object) -> None:
            save(*arguments)  # type: ignore[arg-type]
            interrupt()

        faulty.save = save_and_interrupt  # type: ignore[assignment, method-assign]
    else:
        faulty.inject(CallAt(1, interrupt, "save"))
    with pytest.raises(Interrupted), hold_lock(repository):
        raise AssertionError("nobody holds it")
    assert not [*memory.list(FileType.LOCK)]


def test_a_lock_that_is_interrupted_before_it_is_kept_fresh_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, clock = MemoryBackend(), FakeClock()
    create(memory, clock)
    repository = reopen(memory, clock)

    def interrupt(thread: threading.Thread) -> None:
        raise Interrupted

    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(Interrupted), hold_lock(repository):
        raise AssertionError("nobody holds it")
    assert not [*memory.list(FileType.LOCK)]
