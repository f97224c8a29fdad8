"""The index against a plain dict, in memory and after its files were written and read."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuramori.crypto.derivation import KdfParameters
from kuramori.ids import Id, hash_id
from kuramori.model import index_file
from kuramori.model.blob import SEALED_OVERHEAD, BlobType, PackedBlob
from kuramori.model.index_file import (
    IndexBlob,
    IndexPack,
    decode_index,
    decode_index_packs,
    encode_index,
    encode_index_blobs,
    encode_index_columns,
    encode_index_pack,
)
from kuramori.model.polynomial import random_polynomial
from kuramori.repository import index as index_module
from kuramori.repository.index import Index
from kuramori.repository.index_records import TAIL
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.secret import Secret
from kuramori.storage.memory import MemoryBackend
from samples.pack_descriptions import add_blobs, description_of

LARGEST = 2**32 - 1
POLYNOMIAL = f"{random_polynomial():x}"
"""One for all examples, because it takes long to find."""
TYPES = st.sampled_from(BlobType)
BLOB_IDS = st.integers(0, 12).map(lambda number: hash_id(b"blob%d" % number))
"""Few, so that the same blob is in several packs, and as data and as tree."""
PACK_IDS = st.integers(0, 5).map(lambda number: hash_id(b"pack%d" % number))
SIZES = st.one_of(st.integers(0, 3), st.integers(0, LARGEST), st.just(LARGEST))
BLOBS = st.lists(st.builds(PackedBlob, TYPES, BLOB_IDS, PACK_IDS, SIZES,
                           st.one_of(st.integers(SEALED_OVERHEAD, SEALED_OVERHEAD + 3), st.just(LARGEST)), SIZES),
                 max_size=60)
POSSIBLE_BLOBS = BLOBS.map(lambda blobs: [blob for blob in blobs if blob.offset + blob.length <= LARGEST])
"""A pack is smaller than 4 GiB; a place behind that is refused when an index file is read."""
Model = dict[tuple[BlobType, Id], list[PackedBlob]]


def model_of(blobs: list[PackedBlob]) -> Model:
    """Return the copies of every blob in the order in which they first came."""
    model: Model = defaultdict(list)
    for blob in blobs:
        if blob not in model[blob.type, blob.id]:
            model[blob.type, blob.id].append(blob)
    return model


def assert_like(index: Index, model: Model) -> None:
    """Compare everything an index can be asked with the model."""
    assert len(index) == len(model)
    assert sorted(index.blobs(), key=repr) == sorted((blob for copies in model.values() for blob in copies), key=repr)
    assert_answers(index, model)


def assert_answers(index: Index, model: Model) -> None:
    """Compare what an index can be asked of single blobs, which puts nothing in order, with the model."""
    ids = [hash_id(b"blob%d" % number) for number in (*range(14), 3)]
    for blob_type in BlobType:
        assert index.has_each(blob_type, ids) == [bool(model.get((blob_type, blob_id))) for blob_id in ids]
    for blob_id in ids:
        for blob_type in BlobType:
            copies = model.get((blob_type, blob_id), [])
            assert index.has(blob_type, blob_id) == bool(copies)
            assert index.lookup(blob_type, blob_id) == copies
            assert index.plain_length(blob_type, blob_id) == (copies[0].plain_length if copies else None)
            for blob in copies:
                assert index.has_copy(blob)
                other = blob._replace(offset=(blob.offset + 1) & LARGEST)
                assert index.has_copy(other) == (other in copies)


@given(BLOBS)
def test_an_index_answers_as_a_dict_would(blobs: list[PackedBlob]) -> None:
    index = Index()
    add_blobs(index, blobs)
    assert_like(index, model_of(blobs))


@given(BLOBS, st.integers(0, 60))
def test_packs_that_were_just_stored_can_be_asked_for_at_once(blobs: list[PackedBlob], place: int) -> None:
    """Without a question before that puts everything in order."""
    index = Index()
    add_blobs(index, blobs[:place])
    added = blobs[:place]
    for pack in dict.fromkeys(blob.pack for blob in blobs[place:]):
        described = [blob for blob in blobs[place:] if blob.pack == pack]
        index.add_stored_pack(description_of(described))
        added += described
        assert_answers(index, model_of(added))
    assert_like(index, model_of(added))


def test_ids_that_begin_alike_are_told_apart() -> None:
    """One bit stands for all of them."""
    chance = random.Random(3)
    index, lead, pack = Index(), chance.randbytes(4), hash_id(b"pack")
    ids = [Id(lead + chance.randbytes(28)) for _ in range(400)]
    stored = [PackedBlob(BlobType.DATA, blob_id, pack, 40 * number, 40, 0) for number, blob_id in enumerate(ids[:200])]
    index.add_stored_pack(description_of(stored))
    assert index.has_each(BlobType.DATA, ids) == [True] * 200 + [False] * 200
    assert index.has_each(BlobType.TREE, ids) == [False] * 400
    assert [index.lookup(BlobType.DATA, blob.id) for blob in stored] == [[blob] for blob in stored]


def test_what_only_looks_like_a_new_blob_is_none() -> None:
    """Half of an id and what stands behind it are a key as well, but not where a record begins."""
    index, pack = Index(), hash_id(b"pack")
    blob_id = Id(b"A" * 12 + b"bcde" + b"Alike, yet no id")
    posing = Id(blob_id[16:] + b"\0" + TAIL.pack(0, 5, 40, 0)[:15])
    beside = Id(posing[:4] + bytes(28))
    index.add_stored_pack(description_of([PackedBlob(BlobType.DATA, blob_id, pack, 5, 40, 0),
                                          PackedBlob(BlobType.DATA, beside, pack, 45, 40, 0)]))
    assert not index.has(BlobType.DATA, posing)
    assert index.has_each(BlobType.DATA, [posing, blob_id, beside]) == [False, True, True]
    assert index.lookup(BlobType.DATA, posing) == []


def test_many_new_blobs_are_put_in_order_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_NEW", 100)
    index, blobs = Index(), []
    for number in range(40):
        pack = hash_id(b"pack%d" % number)
        described = [PackedBlob(BlobType.DATA, hash_id(b"%d" % (number * 13 + each)), pack, each, 40, 0)
                     for each in range(15)]
        index.add_stored_pack(description_of(described))
        blobs += described
        assert all(index.has_each(BlobType.DATA, [blob.id for blob in blobs]))
    assert sorted(index.blobs(), key=repr) == sorted(blobs, key=repr)


def test_others_look_up_while_new_blobs_are_put_in_order() -> None:
    index, ended = Index(), threading.Event()
    stored: list[Id] = []

    def look() -> int:
        missed = 0
        while not ended.is_set():
            known = stored[:]
            missed += index.has_each(BlobType.DATA, known).count(False)
            missed += sum(not index.has(BlobType.DATA, blob_id) for blob_id in known[-50:])
        return missed

    with ThreadPoolExecutor(2) as executor:
        looking = [executor.submit(look) for _ in range(2)]
        for number in range(60):
            pack = hash_id(b"pack%d" % number)
            ids = [hash_id(b"%d" % (number * 100 + each)) for each in range(100)]
            index.add_stored_pack(description_of([PackedBlob(BlobType.DATA, blob_id, pack, 40 * place, 40, 0)
                                                  for place, blob_id in enumerate(ids)]))
            stored.extend(ids)
            if number % 3 == 0:
                assert len(index) == len(stored)
        ended.set()
        assert [each.result() for each in looking] == [0, 0]


@given(POSSIBLE_BLOBS.filter(bool))
def test_a_pack_in_columns_is_encoded_like_its_blobs(blobs: list[PackedBlob]) -> None:
    described = description_of([blob._replace(pack=hash_id(b"pack")) for blob in blobs])
    objects = [IndexBlob(blob.id.hex(), blob.type.value, blob.offset, blob.length, blob.uncompressed_length)
               for blob in blobs]
    parts = encode_index_columns(described.joined_ids, described.types, described.offsets, described.lengths,
                                 described.uncompressed_lengths)
    assert b",".join(parts) == encode_index_blobs(objects)


@given(BLOBS, st.lists(PACK_IDS, max_size=3))
def test_packs_hold_their_blobs_in_the_order_of_the_file(blobs: list[PackedBlob], empty: list[Id]) -> None:
    index = Index()
    add_blobs(index, blobs)
    for pack in empty:
        index.add_pack(pack)
    found = dict(index.packs())
    assert set(found) == {blob.pack for blob in blobs} | set(empty) == set(index.pack_ids())
    assert index.pack_count == len(found)
    for pack, contained in found.items():
        assert index.has_pack(pack)
        assert set(contained) == {blob for blob in blobs if blob.pack == pack}
        assert len(contained) == len(set(contained))
        assert [blob.offset for blob in contained] == sorted(blob.offset for blob in contained)
    assert not index.has_pack(hash_id(b"no pack"))


@given(BLOBS, st.integers(0, 60))
def test_what_is_added_twice_is_there_once(blobs: list[PackedBlob], place: int) -> None:
    index = Index()
    add_blobs(index, blobs)
    add_blobs(index, blobs[:place])
    assert_like(index, model_of(blobs))


@given(BLOBS)
def test_an_index_file_comes_back(blobs: list[PackedBlob]) -> None:
    packs = [IndexPack(pack.hex(), [IndexBlob(blob.id.hex(), blob.type.value, blob.offset, blob.length,
                                              blob.uncompressed_length) for blob in blobs if blob.pack == pack])
             for pack in dict.fromkeys(blob.pack for blob in blobs)]
    document = encode_index(map(_encoded, packs))
    again = decode_index(document)
    assert again.packs == packs
    assert encode_index(map(_encoded, again.packs)) == document


@settings(max_examples=25, deadline=None)
@given(POSSIBLE_BLOBS, st.sets(st.integers(0, 60), max_size=4))
def test_index_files_of_a_repository_are_read_again(blobs: list[PackedBlob], breaks: set[int]) -> None:
    """Written through the writer, in one file or several, and loaded by another process."""
    backend = MemoryBackend()
    password = Secret("x")
    create = CreateOptions(kdf=KdfParameters(N=16, r=8, p=1), polynomial=POLYNOMIAL)
    with closing(create_repository(backend, password, create)) as repository:
        writer = IndexWriter(repository)
        for number, blob in enumerate(blobs):
            writer.add(description_of([blob]))
            if number in breaks:
                writer.flush()
        writer.flush()
        assert_like(repository.index, model_of(blobs))
        assert len(writer.saved) == len({number for number in breaks if number < len(blobs) - 1}) + bool(blobs)
    with closing(open_repository(backend, password)) as repository:
        repository.load_index()
        model = model_of(blobs)
        assert len(repository.index) == len(model)
        for (blob_type, blob_id), copies in model.items():
            # Files are read in no particular order, so the copies may come in another one.
            assert set(repository.index.lookup(blob_type, blob_id)) == set(copies)
            assert repository.index.plain_length(blob_type, blob_id) in {blob.plain_length for blob in copies}


def _encoded(pack: IndexPack) -> bytes:
    return encode_index_pack(pack.id, [encode_index_blobs(pack.blobs)])


@pytest.mark.parametrize("piece", [1, 100, 300, 10**6])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.sampled_from(["00" * 32, "ab" * 32, "", "},{", '"},{"', "a},{b", '\\"},{\\"id\\":\\"']),
                      max_size=8))
def test_pieces_of_an_index_file_are_what_the_whole_is(monkeypatch: pytest.MonkeyPatch, piece: int,
                                                       texts: list[str]) -> None:
    """Wherever it is cut, also where an id looks like the border between two blobs."""
    monkeypatch.setattr(index_file, "_PIECE", piece)
    pack = IndexPack("11" * 32, [IndexBlob(text, "data", number, 32) for number, text in enumerate(texts)])
    document = encode_index([_encoded(pack)] * 2) if texts else b'{"packs":[{"id":"","blobs":[]}]}'
    whole = [(found.id, found.blobs) for found in decode_index(document).packs]
    assert whole == [(name, [blob for some in pieces for blob in some])
                     for name, pieces in decode_index_packs(document)]
