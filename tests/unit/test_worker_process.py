"""Worker processes that end before anybody talks to them, or hear a signal before their first line."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from kuramori.repository.worker_process import WorkerProcess, end_workers


def test_a_worker_that_ended_at_once_is_found_out_by_the_next_message() -> None:
    """Killed, or out of memory, before it was told what to do."""
    worker = WorkerProcess("kuramori.repository.worker_process")  # has no function ``run``
    assert worker.wait() != 0
    worker.send_settings(b"settings")
    with pytest.raises((OSError, EOFError)):
        worker.connection.recv_bytes()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
        worker.connection.send_bytes(b"task")
    end_workers([worker])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_while_a_worker_starts_does_not_end_it(number: signal.Signals) -> None:
    """A terminal sends Ctrl-C to the main process and its workers, which may not have come to their first line."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    worker = WorkerProcess("samples.echo_worker")
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before, "the main process hears signals as before"
        for _ in range(20):
            os.kill(worker.process.pid, number)
            threading.Event().wait(0.001)
        worker.connection.send_bytes(b"still here?")
        assert worker.connection.recv_bytes() == b"still here?"
    finally:
        end_workers([worker])
    assert worker.wait() == 0
