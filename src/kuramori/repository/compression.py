"""zstd, bounded (format section 1.5)."""

from __future__ import annotations

import enum
import sys
import threading

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SAMPLE = 16 * 1024
_SAMPLED_FROM = 128 * 1024


class Compression(enum.Enum):
    """How hard to compress; the names are restic's."""

    OFF = "off"
    FASTEST = "fastest"
    AUTO = "auto"
    BETTER = "better"
    MAX = "max"


_LEVELS = {Compression.FASTEST: 1, Compression.AUTO: 3, Compression.BETTER: 9, Compression.MAX: 19}


class DecompressionError(Exception):
    """The data is no zstd, is cut off, or holds more than was declared."""


class Compressor:
    """Compresses one buffer at a time at one level. May be used by several threads."""

    def __init__(self, compression: Compression) -> None:
        """Prepare for a level other than ``OFF``."""
        self._level = _LEVELS[compression]
        self._local = threading.local()

    def compress(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return one plain zstd frame that says its content size."""
        return self._context().compress(plain, zstd.ZstdCompressor.FLUSH_FRAME)

    def compress_if_smaller(self, plain: bytes | bytearray | memoryview) -> bytes | None:
        """Return the frame, or None where it would not be smaller.

        Large buffers are sampled at three places first: photographs and videos are recognised
        without compressing them whole.
        """
        length = len(plain)
        context = self._context()
        if length >= _SAMPLED_FROM:
            view = memoryview(plain)
            middle = length // 2
            sample = b"".join((view[:_SAMPLE], view[middle : middle + _SAMPLE], view[-_SAMPLE:]))
            if len(context.compress(sample, zstd.ZstdCompressor.FLUSH_FRAME)) > 0.985 * len(sample):
                return None
        packed = context.compress(plain, zstd.ZstdCompressor.FLUSH_FRAME)
        return packed if len(packed) < length else None

    def _context(self) -> zstd.ZstdCompressor:
        try:
            return self._local.context  # type: ignore[no-any-return]
        except AttributeError:
            self._local.context = zstd.ZstdCompressor(level=self._level)
            return self._local.context  # type: ignore[no-any-return]


def decompress(packed: bytes | memoryview, limit: int) -> bytes:
    """Return what ``packed`` holds: one frame or several, with or without sizes in them.

    Args:
        limit: the most bytes that may come out; not one more is produced.

    Raises:
        DecompressionError: the data is malformed, cut off, or would exceed ``limit``.
    """
    parts: list[bytes] = []
    left = limit
    rest: bytes | memoryview = packed
    while rest:
        decompressor = zstd.ZstdDecompressor()
        try:
            part = decompressor.decompress(rest, left + 1)
        except (zstd.ZstdError, ValueError) as error:
            raise DecompressionError(f"zstd: {error}") from None
        if len(part) > left:
            raise DecompressionError(f"it holds more than {limit} bytes")
        if not decompressor.eof:
            raise DecompressionError("the zstd data is cut off")
        left -= len(part)
        parts.append(part)
        rest = decompressor.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
