"""Snapshots, locks, keys and the config as documents: written, read, written again; or refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.model.config import RepositoryConfig, decode_config, encode_config
from kuramori.model.key_file import KeyFile, decode_key_file, encode_key_file
from kuramori.model.lock_file import LockFile, decode_lock, encode_lock
from kuramori.model.snapshot import Snapshot, SnapshotSummary, decode_snapshot, encode_snapshot
from kuramori.model.times import format_nanoseconds

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE_TEXTS = st.one_of(st.none(), st.lists(TEXTS, min_size=1, max_size=3))
COUNTS = st.integers(0, 2**62)
INSTANTS = st.integers(-62_000_000_000 * 10**9, 250_000_000_000 * 10**9)
TIMES = INSTANTS.map(format_nanoseconds)
IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SUMMARIES = st.builds(SnapshotSummary, backup_start=TIMES, backup_end=TIMES,
                      **{name: COUNTS for name in SnapshotSummary.__struct_fields__ if not name.startswith("backup_")})
SNAPSHOTS = st.builds(
    Snapshot, time=TIMES, parent=st.one_of(st.none(), IDS), tree=IDS, paths=st.lists(TEXTS, max_size=3),
    hostname=TEXTS, username=TEXTS, uid=st.integers(0, 2**32 - 1), gid=st.integers(0, 2**32 - 1), excludes=MAYBE_TEXTS,
    tags=MAYBE_TEXTS, original=st.one_of(st.none(), IDS), program_version=TEXTS,
    summary=st.one_of(st.none(), SUMMARIES))
LOCKS = st.builds(LockFile, time=TIMES, exclusive=st.booleans(), hostname=TEXTS, username=TEXTS,
                  pid=st.integers(0, 2**31), uid=st.integers(0, 2**32), gid=st.integers(0, 2**32))
KEYS = st.builds(KeyFile, created=TIMES, username=TEXTS, hostname=TEXTS, kdf=st.just("scrypt"), N=COUNTS, r=COUNTS,
                 p=COUNTS, salt=st.binary(max_size=64), data=st.binary(max_size=200))
ANY_VALUE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9))
ANY_JSON = st.recursive(ANY_VALUE,
                        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
                        max_leaves=5)


@given(SNAPSHOTS)
def test_a_snapshot_comes_back_and_is_written_as_it_was(snapshot: Snapshot) -> None:
    document = encode_snapshot(snapshot)
    again = decode_snapshot(document)
    assert again == snapshot
    assert encode_snapshot(again) == document
    assert not set(document) & set(b"<>&\n")


@given(SNAPSHOTS)
def test_a_snapshot_says_only_what_is_known_and_in_restics_order(snapshot: Snapshot) -> None:
    found = json.loads(encode_snapshot(snapshot))
    order = [name for name in Snapshot.__struct_fields__ if name in found]
    assert list(found) == order
    for name in Snapshot.__struct_fields__:
        value = getattr(snapshot, name)
        assert (name in found) == (name in ("time", "tree", "paths") or value not in (None, "", 0))
    if snapshot.summary is not None:
        assert list(found["summary"]) == list(SnapshotSummary.__struct_fields__)


@given(INSTANTS, IDS)
def test_a_snapshots_time_is_kept_to_the_nanosecond(instant: int, tree: str) -> None:
    document = encode_snapshot(Snapshot(time=format_nanoseconds(instant), tree=tree, paths=[]))
    assert decode_snapshot(document).time_nanoseconds == instant


@given(SNAPSHOTS, st.sampled_from(Snapshot.__struct_fields__), ANY_JSON)
def test_a_snapshot_with_anything_in_a_field_is_read_or_refused(snapshot: Snapshot, name: str, value: object) -> None:
    found: dict[str, Any] = json.loads(encode_snapshot(snapshot))
    found[name] = value
    try:
        again = decode_snapshot(json.dumps(found).encode())
    except ValueError:  # msgspec.DecodeError is one
        return
    assert isinstance(again.time_nanoseconds, int)
    assert len(bytes.fromhex(again.tree)) == 32


@given(st.sampled_from(["time", "tree", "paths"]), SNAPSHOTS)
def test_a_snapshot_that_lacks_something_is_refused(name: str, snapshot: Snapshot) -> None:
    found = json.loads(encode_snapshot(snapshot))
    del found[name]
    with pytest.raises(msgspec.ValidationError):
        decode_snapshot(json.dumps(found).encode())


@given(st.text(max_size=70).filter(lambda text: len(text) != 64))
def test_a_tree_that_is_no_id_is_refused(tree: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        decode_snapshot(json.dumps({"time": "2020-01-01T00:00:00Z", "tree": tree, "paths": []}).encode())


@given(LOCKS)
def test_a_lock_comes_back_and_is_written_as_it_was(lock: LockFile) -> None:
    document = encode_lock(lock)
    assert decode_lock(document) == lock
    assert encode_lock(decode_lock(document)) == document


@given(KEYS)
def test_a_key_file_comes_back_and_is_written_as_it_was(key: KeyFile) -> None:
    document = encode_key_file(key)
    assert decode_key_file(document) == key
    assert encode_key_file(decode_key_file(document)) == document


@settings(max_examples=40)
@given(st.binary(max_size=120))
def test_any_bytes_are_a_document_or_a_value_error(document: bytes) -> None:
    for decode in (decode_snapshot, decode_lock, decode_key_file, decode_config):
        with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors and our own: both are one
            decode(document)


@given(st.integers(-3, 9), st.one_of(IDS, st.text(max_size=64)), st.one_of(
    st.text(max_size=20), st.integers(0, 2**54).map("{:x}".format)))
def test_a_config_is_whole_or_refused(version: int, name: str, polynomial: str) -> None:
    document = encode_config(RepositoryConfig(version, name, polynomial))
    try:
        found = decode_config(document)
    except ValueError:
        return
    assert found.version in (1, 2)
    assert bytes.fromhex(found.id)
