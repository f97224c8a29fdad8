"""Chunks that pass from one worker to another, through memory that both have.

A large file is read and cut by one process, and so is a database, whose locks belong to one. Sealing takes most of the
time, so chunks that are to be stored are put where another worker, that has nothing else to do, reads them. Through
sockets they would be copied four times on their way.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

from kuramori.archiving.storing import Chunk

SLOT_BYTES = 2 * 1024 * 1024
"""What one slot holds. Only what is used of it takes memory."""


def make_exchange(slots: int) -> int | None:
    """Return a descriptor of memory for so many slots; None where the system has no such thing (only Linux has)."""
    try:
        fd = os.memfd_create("kuramori-chunks", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return None
    try:
        os.ftruncate(fd, slots * SLOT_BYTES)
    except OSError:
        os.close(fd)
        return None
    return fd


class ChunkExchange:
    """One process's view of the memory. Who may touch a slot is agreed upon by messages."""

    def __init__(self, fd: int) -> None:
        """Look at what :func:`make_exchange` made; the descriptor may be closed then."""
        self._view = memoryview(mmap.mmap(fd, os.fstat(fd).st_size))

    def put(self, slot: int, chunks: Sequence[Chunk]) -> list[int]:
        """Copy chunks into a slot, one behind the other; return their lengths. All together must fit."""
        at = slot * SLOT_BYTES
        for chunk in chunks:
            self._view[at : at + len(chunk)] = chunk
            at += len(chunk)
        return list(map(len, chunks))

    def take(self, slot: int, lengths: Sequence[int]) -> list[memoryview]:
        """Return what was put into a slot, as it lies there: valid until the slot is used again."""
        views, at = [], slot * SLOT_BYTES
        for length in lengths:
            views.append(self._view[at : at + length])
            at += length
        return views
