"""Looking into a repository: the walk, listings, find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.browsing.find import FindOptions, find, find_objects
from kuramori.browsing.listing import ListingOptions, list_snapshot
from kuramori.browsing.walk import walk_tree
from kuramori.errors import (
    AmbiguousIdError,
    NoSuchObjectError,
    NoSuchPathError,
    NoSuchSnapshotError,
    NotADirectoryInSnapshotError,
    UsageError,
)
from kuramori.ids import Id, hash_id, parse_id
from kuramori.model.blob import BlobType
from kuramori.repository.snapshots import SnapshotFilter
from samples.repositories import make_repository
from samples.two_snapshots import NOISE, House, make_house

TAG_ONE = SnapshotFilter(tags=(("one",),))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two snapshots, made once."""
    return make_house(tmp_path_factory.mktemp("browsing"))


ALL_ONE = [b"/a.txt", b"/deep", b"/deep/deeper", b"/deep/deeper/b.txt", b"/deep/\xc3\xa9\n\xff", b"/gone.log", b"/hard",
           b"/link", b"/same", b"/same/copy", b"/touched", b"/turns"]


def test_a_walk_gives_folders_before_what_they_hold_and_can_leave_them_out(house: House) -> None:
    tree = parse_id(house.one.snapshot.tree)
    whole = [walked.path for walked in walk_tree(house.repository, tree)]
    assert [house.inside(path) for path in whole if path.startswith(house.source + b"/")] == ALL_ONE
    outer = [walked.path for walked in walk_tree(house.repository, tree, b"/prefix", enter=lambda walked: False)]
    assert outer == [b"/prefix" + whole[0]]


@pytest.mark.parametrize(("folders", "recursive", "expected"), [
    ((), False, ALL_ONE),
    ((b"/deep",), False, [b"/deep", b"/deep/deeper", b"/deep/\xc3\xa9\n\xff"]),
    ((b"/deep",), True, ALL_ONE[1:5]),
    ((b"/same/./", b"//deep/deeper"), False, [b"/deep/deeper", b"/deep/deeper/b.txt", b"/same", b"/same/copy"]),
    ((b"/no such",), True, []),
    ((b"/dee",), True, []),
])
def test_a_listing_shows_the_chosen_folders(house: House, folders: tuple[bytes, ...], recursive: bool,
                                            expected: list[bytes]) -> None:
    name = f"{house.one.id}:{os.fsdecode(house.source)}"
    listing = list_snapshot(house.repository, name, ListingOptions(folders, recursive))
    assert listing.snapshot == house.one
    assert listing.subfolder == house.source
    assert [walked.path for walked in listing.nodes] == expected


def test_names_of_snapshots(house: House) -> None:
    repository = house.repository
    assert list_snapshot(repository, "latest").snapshot == house.two
    assert list_snapshot(repository, "latest", snapshot_filter=TAG_ONE).snapshot == house.one
    assert list_snapshot(repository, house.one.id[:12]).snapshot == house.one
    for name, error in (("", UsageError), ("no", NoSuchSnapshotError), ("f" * 64, NoSuchSnapshotError),
                        ("latest:/no/such", NoSuchPathError),
                        (f"latest:{os.fsdecode(house.source)}/a.txt", NotADirectoryInSnapshotError)):
        with pytest.raises(error):
            list_snapshot(repository, name)


# --- find ----------------------------------------------------------------------------------------


def _found(house: House, options: FindOptions) -> dict[str, list[bytes]]:
    found = {}
    for entries in find(house.repository, options):
        paths = [house.inside(walked.path) for walked in entries.entries]
        if paths:
            found[(entries.snapshot.snapshot.tags or [""])[0]] = paths
    return found


def test_find_looks_into_the_newest_first(house: House) -> None:
    assert _found(house, FindOptions((b"*.txt",))) == {"two": [b"/a.txt", b"/deep/deeper/b.txt"],
                                                       "one": [b"/a.txt", b"/deep/deeper/b.txt"]}
    assert list(_found(house, FindOptions((b"*.txt",)))) == ["two", "one"]
    assert _found(house, FindOptions((b"gone*", b"new"))) == {"two": [b"/new"], "one": [b"/gone.log"]}
    assert _found(house, FindOptions((b"*.TXT",))) == {}
    assert len(_found(house, FindOptions((b"*.TXT",), ignore_case=True))) == 2
    assert _found(house, FindOptions((b"*.txt",), snapshot_filter=TAG_ONE)).keys() == {"one"}
    assert _found(house, FindOptions((b"new",), snapshots=(house.one.id,))) == {}


def test_find_by_time(house: House) -> None:
    middle = 1_650_000_000 * 10**9
    assert _found(house, FindOptions((b"touched",), oldest=middle)) == {"two": [b"/touched"]}
    assert _found(house, FindOptions((b"touched",), newest=middle)) == {"one": [b"/touched"]}


def test_find_needs_a_pattern(house: House) -> None:
    with pytest.raises(UsageError, match="no pattern"):
        list(find(house.repository, FindOptions()))


def test_find_by_id(house: House) -> None:
    blob = hash_id(NOISE)
    found = list(find_objects(house.repository, FindOptions(blobs=(blob.hex()[:10],))))
    assert [(thing.snapshot, house.inside(thing.path), thing.type, thing.id) for thing in found] == [
        (house.two, b"/same/copy", BlobType.DATA, blob), (house.one, b"/gone.log", BlobType.DATA, blob),
        (house.one, b"/same/copy", BlobType.DATA, blob)]
    tree = house.one.snapshot.tree
    roots = list(find_objects(house.repository, FindOptions(trees=(tree,))))
    assert [(thing.path, thing.id.hex(), thing.parent_tree) for thing in roots] == [(b"", tree, None)]
    pack = house.repository.index.lookup(BlobType.DATA, blob)[0].pack
    assert {house.inside(thing.path) for thing in find_objects(house.repository, FindOptions(packs=(pack.hex(),)))} >= {
        b"/gone.log", b"/same/copy"}
    with pytest.raises(NoSuchObjectError):
        list(find_objects(house.repository, FindOptions(packs=("zz",))))


def test_a_beginning_that_several_packs_have_is_ambiguous(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    for number in (1, 2):
        repository.index.add_pack(Id(b"\xab" * 31 + bytes([number])))
    with pytest.raises(AmbiguousIdError):
        list(find_objects(repository, FindOptions(packs=("abab",))))
    assert list(find_objects(repository, FindOptions(packs=("ab" * 31 + "02",)))) == []
