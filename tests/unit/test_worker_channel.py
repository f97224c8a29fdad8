"""Messages between processes: whole, in order, of any size, and an end that is noticed."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from kuramori.repository.worker_channel import WorkerChannel, wait_for_messages


@pytest.fixture
def ends() -> tuple[WorkerChannel, WorkerChannel]:
    """Two connected ends."""
    ours, theirs = socket.socketpair()
    return WorkerChannel(ours.detach()), WorkerChannel(theirs.detach())


def test_messages_arrive_whole_and_in_order(ends: tuple[WorkerChannel, WorkerChannel]) -> None:
    """Empty, small and larger than any buffer of the system."""
    sender, receiver = ends
    messages = [b"", b"a", os.urandom(100_000), b"", os.urandom(5_000_000), b"end"]
    thread = threading.Thread(target=lambda: [sender.send_bytes(message) for message in messages])
    thread.start()
    assert [receiver.recv_bytes() for _ in messages] == messages
    thread.join()
    assert not receiver.has_message()


def test_what_was_read_ahead_is_not_forgotten(ends: tuple[WorkerChannel, WorkerChannel]) -> None:
    """Several messages that arrive at once are all announced."""
    sender, receiver = ends
    for message in (b"one", b"two", b"three"):
        sender.send_bytes(message)
    seen = []
    while wait_for_messages([receiver], 0):
        seen.append(receiver.recv_bytes())
    assert seen == [b"one", b"two", b"three"]


def test_waiting_for_several(ends: tuple[WorkerChannel, WorkerChannel]) -> None:
    """Only those with something to say are returned; none after the time is over."""
    left, right = ends
    assert wait_for_messages([left, right], 0.01) == []
    left.send_bytes(b"x")
    assert wait_for_messages([left, right], 5) == [right]


def test_the_end(ends: tuple[WorkerChannel, WorkerChannel]) -> None:
    """A closed end is something to say; closing twice does no harm."""
    left, right = ends
    right.close()
    right.close()
    assert wait_for_messages([left], 5) == [left]
    with pytest.raises(EOFError):
        left.recv_bytes()
    with pytest.raises(OSError, match="pipe"):
        left.send_bytes(b"x")
    left.close()
