"""The config's polynomial: irreducible ones are taken, products are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.model.config import RepositoryConfig, decode_config, encode_config
from kuramori.model.polynomial import DEGREE, is_irreducible, random_polynomial


def times(left: int, right: int) -> int:
    """Multiply two polynomials over GF(2)."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = left << 1, right >> 1
    return product


def test_the_example_of_restics_chunker_is_irreducible() -> None:
    assert is_irreducible(0x3DA3358B4DC173)


@settings(max_examples=60)
@given(st.integers(1, DEGREE // 2), st.data())
def test_a_product_is_not(degree: int, data: st.DataObject) -> None:
    left = data.draw(st.integers(1 << degree, (1 << degree + 1) - 1)) | 1
    rest = DEGREE - degree
    right = data.draw(st.integers(1 << rest, (1 << rest + 1) - 1)) | 1
    product = times(left, right)
    assert product.bit_length() == DEGREE + 1
    assert not is_irreducible(product)


@pytest.mark.parametrize("polynomial", [0, 1, 3, -1, 0x3DA3358B4DC173 << 1, 0x3DA3358B4DC173 >> 1, 1 << DEGREE,
                                        (1 << DEGREE) | 1, (1 << 64) | 1])
def test_other_degrees_and_even_ones_are_refused(polynomial: int) -> None:
    """An even one has the divisor x, and x^53 + 1 the divisor x + 1."""
    assert not is_irreducible(polynomial)


def test_random_ones_are_irreducible_and_differ() -> None:
    found = {random_polynomial() for _ in range(3)}
    assert len(found) == 3
    for polynomial in found:
        assert polynomial.bit_length() == DEGREE + 1
        assert is_irreducible(polynomial)


def test_a_config_is_written_to_the_byte() -> None:
    config = RepositoryConfig(2, "ab" * 32, "3da3358b4dc173")
    document = encode_config(config)
    assert document == b'{"version":2,"id":"%s","chunker_polynomial":"3da3358b4dc173"}' % (b"ab" * 32)
    assert decode_config(document) == config


@pytest.mark.parametrize(("version", "name", "polynomial"), [
    (0, "ab" * 32, "3da3358b4dc173"), (3, "ab" * 32, "3da3358b4dc173"), (2, "AB" * 32, "3da3358b4dc173"),
    (2, "ab" * 31, "3da3358b4dc173"), (2, "ab" * 32, "3da3358b4dc172"), (2, "ab" * 32, "g"), (2, "ab" * 32, ""),
])
def test_a_config_that_is_not_allowed_is_refused(version: int, name: str, polynomial: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several sentences
        decode_config(encode_config(RepositoryConfig(version, name, polynomial)))
