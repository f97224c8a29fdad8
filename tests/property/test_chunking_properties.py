"""Chunks put together are what was cut; their sizes and places follow the rules."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.chunking.content_defined import (
    AVERAGE_SIZE,
    MAXIMUM_SIZE,
    MINIMUM_SIZE,
    ContentDefinedChunker,
    derive_seed,
)

SEED = derive_seed([b"e" * 32, b"k" * 16, b"r" * 16])
MEGABYTE = 1 << 20
LARGEST = 18 * MEGABYTE


@lru_cache(maxsize=3)
def material(number: int) -> memoryview:
    """Return 18 MiB that depend on the number: random bytes, zeros, and what repeats."""
    numbers = random.Random(number)
    parts: list[bytes] = []
    length = 0
    while length < LARGEST:
        kind = numbers.randrange(4)
        part = (numbers.randbytes(numbers.randrange(1, 3 * MEGABYTE)) if kind > 1
                else bytes(numbers.randrange(1, 2 * MEGABYTE)) if kind else b"line of a log\n" * 20_000)
        parts.append(part)
        length += len(part)
    return memoryview(b"".join(parts))


def content(number: int, size: int) -> memoryview:
    """Return the first ``size`` bytes of a material, without a copy: these tests must stay quick."""
    return material(number)[:size]


def cut(data: bytes | memoryview, seed: int = SEED) -> list[int]:
    """Return the lengths of all chunks of what lies in one buffer."""
    return list(ContentDefinedChunker(seed).lengths(data, final=True))


def cut_in_pieces(data: memoryview, sizes: list[int]) -> list[int]:
    """Return the lengths when the data comes in pieces, as a reader of a stream cuts it."""
    chunker = ContentDefinedChunker(SEED)
    found: list[int] = []
    buffer = bytearray()
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        turn += 1
        buffer += data[position : position + size]
        position += size
        taken = list(chunker.lengths(bytes(buffer), final=False))
        found += taken
        del buffer[: sum(taken)]
    return found + list(chunker.lengths(bytes(buffer), final=True))


SIZES = st.one_of(st.integers(0, 3 * MINIMUM_SIZE), st.integers(0, LARGEST),
                  st.sampled_from([0, 1, MINIMUM_SIZE - 1, MINIMUM_SIZE, MINIMUM_SIZE + 1, AVERAGE_SIZE,
                                   MAXIMUM_SIZE - 1, MAXIMUM_SIZE, MAXIMUM_SIZE + 1]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), SIZES)
def test_chunks_together_are_the_whole_and_have_their_sizes(number: int, size: int) -> None:
    lengths = cut(content(number, size))
    assert sum(lengths) == size
    assert all(MINIMUM_SIZE <= length <= MAXIMUM_SIZE for length in lengths[:-1])
    assert all(0 < length <= MAXIMUM_SIZE for length in lengths)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.integers(0, LARGEST),
       st.lists(st.integers(MEGABYTE, 17 * MEGABYTE), min_size=1, max_size=4))
def test_pieces_cut_as_the_whole(number: int, size: int, sizes: list[int]) -> None:
    data = content(number, size)
    assert cut_in_pieces(data, sizes) == cut(data)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2), st.integers(0, 8 * MEGABYTE))
def test_the_same_seed_cuts_alike(number: int, size: int) -> None:
    data = content(number, size)
    assert cut(data) == cut(bytes(data)) == cut(data)


@pytest.mark.parametrize("number", range(3))
def test_another_seed_cuts_elsewhere(number: int) -> None:
    data = random.Random(number).randbytes(8 * MEGABYTE)
    other = derive_seed([b"e" * 32, b"k" * 16, b"s" * 16])
    assert other != SEED
    assert cut(data) != cut(data, other)


@pytest.mark.parametrize("byte", [0, 255])
def test_what_never_ends_a_chunk_is_cut_at_the_largest_size(byte: int) -> None:
    lengths = cut(bytes((byte,)) * (3 * MAXIMUM_SIZE + 5))
    assert sum(lengths) == 3 * MAXIMUM_SIZE + 5
    assert len(lengths) >= 4
    assert max(lengths) <= MAXIMUM_SIZE


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 100), st.integers(1, 5000))
def test_most_chunks_stay_when_something_is_put_in_front(number: int, inserted: int) -> None:
    data = random.Random(number).randbytes(12 * MEGABYTE)

    def chunks(whole: bytes) -> set[bytes]:
        found, position = set(), 0
        for length in cut(whole):
            found.add(whole[position : position + length])
            position += length
        return found

    before = chunks(data)
    after = chunks(random.Random(number + 1).randbytes(inserted) + data)
    assert len(before & after) >= len(before) * 2 // 3


def test_the_seed_depends_on_every_part_of_the_key() -> None:
    parts = [b"e" * 32, b"k" * 16, b"r" * 16]
    seeds = {derive_seed(parts)}
    for index in range(3):
        changed = list(parts)
        changed[index] = b"x" + changed[index][1:]
        seeds.add(derive_seed(changed))
    assert len(seeds) == 4
    assert all(0 < seed < 1 << 63 for seed in seeds)
