"""Giving memory back to the system after something large was done with."""

from __future__ import annotations


def release_memory() -> None:
    """Give back what was freed, where the C library can (glibc). It keeps freed memory between pieces that are still
    in use: after the index of a million blobs was read 50 MB, as much as the index itself. Takes some milliseconds."""
    import ctypes  # takes 10 ms to load, and is not needed by small jobs

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return  # another C library
    trim(0)
