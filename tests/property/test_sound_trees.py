"""The quick look at a whole tree against the slow one at each node: what is called sound must be without any finding,
and an ordinary tree must be called sound, or the quick look would be of no use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import DamagedError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.check_trees import TreeCheck
from kuramori.maintenance.sound_trees import contents_are_sound, judge_tree, parse_for_check
from kuramori.maintenance.tree_visits import TreeVisit
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.polynomial import random_polynomial
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.memory import MemoryBackend
from samples.pack_descriptions import add_blobs

LENGTHS = [1, 7, 100]
BLOBS = [hash_id(b"blob %d" % length).hex() for length in LENGTHS]
TREE = hash_id(b"a tree").hex()
STORED = StoredSnapshot("0" * 64, Snapshot(time="2026-01-01T00:00:00Z", tree=TREE, paths=["/"]))


def _mostly(usual: st.SearchStrategy[Any], *odd: object) -> st.SearchStrategy[Any]:
    return st.integers(0, 30).flatmap(lambda number: st.sampled_from(odd) if number == 0 else usual)


ODD_TIMES = ["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "", "now", "2026-10-01T01:02:03Z|2026-10-01T01:02:03Z",
             "2026-10-01T24:00:00Z", "2026-10-01T01:02:03.1234567890Z", "2026-10-01T01:02:03Z\n", "|",
             "２026-10-01T01:02:03Z"]
ODD_NUMBERS = [2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1]
ODD_NAMES = ["", ".", "..", "a/b", "a\\x00", "a\\", 'a"', "a\nb", "a\0b", "\ud800", "\\377", "...", "a\\u0061"]
ODD_CONTENTS = [None, [TREE], [BLOBS[0].upper()], [BLOBS[0][:-1]], [BLOBS[0] + BLOBS[1]],
                [BLOBS[0][:32], BLOBS[0][32:]], [" " + BLOBS[0]], [""], [BLOBS[0], ""]]
ODD_FOLDERS = [None, "", TREE[:-1], TREE.upper(), TREE[:32]]
ODD_TYPES = ["irregular", "", "FILE", "fifo"]
TIMES = _mostly(st.sampled_from(["2026-10-01T01:02:03.12345678+09:00", "0001-01-01T00:00:00Z", "2024-02-28T23:59:59Z"]),
                *ODD_TIMES)
NUMBERS = _mostly(st.integers(0, 2**32 - 1), *ODD_NUMBERS)
NAMES = _mostly(st.text("abcde-\U0001f600\uffff蔵", min_size=1, max_size=3), *ODD_NAMES)
CONTENTS = _mostly(st.lists(st.sampled_from(BLOBS), max_size=3), *ODD_CONTENTS)


@st.composite
def nodes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a node that is mostly as it should be."""
    kind = draw(_mostly(st.sampled_from(["file", "file", "dir", "symlink"]), *ODD_TYPES))
    node: dict[str, Any] = {"name": draw(NAMES), "type": kind, "mtime": draw(TIMES), "atime": draw(TIMES),
                            "ctime": draw(TIMES), "mode": draw(NUMBERS), "uid": draw(NUMBERS), "gid": draw(NUMBERS),
                            "inode": draw(NUMBERS)}
    if kind == "file":
        content = draw(CONTENTS)
        lengths = dict(zip(BLOBS, LENGTHS, strict=True))
        node["content"] = content
        node["size"] = draw(_mostly(st.just(sum(lengths.get(blob, 0) for blob in content or ())), 0, 5))
    elif kind == "dir":
        node["subtree"] = draw(_mostly(st.just(TREE), *ODD_FOLDERS))
    return node


@pytest.fixture(scope="module")
def repository() -> Repository:
    create = CreateOptions(kdf=KdfParameters(N=16, r=8, p=1), polynomial=f"{random_polynomial():x}")
    repository = create_repository(MemoryBackend(), Secret("x"), create)
    add_blobs(repository.index, [PackedBlob(BlobType.DATA, Id(bytes.fromhex(blob)), hash_id(b"pack"), 0, 50, length)
                                 for blob, length in zip(BLOBS, LENGTHS, strict=True)])
    return repository


@settings(max_examples=300, deadline=None)
@given(st.lists(nodes(), max_size=4), st.booleans())
def test_what_is_called_sound_is_sound(repository: Repository, drawn: list[dict[str, Any]], in_order: bool) -> None:
    if in_order:
        drawn = list({node["name"]: node for node in drawn}.values())
        drawn.sort(key=lambda node: node["name"])
    event(_compare(repository, drawn))


def _compare(repository: Repository, drawn: list[dict[str, Any]]) -> str:
    """Look at a tree in both ways; return what came of it."""
    document = json.dumps({"nodes": drawn}).encode()
    try:
        tree = parse_for_check(document, hash_id(document))
    except DamagedError:
        return "malformed"
    result = CheckResult()
    TreeCheck(repository, result)._check_tree(TreeVisit(STORED, hash_id(document), tree, ()))
    found = [*result.errors, *result.hints]
    verdict = judge_tree(tree)
    sound = verdict is not None and contents_are_sound(verdict, repository.index)
    assert not (sound and found), found
    return f"sound: {sound}, findings: {bool(found)}"


ODD_VALUES = [("name", ODD_NAMES), ("type", ODD_TYPES), ("subtree", ODD_FOLDERS), ("content", ODD_CONTENTS),
              *((name, ODD_TIMES) for name in ("mtime", "ctime", "atime")), ("size", [0, 107, 109, *ODD_NUMBERS]),
              *((name, ODD_NUMBERS) for name in ("mode", "uid", "gid", "inode", "device_id", "links", "device"))]


@pytest.mark.parametrize(("place", "field", "value"), [
    (place, field, value) for place in range(4) for field, values in ODD_VALUES for value in values])
def test_one_odd_value_in_an_ordinary_tree(repository: Repository, place: int, field: str, value: object) -> None:
    drawn = _ordinary()
    drawn[place][field] = value
    _compare(repository, drawn)


def _ordinary() -> list[dict[str, Any]]:
    time = "2026-10-01T01:02:03.5+09:00"
    common = {"mode": 420, "uid": 1000, "gid": 1000, "inode": 7, "mtime": time, "atime": time, "ctime": time}
    return [{"name": "a", "type": "file", "size": 108, "content": BLOBS} | common,
            {"name": "b", "type": "file", "size": 7, "content": [BLOBS[1]]} | common,
            {"name": "蔵", "type": "dir", "subtree": TREE} | common,
            {"name": "蔵守", "type": "symlink", "linktarget": "a"} | common]


@pytest.mark.parametrize("sizes", [(7, 7), (7, 1), (0, 8)])
def test_files_of_one_blob_each(repository: Repository, sizes: tuple[int, int]) -> None:
    first, second = _ordinary()[:2]
    first |= {"size": sizes[0], "content": [BLOBS[1]]}
    second |= {"size": sizes[1]}
    assert _compare(repository, [first, second]) == (
        "sound: True, findings: False" if sizes == (7, 7) else "sound: False, findings: True")


def test_an_ordinary_tree_is_called_sound(repository: Repository) -> None:
    assert _compare(repository, _ordinary()) == _compare(repository, []) == "sound: True, findings: False"
