"""A worker process that gives back what it gets."""

from __future__ import annotations

import signal

from kuramori.repository.worker_channel import WorkerChannel


def run(descriptor: int) -> None:
    """Give back messages until the main process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = WorkerChannel(descriptor)
    while True:
        try:
            connection.send_bytes(connection.recv_bytes())
        except (EOFError, OSError):
            return
