"""Nonces never repeat: two messages under one nonce would give away both of them and the MAC key."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from kuramori.crypto.master_key import NONCE_LENGTH, MasterKey

SEALS = 1_000_000


@pytest.mark.exhaustive
def test_a_million_seals_have_a_million_nonces() -> None:
    key = MasterKey.random()
    nonces = {bytes(key.seal(b"")[:NONCE_LENGTH]) for _ in range(SEALS)}
    assert len(nonces) == SEALS
    # A counter, or a generator with too little randomness, would show here: all sixteen bytes vary.
    sample = list(nonces)[:10_000]
    for position in range(NONCE_LENGTH):
        assert len({nonce[position] for nonce in sample}) == 256


def test_threads_share_no_nonce() -> None:
    key = MasterKey.random()

    def seal_many(_: int) -> list[bytes]:
        return [bytes(key.seal(b"x")[:NONCE_LENGTH]) for _ in range(5_000)]

    with ThreadPoolExecutor(8) as executor:
        drawn = [nonce for nonces in executor.map(seal_many, range(16)) for nonce in nonces]
    assert len(set(drawn)) == len(drawn) == 80_000


def test_a_forked_child_uses_no_nonce_of_its_parent() -> None:
    """Nonces are drawn many at a time; a child inherits the memory of those not used yet."""
    key = MasterKey.random()
    key.seal(b"draws the first ones")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writer, "wb") as pipe:
            for _ in range(500):
                pipe.write(key.seal(b"")[:NONCE_LENGTH])
        os._exit(0)
    os.close(writer)
    own = {bytes(key.seal(b"")[:NONCE_LENGTH]) for _ in range(500)}
    with os.fdopen(reader, "rb") as pipe:
        drawn = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    theirs = {drawn[start : start + NONCE_LENGTH] for start in range(0, len(drawn), NONCE_LENGTH)}
    assert len(own) == len(theirs) == 500
    assert not own & theirs
