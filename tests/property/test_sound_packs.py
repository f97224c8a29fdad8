"""The quick look at a pack says the same as the careful one: for any mixture of blobs, and for any damage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.clock import SystemClock
from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import DamagedError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.sound_packs import sound_digest
from kuramori.model.blob import BlobType
from kuramori.model.config import RepositoryConfig
from kuramori.repository.compression import Compression, Compressor, DecompressionError, decompress_all
from kuramori.repository.pack_description import describe_header
from kuramori.repository.pack_header import COMPRESSED_ENTRY, PLAIN_ENTRY, decode_opened_header
from kuramori.repository.packer import Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer, blobs_are_sound
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend

KEY = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)
PACK = Id(bytes(32))
BLOBS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 50)).map(lambda two: two[0] * two[1]),
                 min_size=1, max_size=30)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Draw a header: runs of entries of the same kind, some long."""
    parts = []
    for kind, count in draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 1, 2, 5, 4097])), max_size=6)):
        for number in range(count):
            blob_id = hash_id(b"%d" % number)
            parts.append(COMPRESSED_ENTRY.pack(kind, 32 + number, number + 1, blob_id) if kind > 1
                         else PLAIN_ENTRY.pack(kind, 32 + number, blob_id))
    return b"".join(parts)


@settings(max_examples=40, deadline=None)
@given(headers(), st.integers(0, 40))
def test_a_header_in_columns_says_what_it_says_as_objects(header: bytes, cut: int) -> None:
    described = describe_header(header, PACK)
    assert list(described.blobs()) == decode_opened_header(header, PACK)
    shorter = header[: len(header) - cut]
    try:
        expected = decode_opened_header(shorter, PACK)
    except DamagedError:
        with pytest.raises(DamagedError):
            describe_header(shorter, PACK)
    else:
        assert list(describe_header(shorter, PACK).blobs()) == expected


@given(st.binary(min_size=1, max_size=80), headers())
@settings(max_examples=30, deadline=None)
def test_what_is_no_header_is_refused_in_the_same_cases(noise: bytes, header: bytes) -> None:
    for document in (noise, header + noise):
        try:
            expected = decode_opened_header(document, PACK)
        except DamagedError:
            with pytest.raises(DamagedError):
                describe_header(document, PACK)
        else:
            assert list(describe_header(document, PACK).blobs()) == expected


@settings(max_examples=40, deadline=None)
@given(BLOBS, st.data())
def test_many_at_once_open_to_what_each_opens_to(blobs: list[bytes], data: st.DataObject) -> None:
    sealed = [bytes(KEY.seal(blob)) for blob in blobs]
    lengths = [len(one) for one in sealed]
    joined = bytearray(b"".join(sealed))
    assert KEY.open_all(bytes(joined), lengths) == blobs
    for wrong in (lengths[:-1], [*lengths[:-1], lengths[-1] + 1], [*lengths, 31]):
        with pytest.raises(OpenError):
            KEY.open_all(bytes(joined), wrong) if wrong else KEY.open_all(bytes(joined), [0])
    joined[data.draw(st.integers(0, len(joined) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(OpenError):
        KEY.open_all(bytes(joined), lengths)


def test_a_nonce_of_zeros_is_refused_among_many() -> None:
    sealed = bytes(KEY.seal(b"one"))
    with pytest.raises(OpenError, match="nonce"):
        KEY.open_all(sealed + bytes(16) + sealed[16:], [len(sealed)] * 2)


@settings(max_examples=30, deadline=None)
@given(BLOBS, st.data())
def test_a_pack_is_sound_until_a_bit_of_it_is_another(blobs: list[bytes], data: st.DataObject) -> None:
    backend = MemoryBackend()
    backend.create()
    repository = Repository(backend, RepositoryConfig(2, "", ""), KEY, "", SystemClock())
    stored: list[Id] = []
    packer = Packer(backend, KEY, BlobType.DATA, lambda described: stored.append(described.pack))
    sealer = BlobSealer(KEY, 2, Compression.AUTO)
    for blob in dict.fromkeys(blobs):
        packer.add(hash_id(blob), *sealer.seal(BlobType.DATA, hash_id(blob), blob))
    packer.flush()
    packer.discard()
    [pack] = stored
    handle = Handle(FileType.PACK, pack.hex())
    content = bytearray(backend.load(handle))
    length = struct.unpack("<I", content[-4:])[0]
    header = KEY.open(bytes(content[-4 - length : -4]))
    digest = describe_header(header, pack).digest()
    assert sound_digest(repository, pack, len(content)) == digest
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    backend.remove(handle)
    backend.save(handle, [bytes(content)])
    assert sound_digest(repository, pack, len(content)) is None


def test_a_wrong_id_or_length_is_noticed_though_the_tag_is_right() -> None:
    sealer = BlobSealer(KEY, 2, Compression.AUTO)
    blobs = [b"soil moisture " * 20, b"x"]
    ids = [hash_id(blob) for blob in blobs]
    sealed, packed_lengths = zip(*(sealer.seal(BlobType.DATA, hash_id(blob), blob) for blob in blobs), strict=True)
    lengths = [len(one) for one in sealed]
    joined = b"".join(sealed)
    assert packed_lengths == (len(blobs[0]), 0)
    assert blobs_are_sound(KEY, joined, lengths, packed_lengths, ids)
    assert not blobs_are_sound(KEY, joined, lengths, packed_lengths, ids[::-1])
    assert not blobs_are_sound(KEY, joined, lengths, packed_lengths, ids[:1])
    for wrong in ((packed_lengths[0] + 1, 0), (packed_lengths[0] - 1, 0), (0, 0), (packed_lengths[0], 5)):
        assert not blobs_are_sound(KEY, joined, lengths, wrong, ids)


def test_many_frames_hold_what_each_holds() -> None:
    contents = [b"soil moisture " * count for count in range(1, 40)]
    frames = [Compressor(Compression.AUTO).compress(content) for content in contents]
    assert decompress_all(frames, list(map(len, contents))) == contents
    assert decompress_all([], []) == []
    empty = Compressor(Compression.AUTO).compress(b"")
    assert decompress_all([frames[0], empty], [len(contents[0]), 0]) == [contents[0], b""]
    for frame, length in ((b"no frame", 8), (b"", 8), (frames[0][:-1], len(contents[0])),
                          (frames[0], len(contents[0]) - 1), (frames[0], len(contents[0]) + 1), (frames[0], 0)):
        with pytest.raises(DecompressionError):
            decompress_all([frames[1], frame], [len(contents[1]), length])
