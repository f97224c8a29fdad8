"""What is sealed opens to the same bytes, and nothing else opens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from hypothesis import given
from hypothesis import strategies as st

from kuramori.crypto.master_key import SEAL_OVERHEAD, MasterKey, OpenError
from kuramori.errors import DamagedError, SealVerificationError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.compression import Compression
from kuramori.repository.sealing import BlobSealer, open_blob, open_unpacked, seal_unpacked

KEY = MasterKey.random()
PACK = hash_id(b"some pack")
PLAIN = st.one_of(st.binary(max_size=300),
                  st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=20),
                            st.integers(0, 20_000)))


def poly1305(key: bytes, message: bytes) -> bytes:
    """Poly1305 straight from its definition, slow and without any library."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start : start + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:32], "little")) % (1 << 128)).to_bytes(16, "little")


@given(PLAIN)
def test_sealed_bytes_open_to_what_they_were(plain: bytes) -> None:
    sealed = KEY.seal(plain)
    assert len(sealed) == len(plain) + SEAL_OVERHEAD
    assert KEY.open(sealed) == KEY.open(bytes(sealed)) == KEY.open(memoryview(sealed)) == plain


@given(PLAIN)
def test_a_seal_is_what_the_format_describes(plain: bytes) -> None:
    encrypt, k, r = KEY.reveal()
    sealed = bytes(KEY.seal(plain))
    nonce, text, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    assert Cipher(AES(encrypt), CTR(nonce)).encryptor().update(plain) == text
    assert poly1305(r + Cipher(AES(k), ECB()).encryptor().update(nonce), text) == tag


@given(st.lists(PLAIN, max_size=40))
def test_many_seals_are_each_what_one_is(plains: list[bytes]) -> None:
    encrypt, k, r = KEY.reveal()
    seals = KEY.seal_all(plains)
    assert [KEY.open(sealed) for sealed in seals] == plains
    assert KEY.open_all(b"".join(seals), list(map(len, seals))) == plains
    assert len({sealed[:16] for sealed in seals}) == len(plains), "every nonce is used once"
    for plain, sealed in zip(plains, seals, strict=True):
        nonce, text, tag = sealed[:16], sealed[16:-16], sealed[-16:]
        assert Cipher(AES(encrypt), CTR(nonce)).encryptor().update(plain) == text
        assert poly1305(r + Cipher(AES(k), ECB()).encryptor().update(nonce), text) == tag


@pytest.mark.parametrize("compression", Compression)
@given(plains=st.lists(PLAIN, max_size=40))
def test_blobs_that_are_sealed_together_open_one_by_one(plains: list[bytes], compression: Compression) -> None:
    ids = [hash_id(plain) for plain in plains]
    sealed, uncompressed_lengths = BlobSealer(KEY, 2, compression).seal_all(BlobType.DATA, ids, plains)
    for blob_id, plain, one, uncompressed_length in zip(ids, plains, sealed, uncompressed_lengths, strict=True):
        blob = PackedBlob(BlobType.DATA, blob_id, PACK, 0, len(one), uncompressed_length)
        assert open_blob(KEY, one, blob) == plain
        assert blob.plain_length == len(plain)


class _FaultyKey(MasterKey):
    """One of the texts that it seals together is not what it was given: a bit of memory has flipped."""

    def seal_all(self, plains: Sequence[bytes]) -> list[bytes]:
        place = len(plains) // 2
        return super().seal_all([*plains[:place], b"x" + plains[place][1:], *plains[place + 1 :]])


@pytest.mark.parametrize("content", [b"small", b"large enough to be compressed " * 50])
def test_what_was_sealed_wrongly_is_noticed_among_many(content: bytes) -> None:
    plains = [content + b"%d" % number for number in range(9)]
    sealer = BlobSealer(_FaultyKey(*KEY.reveal()), 2, Compression.AUTO)
    with pytest.raises(SealVerificationError):
        sealer.seal_all(BlobType.DATA, list(map(hash_id, plains)), plains)


@given(PLAIN, st.data())
def test_a_flipped_bit_does_not_open(plain: bytes, data: st.DataObject) -> None:
    sealed = KEY.seal(plain)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(OpenError):
        KEY.open(sealed)


@given(PLAIN, st.data())
def test_cut_off_or_longer_does_not_open(plain: bytes, data: st.DataObject) -> None:
    sealed = bytes(KEY.seal(plain))
    end = data.draw(st.integers(0, len(sealed) - 1))
    for wrong in (sealed[:end], sealed[end + 1 :], sealed + b"\0"):
        with pytest.raises(OpenError):
            KEY.open(wrong)


@given(st.binary(max_size=200))
def test_random_bytes_do_not_open(garbage: bytes) -> None:
    with pytest.raises(OpenError):
        KEY.open(garbage)


@given(st.binary(max_size=50))
def test_another_key_does_not_open(plain: bytes) -> None:
    with pytest.raises(OpenError):
        MasterKey.random().open(KEY.seal(plain))


@given(plain=PLAIN, blob_type=st.sampled_from(BlobType), compression=st.sampled_from([*Compression][:4]),
       version=st.sampled_from([1, 2]))
def test_a_blob_comes_back(plain: bytes, blob_type: BlobType, compression: Compression, version: int) -> None:
    sealed, length = BlobSealer(KEY, version, compression).seal(blob_type, hash_id(plain), plain)
    assert length in (0, len(plain))
    assert version == 2 or length == 0
    blob = PackedBlob(blob_type, hash_id(plain), PACK, 0, len(sealed), length)
    assert open_blob(KEY, sealed, blob) == plain
    assert blob.plain_length == len(plain)


@given(plain=PLAIN, declared=st.integers(0, 2**32 - 1), sealed_length=st.integers(-40, 40))
def test_a_wrong_length_is_damage_and_no_longer_than_declared_comes_out(
        plain: bytes, declared: int, sealed_length: int) -> None:
    sealed, length = BlobSealer(KEY, 2, Compression.AUTO).seal(BlobType.TREE, hash_id(plain), plain)
    blob = PackedBlob(BlobType.TREE, hash_id(plain), PACK, 0, len(sealed) + sealed_length, declared)
    if declared == length and sealed_length == 0:
        assert open_blob(KEY, sealed, blob) == plain
        return
    with pytest.raises(DamagedError):
        open_blob(KEY, sealed, blob)


@given(PLAIN)
def test_a_blob_of_another_id_is_damage(plain: bytes) -> None:
    sealed = KEY.seal(plain)
    blob = PackedBlob(BlobType.DATA, Id(hashlib.sha256(plain + b"x").digest()), PACK, 0, len(sealed), 0)
    with pytest.raises(DamagedError, match="does not match its id"):
        open_blob(KEY, sealed, blob)


@given(st.binary(max_size=400), st.sampled_from([1, 2]))
def test_a_document_comes_back(rest: bytes, version: int) -> None:
    document = b"{" + rest
    assert open_unpacked(KEY, seal_unpacked(KEY, version, document), "it") == document


@given(st.binary(max_size=200))
def test_sealed_garbage_is_a_document_or_damage(garbage: bytes) -> None:
    for plain in (garbage, b"\x02" + garbage):
        try:
            found = open_unpacked(KEY, bytes(KEY.seal(plain)), "it")
        except DamagedError:
            continue
        assert found == plain or plain[:1] == b"\x02"
