"""Worker processes that end before anybody talks to them."""

from __future__ import annotations

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
