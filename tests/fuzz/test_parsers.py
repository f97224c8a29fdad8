"""Every parser, on documents that are almost right and on noise: a value or a documented error."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kuramori.cli.prune_options import parse_unused
from kuramori.cli.values import parse_duration, parse_moment, parse_size
from kuramori.crypto.master_key import MasterKey
from kuramori.errors import KuramoriError, UsageError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.check_subset import parse_subset
from kuramori.model.config import decode_config
from kuramori.model.index_file import decode_index
from kuramori.model.key_file import decode_key_file
from kuramori.model.lock_file import decode_lock
from kuramori.model.node import decode_node
from kuramori.model.snapshot import decode_snapshot
from kuramori.model.times import parse_datetime, parse_nanoseconds
from kuramori.model.tree import decode_tree, split_nodes
from kuramori.repository.compression import DecompressionError, decompress, decompress_exactly
from kuramori.repository.pack_header import COMPRESSED_ENTRY, PLAIN_ENTRY, decode_header
from kuramori.storage.location import parse_location

ID = "ab" * 32
NODE = {"name": "n\\x00", "type": "file", "mode": 420, "mtime": "2020-01-01T00:00:00.5+09:00", "uid": 1, "gid": 1,
        "atime": "2020-01-01T00:00:00Z", "ctime": "2020-01-01T00:00:00Z", "size": 3, "content": [ID], "links": 2,
        "inode": 7, "device_id": 5, "extended_attributes": [{"name": "user.x", "value": "AAE="}]}
SOUND: dict[str, tuple[Callable[[bytes], Any], Any]] = {
    "config": (decode_config, {"version": 2, "id": ID, "chunker_polynomial": "3dea92648f6e83"}),
    "key": (decode_key_file, {"created": "2020-01-01T00:00:00Z", "username": "u", "hostname": "h", "kdf": "scrypt",
                              "N": 16, "r": 8, "p": 1, "salt": "AAEC", "data": "AAEC"}),
    "index": (decode_index, {"supersedes": [ID], "packs": [{"id": ID, "blobs": [
        {"id": ID, "type": "data", "offset": 0, "length": 38, "uncompressed_length": 9}]}]}),
    "lock": (decode_lock, {"time": "2020-01-01T00:00:00Z", "exclusive": False, "hostname": "h", "username": "u",
                           "pid": 1, "uid": 0, "gid": 0}),
    "snapshot": (decode_snapshot, {"time": "2020-01-01T00:00:00Z", "parent": ID, "tree": ID, "paths": ["/x"],
                                   "hostname": "h", "username": "u", "uid": 0, "gid": 0, "tags": ["a"],
                                   "program_version": "p", "original": ID}),
    "tree": (decode_tree, {"nodes": [NODE]}),
    "node": (decode_node, NODE),
}
DOCUMENTED = (msgspec.DecodeError, ValueError)
"""``msgspec.DecodeError`` and ``ValueError`` are what the decoders of the model declare."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80), st.sampled_from([
        -1, 0, 2**31, 2**63, 2**64, 10**40, "", "..", ID, ID.upper(), ID[:-1], "\x00", "AAE", "\ud800", "9" * 5000,
        "f" * 40_000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+23:59", "2020-02-30T00:00:00Z"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=6)


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return the container and key of every value of a document."""
    found = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((document, key))
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def _try(parser: Callable[[bytes], Any], document: bytes) -> None:
    try:
        parser(document)
    except DOCUMENTED:
        pass


def test_what_is_sound_is_taken() -> None:
    for parser, document in SOUND.values():
        parser(json.dumps(document).encode())


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_value_is_another(kind: str, data: st.DataObject) -> None:
    parser, sound = SOUND[kind]
    document = json.loads(json.dumps(sound))
    container, key = data.draw(st.sampled_from(_places(document)))
    container[key] = data.draw(VALUES)
    _try(parser, json.dumps(document).encode())


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_value_is_missing_or_comes_twice(kind: str, data: st.DataObject) -> None:
    parser, sound = SOUND[kind]
    document = json.loads(json.dumps(sound))
    container, key = data.draw(st.sampled_from(_places(document)))
    if data.draw(st.booleans()):
        del container[key]
        text = json.dumps(document)
    else:
        text = json.dumps(document).replace("{", json.dumps({str(key): data.draw(VALUES)})[:-1] + ", ", 1)
    _try(parser, text.encode())


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_some_bytes_are_others(kind: str, data: st.DataObject) -> None:
    parser, sound = SOUND[kind]
    document = bytearray(json.dumps(sound).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(document)))
        document[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    _try(parser, bytes(document))
    if kind == "tree":
        _try(split_nodes, bytes(document))


@pytest.mark.parametrize("kind", SOUND)
@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"unknown":' * 100_000)
@example(b'{"unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example(b'{"nodes":[' + b'{"subtree":' * 100_000)
@example(b'{"nodes":null}')
@example(b'{"unknown":' + b"9" * 100_000 + b"}")
@example(b'{"unknown":"\xff"}')
@example(b'{"version":2}trailing')
def test_noise(kind: str, document: bytes) -> None:
    _try(SOUND[kind][0], document)


KEY = MasterKey.random()
PACK = Id(hash_id(b"pack"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=6),
       st.binary(max_size=45))
def test_pack_headers(entries: list[tuple[int, int, int]], rest: bytes) -> None:
    """Whatever the entries say: blobs that lie one behind the other, or our error."""
    header = b"".join(COMPRESSED_ENTRY.pack(kind, length, plain, bytes(32)) if kind in (2, 3) else
                      PLAIN_ENTRY.pack(kind, length, bytes(32)) for kind, length, plain in entries) + rest
    try:
        blobs = decode_header(KEY, PACK, bytes(KEY.seal(header)))
    except KuramoriError:
        return
    assert all(later.offset == blob.offset + blob.length for blob, later in pairwise(blobs))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_pack_headers_that_nobody_sealed(sealed: bytes) -> None:
    with pytest.raises(KuramoriError):
        decode_header(KEY, PACK, sealed)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1000))
@example(b"\x28\xb5\x2f\xfd", 10)
@example(b"\x28\xb5\x2f\xfd\xa4" + b"\xff" * 40, 10)
def test_compressed_noise(packed: bytes, length: int) -> None:
    for attempt in (decompress_exactly, decompress):
        try:
            assert len(attempt(packed, length)) <= length
        except DecompressionError:
            pass


TEXTS = st.one_of(st.text(max_size=60), st.text(alphabet=string.digits + ":.-+TZ/% kmgtsh", max_size=40))


@settings(deadline=None, max_examples=300)
@given(TEXTS)
@example("9" * 5000)
@example("9" * 5000 + "K")
@example("1/" + "9" * 5000)
@example("²K")
@example("१K")
@example("2020-01-01T00:00:00Z\n")
@example("9999-12-31T23:59:59-23:59")
@example("0001-01-01T00:00:00+23:59")
def test_what_people_type(text: str) -> None:
    for parser in (parse_duration, parse_size, parse_moment, parse_subset, parse_unused, parse_location):
        try:
            parser(text)
        except UsageError:
            pass
    for parse in (parse_nanoseconds, parse_datetime):
        try:
            parse(text)
        except ValueError:
            pass
