"""Any frames of zstd are read, and nothing makes the reader take more memory than it was told."""

from __future__ import annotations

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kuramori.repository.compression import (
    Compression,
    Compressor,
    DecompressionError,
    decompress,
    decompress_exactly,
    decompresses_to,
)

PLAIN = st.one_of(st.binary(max_size=300),
                  st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=20),
                            st.integers(1, 20_000)))
LIMIT = 1 << 24


def frame(plain: bytes, *, size: bool, checksum: bool, level: int = 3) -> bytes:
    """Return a frame with or without its size and a checksum."""
    return zstandard.ZstdCompressor(level=level, write_content_size=size, write_checksum=checksum).compress(plain)


FRAMES = st.tuples(PLAIN, st.booleans(), st.booleans(), st.sampled_from([1, 3, 19]))


@given(PLAIN, st.sampled_from([*Compression][1:]))
def test_what_we_compress_comes_back(plain: bytes, compression: Compression) -> None:
    packed = Compressor(compression).compress(plain)
    assert decompress(packed, len(plain)) == decompress_exactly(packed, len(plain)) == plain
    assert zstandard.frame_content_size(packed) == len(plain)
    assert zstandard.decompress(packed) == plain
    assert decompresses_to(packed, plain)
    assert not decompresses_to(packed, plain + b"x")
    smaller = Compressor(compression).compress_if_smaller(plain)
    assert smaller is None or (len(smaller) < len(plain) and decompress_exactly(smaller, len(plain)) == plain)


@given(st.lists(FRAMES, min_size=1, max_size=4), st.booleans())
def test_frames_of_every_kind_one_after_the_other(frames: list[tuple[bytes, bool, bool, int]], skippable: bool) -> None:
    plain = b"".join(part for part, *_ in frames)
    packed = b"".join(frame(part, size=size, checksum=checksum, level=level) for part, size, checksum, level in frames)
    if skippable:
        packed += b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert decompress(packed, LIMIT) == plain
    assert decompress_exactly(packed, len(plain)) == plain


@given(FRAMES, st.data())
def test_a_cut_off_frame_is_refused(made: tuple[bytes, bool, bool, int], data: st.DataObject) -> None:
    plain, size, checksum, level = made
    packed = frame(plain, size=size, checksum=checksum, level=level)
    end = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(DecompressionError):
        decompress(packed[:end], LIMIT)
    if plain:  # an empty blob is never compressed
        with pytest.raises(DecompressionError):
            decompress_exactly(packed[:end], len(plain))


@given(FRAMES, st.integers(0, 400_000))
def test_another_length_than_declared_is_refused(made: tuple[bytes, bool, bool, int], declared: int) -> None:
    plain, size, checksum, level = made
    packed = frame(plain, size=size, checksum=checksum, level=level)
    if declared == len(plain):
        declared += 1
    with pytest.raises(DecompressionError):
        decompress_exactly(packed, declared)
    if declared < len(plain):
        with pytest.raises(DecompressionError):
            decompress(packed, declared)


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_garbage_raises_nothing_else(garbage: bytes, declared: int) -> None:
    for packed in (garbage, b"\x28\xb5\x2f\xfd" + garbage):
        try:
            assert len(decompress_exactly(packed, declared)) == declared
        except DecompressionError:
            pass
        try:
            assert len(decompress(packed, declared)) <= declared
        except DecompressionError:
            pass


@pytest.mark.parametrize("size", [True, False])
def test_a_bomb_takes_no_memory(size: bool) -> None:
    """300 MB of zeros in 30 KB, with their size declared in the frame or not."""
    bomb = frame(bytes(300_000_000), size=size, checksum=False)
    assert len(bomb) < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(DecompressionError):
            decompress_exactly(bomb, 1000)
        with pytest.raises(DecompressionError):
            decompress(bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_declared_size_takes_no_memory_either() -> None:
    """A frame that claims a terabyte and holds nothing."""
    liar = bytes.fromhex("28b52ffd") + bytes([0b11100000]) + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00"
    assert zstandard.frame_content_size(liar) == 1 << 40
    tracemalloc.start()
    try:
        for length in (0, 5, 1 << 30):
            with pytest.raises(DecompressionError):
                decompress_exactly(liar, length)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
