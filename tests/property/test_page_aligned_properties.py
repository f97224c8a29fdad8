"""Chunks of databases, and the image that is put together from pages, for any sizes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.chunking.page_aligned import LARGEST_PAGE, SMALLEST_PAGE, chunk_bounds
from kuramori.sources.sqlite_stream import ImageAssembler, ImageError

PAGE_SIZES = st.sampled_from([SMALLEST_PAGE << power for power in range(8)])
_TIB = 1 << 40


def test_the_page_sizes_are_those_of_sqlite() -> None:
    assert SMALLEST_PAGE << 7 == LARGEST_PAGE


@given(st.integers(0, _TIB), PAGE_SIZES)
def test_a_chunk_holds_its_offset_and_whole_pages_and_its_neighbours_meet_it(offset: int, page_size: int) -> None:
    start, end = chunk_bounds(offset, page_size)
    assert start <= offset < end
    assert start % page_size == 0
    assert end % page_size == 0
    assert end - start <= 1 << 20
    assert chunk_bounds(start, page_size) == chunk_bounds(end - 1, page_size) == (start, end)
    assert chunk_bounds(end, page_size)[0] == end
    assert start == 0 or chunk_bounds(start - 1, page_size)[1] == start


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_databases_of_all_sizes_have_a_bearable_number_of_chunks(page_size: int) -> None:
    counts, offset, number = {}, 0, 0
    limits = {300_000_000, 10_000_000_000}
    while limits:
        _, offset = chunk_bounds(offset, page_size)
        number += 1
        for limit in [limit for limit in limits if offset >= limit]:
            counts[limit] = number
            limits.remove(limit)
    assert counts[300_000_000] <= 19_000
    assert counts[10_000_000_000] < 190_000


def _pages(chance: random.Random, page_size: int, count: int) -> bytes:
    return chance.randbytes(page_size * count)


@settings(deadline=None)
@given(PAGE_SIZES, st.integers(1, 90), st.integers(0, 2**32), st.integers(0, 8))
def test_pages_in_nearly_any_order_make_the_image(page_size: int, count: int, seed: int, late: int) -> None:
    """Pages that come late, the first one above all, still get into their chunk."""
    chance = random.Random(seed)
    content = _pages(chance, page_size, count)
    order = list(range(count))
    for _ in range(late):
        order.append(order.pop(chance.randrange(len(order))))
    image = bytearray(len(content))
    starts: list[int] = []

    def take(offset: int, chunk: bytearray) -> None:
        starts.append(offset)
        image[offset : offset + len(chunk)] = chunk

    assembler = ImageAssembler(page_size, take)
    for number in order:
        assembler.write(content[number * page_size : (number + 1) * page_size], number * page_size)
    assert assembler.finish() == len(content)
    assert image == content
    assert len(set(starts)) == len(starts)
    assert all(chunk_bounds(start, page_size)[0] == start for start in starts)


@settings(deadline=None)
@given(PAGE_SIZES, st.integers(2, 60), st.integers(0, 2**32))
def test_a_missing_or_doubled_page_is_noticed(page_size: int, count: int, seed: int) -> None:
    chance = random.Random(seed)
    content = _pages(chance, page_size, count)
    missing, doubled = chance.randrange(count - 1), chance.randrange(count)
    pages = [(content[start : start + page_size], start) for start in range(0, len(content), page_size)]

    def assemble(given: list[tuple[bytes, int]]) -> None:
        chunks: dict[int, bytearray] = {}
        assembler = ImageAssembler(page_size, chunks.__setitem__)
        for page, offset in given:
            assembler.write(page, offset)
        assembler.finish()
        image = b"".join(bytes(chunks[start]) for start in sorted(chunks))
        assert image == content, "a page that came twice is in the image once"

    with pytest.raises(ImageError):
        assemble(pages[:missing] + pages[missing + 1 :])
    if chunk_bounds(doubled * page_size, page_size)[1] <= len(content):
        with pytest.raises(ImageError, match="twice"):
            assemble([*pages, pages[doubled]])
    with pytest.raises(ImageError, match="not a page"):
        assemble([(content[:page_size], 1)])
