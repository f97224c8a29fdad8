"""Records that come in pieces lie as if they had come at once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.repository import index_records
from kuramori.repository.index_records import KEY_LENGTH, RECORD, MemoryRecords, sort_records

_SHELF = 7
IDS = st.one_of(st.integers(0, 3), st.integers(0, 2**16 - 1)).map(
    lambda number: bytes((_SHELF,)) + number.to_bytes(2, "big") + bytes(29))
"""Some that come again and again, others at any place of the shelf."""
RECORDS = st.builds(RECORD.pack, IDS, st.integers(0, 1), st.integers(0, 2), st.integers(0, 1), st.just(40), st.just(0))
PIECES = st.lists(st.lists(RECORDS, max_size=12), max_size=6)


@pytest.mark.parametrize("few", [0, 4, 10**9])
@given(first=st.lists(RECORDS, max_size=150), pieces=PIECES)
def test_pieces_are_put_where_they_belong(few: int, first: Sequence[bytes], pieces: Sequence[Sequence[bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_records, "_FEW", few)  # all are put between the others, as it comes, or none
        records = MemoryRecords()
        added: list[bytes] = []
        for piece in (first, *pieces):
            added += piece
            records.put(_SHELF, b"".join(piece))
            expected = sort_records(b"".join(added))
            assert records.shelf(_SHELF) == b"".join(expected)
            assert records.count == len(expected)
    every = [bytes((_SHELF,)) + number.to_bytes(2, "big") + bytes(30) for number in (*range(6), *range(0, 2**16, 257))]
    every += [record[:KEY_LENGTH] for record in expected]
    assert records.has_each(every) == list(map(records.has, every))
    for place, record in enumerate(expected):
        key = record[:KEY_LENGTH]
        assert records.has(key)
        assert records.number(key) == [other[:KEY_LENGTH] for other in expected].index(key)
        assert records.record(place) == RECORD.unpack(record)
        assert records.tails(key) == b"".join(other[KEY_LENGTH:] for other in expected if other.startswith(key))
    for number in range(0, 2**16, 4099):
        key = bytes((_SHELF,)) + number.to_bytes(2, "big") + bytes(30)
        assert records.has(key) == any(record.startswith(key) for record in expected)
