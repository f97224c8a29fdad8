"""zstd, bounded (format section 1.5)."""

from __future__ import annotations

import enum
import threading
from array import array
from collections.abc import Iterator, Sequence

import zstandard

from kuramori.errors import N_

_HARDLY_SMALLER = 64
"""Of less bytes zstd makes no smaller code for letters, only for repetitions, and a frame takes 13 bytes by itself,
with its longer entry in the header of the pack: to try costs as much as to hash."""
_SAMPLE = 16 * 1024
_SAMPLED_FROM = 128 * 1024
_REPETITIONS = {"chain_log": 14, "min_match": 7}
"""What differs from zstd's third level for data that repeats long pieces, as logs do: it looks for nothing shorter, in
a smaller table. That takes four fifths of the time, and what it writes is 4 % smaller and sooner unpacked; programs
and databases would become 4 to 7 % larger by it."""
_STEP = 1024 * 1024
_SKIPPABLE = 0x184D2A50
_SKIPPABLE_HEADER = 8
_LARGEST_HEADER = 18


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
        self._knows_repetitions = compression is Compression.AUTO
        self._local = threading.local()

    def compress(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return one plain zstd frame that says its content size."""
        return self._context().compress(plain)

    def compress_if_smaller(self, plain: bytes | bytearray | memoryview) -> bytes | None:
        """Return the frame, or None where it would not be smaller, or hardly.

        Large buffers are sampled at three places first: photographs and videos are recognised without compressing them
        whole, and so is what becomes no larger when only long repetitions are looked for.
        """
        length = len(plain)
        if length < _HARDLY_SMALLER:
            return None
        context = self._context()
        if length >= _SAMPLED_FROM:
            view = memoryview(plain)
            middle = length // 2
            sample = b"".join((view[:_SAMPLE], view[middle : middle + _SAMPLE], view[-_SAMPLE:]))
            packed_sample = context.compress(sample)
            if len(packed_sample) > 0.985 * len(sample):
                return None
            if self._knows_repetitions:
                repeating = self._repetition_context()
                if len(repeating.compress(sample)) <= len(packed_sample):
                    context = repeating
        packed = context.compress(plain)
        return packed if len(packed) < length else None

    def _context(self) -> zstandard.ZstdCompressor:
        try:
            return self._local.context  # type: ignore[no-any-return]
        except AttributeError:
            self._local.context = zstandard.ZstdCompressor(level=self._level)
            return self._local.context  # type: ignore[no-any-return]

    def _repetition_context(self) -> zstandard.ZstdCompressor:
        try:
            return self._local.repetition_context  # type: ignore[no-any-return]
        except AttributeError:
            parameters = zstandard.ZstdCompressionParameters.from_level(self._level, **_REPETITIONS)
            self._local.repetition_context = zstandard.ZstdCompressor(compression_params=parameters)
            return self._local.repetition_context  # type: ignore[no-any-return]


_decompressors = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    # A context takes longer to make than a small blob to decompress.
    try:
        return _decompressors.context  # type: ignore[no-any-return]
    except AttributeError:
        _decompressors.context = zstandard.ZstdDecompressor()
        return _decompressors.context  # type: ignore[no-any-return]


def decompress_exactly(packed: bytes | memoryview, length: int) -> bytes:
    """Return what ``packed`` holds, which must be ``length`` bytes.

    Raises:
        DecompressionError: the data is malformed or cut off, or holds more or less. Not more than
            ``length`` bytes are produced before that is noticed.
    """
    try:
        # The declared size of a frame is hostile too: the library takes that much memory at once.
        if zstandard.frame_content_size(packed) in (length, -1):
            plain = _decompressor().decompress(packed, max_output_size=length)
            if len(plain) == length:
                return plain
    except zstandard.ZstdError:
        pass  # perhaps several frames: the careful way decides
    plain = decompress(packed, length)
    if len(plain) != length:
        raise DecompressionError(f"it holds {len(plain)} bytes, not {length} as declared")
    return plain


def decompress_all(packed: Sequence[bytes], lengths: Sequence[int]) -> list[bytes]:
    """Return what each of many small frames holds, in one call of the library: half the time of one call for each.

    Args:
        lengths: the bytes that each must hold; their sum is taken as memory at once.

    Raises:
        DecompressionError: one of them is not a single frame of just so many bytes. It may still be what
            :func:`decompress_exactly` accepts.
    """
    if not packed or 0 in lengths:  # the library divides by their number, and has no place for nothing
        return [decompress_exactly(frame, length) for frame, length in zip(packed, lengths, strict=True)]
    try:
        opened = _decompressor().multi_decompress_to_buffer(
            list(packed), decompressed_sizes=array("Q", lengths).tobytes())
        return [opened[number].tobytes() for number in range(len(lengths))]
    except (zstandard.ZstdError, ValueError) as error:
        raise DecompressionError(str(error)) from None


def decompress(packed: bytes | memoryview, limit: int) -> bytes:
    """Return what ``packed`` holds: one frame or several, with or without sizes in them.

    Args:
        limit: the most bytes that may come out.

    Raises:
        DecompressionError: the data is malformed, cut off, or would exceed ``limit``.
    """
    parts: list[bytes] = []
    left = limit
    for part in _pieces(packed):
        left -= len(part)
        if left < 0:
            raise DecompressionError(f"it holds more than {limit} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompresses_to(packed: bytes | memoryview, document: bytes) -> bool:
    """Tell whether ``packed`` holds just ``document``, without holding it a second time.

    Raises:
        DecompressionError: the data is malformed.
    """
    position = 0
    for part in _pieces(packed):
        if not document.startswith(part, position):  # views are compared byte by byte, by Python's own loop
            return False
        position += len(part)
    return position == len(document)


def _pieces(packed: bytes | memoryview) -> Iterator[bytes]:
    try:
        _require_whole_frames(packed)
        with _decompressor().stream_reader(packed, read_across_frames=True) as reader:
            while part := reader.read(_STEP):
                yield part
    except zstandard.ZstdError as error:
        raise DecompressionError(str(error)) from None


def _require_whole_frames(packed: bytes | memoryview) -> None:
    """Go from block to block to the end: the library's reader takes a frame that is cut off for
    one that ends there.

    Raises:
        DecompressionError: the last frame is not whole, or there is none.
        zstandard.ZstdError: a frame's header is malformed.
    """
    position, end = 0, len(packed)
    if not end:
        raise DecompressionError(N_("it is empty"))
    while position < end:
        if int.from_bytes(packed[position : position + 4], "little") & ~15 == _SKIPPABLE:
            position += _SKIPPABLE_HEADER + int.from_bytes(packed[position + 4 : position + 8], "little")
        else:
            position = _end_of_frame(packed, position)
    if position > end:
        raise DecompressionError(N_("it is cut off"))


def _end_of_frame(packed: bytes | memoryview, start: int) -> int:
    """Return where the frame at ``start`` ends: beyond the data if it is cut off."""
    header = packed[start : start + _LARGEST_HEADER]
    parameters = zstandard.get_frame_parameters(header)
    position = start + zstandard.frame_header_size(header)
    last = False
    while not last and position < len(packed):
        block = int.from_bytes(packed[position : position + 3], "little")
        last = bool(block & 1)
        repeated = block >> 1 & 3 == 1  # one byte that stands for many
        position += 3 + (1 if repeated else block >> 3)
    if not last:
        return len(packed) + 1
    return position + (4 if parameters.has_checksum else 0)
