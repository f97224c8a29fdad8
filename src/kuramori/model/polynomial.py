"""The polynomial over GF(2) that every config holds (format section 1.4 and 4).

Our own chunks do not need it, restic's do: each repository gets a random irreducible one of
degree 53.
"""

from __future__ import annotations

import secrets

DEGREE = 53


def _remainder(value: int, modulus: int) -> int:
    degree = modulus.bit_length()
    while value.bit_length() >= degree:
        value ^= modulus << (value.bit_length() - degree)
    return value


def _multiply(left: int, right: int, modulus: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        right >>= 1
    return _remainder(product, modulus)


def _greatest_common_divisor(left: int, right: int) -> int:
    while right:
        left, right = right, _remainder(left, right)
    return left


def is_irreducible(polynomial: int) -> bool:
    """Tell whether a polynomial of degree 53 has no divisor (Ben-Or's test)."""
    if polynomial.bit_length() != DEGREE + 1 or not polynomial & 1:
        return False
    power = 2  # x
    for _ in range(DEGREE // 2):
        power = _multiply(power, power, polynomial)
        if _greatest_common_divisor(polynomial, power ^ 2) != 1:
            return False
    return True


def random_polynomial() -> int:
    """Return a random irreducible polynomial of degree 53, from the system's random source."""
    while True:
        candidate = secrets.randbits(DEGREE) | (1 << DEGREE) | 1
        if is_irreducible(candidate):
            return candidate
