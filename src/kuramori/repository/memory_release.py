"""Giving memory back to the system after something large was done with, where the C library can (glibc)."""

from __future__ import annotations

from collections.abc import Callable

_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of ``malloc.h``."""
_LARGE_BLOCK = 16 * 1024


def release_memory() -> None:
    """Give back what was freed. The library keeps freed memory between pieces that are still in use: after the index of
    a million blobs was read 50 MB, as much as the index itself. Takes some milliseconds."""
    trim = _function_of_library("malloc_trim")
    if trim is not None:
        trim(0)


def keep_large_blocks_apart() -> None:
    """Have every block of more than 16 KiB taken from the system by itself, and given back when it is freed, until the
    process ends. Else such blocks come from a heap that grows as they are freed, and where an index grows beside them
    for long, they leave holes. Costs a system call for each: for a process that has few. May be called twice."""
    set_option = _function_of_library("mallopt")
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGE_BLOCK)


def _function_of_library(name: str) -> Callable[..., object] | None:
    import ctypes  # takes 10 ms to load, and is not needed by small jobs

    try:
        found: Callable[..., object] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None  # another C library
    return found
