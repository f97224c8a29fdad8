"""Fixed chunks for databases, aligned to their pages.

A database changes page by page and in place: what moves in a text file when a line is added stays
where it is in a database. So cuts at fixed offsets find what is unchanged, and small chunks keep
a changed page cheap. Where the cuts lie depends on nothing but the offset (and on the page's size,
which never changes but by VACUUM): they stay when the database grows.
"""

from __future__ import annotations

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB

_STEPS = ((512 * _MIB, 16 * _KIB), (2 * _GIB, 32 * _KIB), (8 * _GIB, 64 * _KIB), (64 * _GIB, 256 * _KIB))
"""Up to which offset chunks have which size. A changed page costs a chunk, and every chunk costs
some 34 bytes of each snapshot's tree and 50 of an index. The sizes keep both of the same order:
a database of 300 MB has 19 thousand chunks, one of 10 GB 185 thousand (640 thousand if all had 16
KiB). Every boundary is a multiple of all sizes up to there."""
_LARGEST = _MIB

SMALLEST_PAGE = 512
LARGEST_PAGE = 64 * _KIB


def chunk_bounds(offset: int, page_size: int) -> tuple[int, int]:
    """Return the first offset of the chunk that holds the byte at ``offset``, and the first one
    behind the chunk. A database may end before that.

    Args:
        page_size: bytes, a power of two from 512 to 65536. No chunk is smaller than a page.
    """
    size = _LARGEST
    for limit, step in _STEPS:
        if offset < limit:
            size = step
            break
    size = max(size, page_size)
    start = offset - offset % size
    return start, start + size
