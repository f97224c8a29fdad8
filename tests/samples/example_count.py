"""How long random histories are searched."""

from __future__ import annotations

import os


def example_count(otherwise: int) -> int:
    """Return how many examples to try: ``KURAMORI_TEST_EXAMPLES``, or else so many."""
    return int(os.environ.get("KURAMORI_TEST_EXAMPLES") or otherwise)
