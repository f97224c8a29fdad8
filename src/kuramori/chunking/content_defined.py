"""Content-defined chunks: FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for
Data Deduplication Based Storage Systems", IEEE TPDS 2020).

The gear table is seeded from the repository's master key: whoever sees only sizes cannot know
where we cut. restic never derives cuts again, so any cuts are legal (format section 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pyfastcdc import FastCDC

MINIMUM_SIZE = 512 * 1024
AVERAGE_SIZE = 1024 * 1024
MAXIMUM_SIZE = 8 * 1024 * 1024


def derive_seed(key_parts: Sequence[bytes]) -> int:
    """Return the seed of the gear table (63 bits, what the cutter takes) for a master key (its
    parts in order)."""
    digest = hashlib.sha256(b"kuramori chunker seed 1\0" + b"".join(key_parts)).digest()
    return int.from_bytes(digest[:8], "little") >> 1 or 1


class ContentDefinedChunker:
    """Cuts buffers into chunks of 512 KiB to 8 MiB. Used by one thread."""

    def __init__(self, seed: int) -> None:
        """Cut by the gear table of ``seed``."""
        self._cutter = FastCDC(AVERAGE_SIZE, min_size=MINIMUM_SIZE, max_size=MAXIMUM_SIZE, seed=seed)

    def lengths(self, buffer: bytes | bytearray | memoryview, final: bool) -> Iterator[int]:
        """Yield the lengths of the chunks at the beginning of ``buffer``.

        Args:
            buffer: begins at a cut.
            final: the source ends with the buffer. Otherwise only chunks are given whose end does
                not depend on what follows: the cutter looks at most one maximum chunk ahead, and a
                cut it finds before the end of the buffer stays where it is if the buffer is longer
                than twice the average (before that, the paper's normalisation looks at the rest).
        """
        left = len(buffer)
        if final and left <= MINIMUM_SIZE:
            if left:
                yield left
            return
        for chunk in self._cutter.cut_buf(buffer):
            length = chunk.length
            if not final and left < MAXIMUM_SIZE and (length >= left or left < 2 * AVERAGE_SIZE):
                return
            yield length
            left -= length
