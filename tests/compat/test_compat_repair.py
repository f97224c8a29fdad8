"""The same damaged repository, repaired by restic and by us: the trees are the same to the byte, what could
be saved restores equal, and restic finds what is left sound."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.model.node import Node
from kuramori.model.snapshot import encode_snapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import FileType
from kuramori.testing.restic_judge import Restic
from samples import repository_workshop
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, index_pack, make_source, node, tree
from samples.tree_facts import assert_same_tree, tree_facts

Damage = Callable[[Workshop], None]
DAMAGES: dict[str, Damage] = {}


def damage(breaker: Damage) -> Damage:
    """Register a kind of damage under the name of its function."""
    DAMAGES[breaker.__name__] = breaker
    return breaker


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots of a folder that changed in between; ``deep/several`` has several blobs."""
    folder = tmp_path_factory.mktemp("repair")
    make_source(folder / "source")
    (folder / "source" / "deep" / "several").write_bytes(os.urandom(6_000_000))
    repository_workshop.create(folder / "repository")
    repository = Workshop(folder / "repository").repository
    for day in range(2):
        (folder / "source" / "daily").write_bytes(os.urandom(1000 + day))
        back_up(repository, BackupOptions(paths=(os.fsencode(folder / "source"),), time=repository.clock.now()))
    return folder


def check_soon(judge: Restic) -> None:
    """Let restic check every byte. Where something is missing it tries again for a quarter of an hour."""
    judge.run("check", "--read-data", timeout_seconds=60)


class Pair:
    """Two copies of one damaged repository: one for restic and one for us."""

    def __init__(self, base: Path, folder: Path, restic: str, breaker: Damage) -> None:
        """Break one copy and copy it again."""
        breaker(repository_workshop.copy(base / "repository", folder / "theirs"))
        shutil.copytree(folder / "theirs", folder / "ours")
        self.folder = folder
        self.source = base / "source"
        self.restic = Restic(restic, folder / "theirs", PASSWORD)
        self.judge = Restic(restic, folder / "ours", PASSWORD)
        self.kuramori = Kuramori(folder / "ours", PASSWORD)

    def snapshots(self) -> tuple[list[str], list[str]]:
        """Return what each has of snapshots, without their ids, in an order of no meaning."""
        found = []
        for folder in ("theirs", "ours"):
            repository = Workshop(self.folder / folder).repository
            found.append(sorted(encode_snapshot(stored.snapshot).decode() for stored in load_snapshots(repository)))
        return found[0], found[1]

    def assert_equal_and_sound(self) -> None:
        """Compare what both have made, and let restic judge ours."""
        theirs, ours = self.snapshots()
        assert ours == theirs
        check_soon(self.judge)
        self.kuramori.run("check", "--read-data")

    def assert_restores_equal(self) -> None:
        """Restore every snapshot of both, each by the other program."""
        for number, stored in enumerate(self.kuramori.snapshots()):
            theirs, ours = self.folder / f"restored-theirs-{number}", self.folder / f"restored-ours-{number}"
            same = next(found for found in self.restic.snapshots()
                        if (found["tree"], found["time"]) == (stored["tree"], stored["time"]))
            self.restic.restore(same["id"], theirs)
            self.kuramori.run("restore", stored["id"], "--target", ours)
            expected, found = tree_facts(theirs), tree_facts(ours)
            for facts in (expected, found):
                del facts[b"."]  # the target itself
            assert_same_tree(expected, found)


def lose(workshop: Workshop, lost: set[str]) -> None:
    """Take blobs away, as ``repair packs`` and ``repair index`` leave it: packs and index agree."""
    kept = []
    for pack, blobs in list(workshop.repository.index.packs()):
        if lost.isdisjoint(blob.id.hex() for blob in blobs):
            kept.append(index_pack(pack.hex(), blobs))
            continue
        whole = workshop.read(FileType.PACK, pack.hex())
        left = [(blob.type, blob.id, whole[blob.offset : blob.offset + blob.length], blob.uncompressed_length)
                for blob in blobs if blob.id.hex() not in lost]
        workshop.remove(FileType.PACK, pack.hex())
        if left:
            name = workshop.add_pack(left)
            kept += [described for described in workshop.all_index_packs() if described.id == name]
    workshop.replace_index(kept)
    workshop.repository.load_index()


def _files(repository: Repository) -> dict[str, Node]:
    """Return the file nodes of all trees by name."""
    found: dict[str, Node] = {}
    for blob in list(repository.index.blobs()):
        if blob.type is BlobType.TREE:
            found |= {each.name: each for each in repository.load_tree(blob.id).nodes if each.type == "file"}
    return found


def _tree_with(repository: Repository, name: str) -> Id:
    """Return the tree that has an entry of this name."""
    return next(blob.id for blob in list(repository.index.blobs()) if blob.type is BlobType.TREE
                and name in {each.name for each in repository.load_tree(blob.id).nodes})


@damage
def a_file_lost_one_blob_of_several(workshop: Workshop) -> None:
    content = _files(workshop.repository)["several"].content_ids
    assert len(content) > 2
    lose(workshop, {content[1]})


@damage
def a_file_lost_all(workshop: Workshop) -> None:
    lose(workshop, set(_files(workshop.repository)["several"].content_ids))


@damage
def many_files_lost_something(workshop: Workshop) -> None:
    files = _files(workshop.repository)
    lose(workshop, {files[f"file{number}"].content_ids[0] for number in range(5)} |
                     {files["several"].content_ids[-1], files["daily"].content_ids[0]})


@damage
def a_folder_lost_its_tree(workshop: Workshop) -> None:
    lose(workshop, {_tree_with(workshop.repository, "several").hex()})


@damage
def a_folder_far_below_lost_its_tree(workshop: Workshop) -> None:
    lose(workshop, {_tree_with(workshop.repository, "large").hex()})


@damage
def a_folder_and_a_file_beside_it(workshop: Workshop) -> None:
    lose(workshop, {_tree_with(workshop.repository, "large").hex(),
                                *_files(workshop.repository)["file3"].content_ids})


@damage
def all_data_lost(workshop: Workshop) -> None:
    lose(workshop, {blob.id.hex() for blob in workshop.repository.index.blobs()
                                if blob.type is BlobType.DATA})


@damage
def a_node_of_no_type(workshop: Workshop) -> None:
    workshop.add_tree_snapshot(tree(node("a", "", ',"content":null'), node("b", "irregular", ',"content":null'),
                                    node("c", "fifo", ',"content":null')))


@damage
def a_wrong_size(workshop: Workshop) -> None:
    content = _files(workshop.repository)["several"].content_ids
    listed = ",".join(f'"{each}"' for each in content)
    workshop.add_tree_snapshot(tree(node("a", "file", f',"size":7,"content":[{listed}]'),
                                    node("b", "file", ',"size":9,"content":[]')))


@damage
def a_file_without_a_list_of_contents(workshop: Workshop) -> None:
    workshop.add_tree_snapshot(tree(node("a", "file", ',"content":null'),
                                    node("b", "file", ',"size":3,"content":null')))


@damage
def folders_that_name_no_tree(workshop: Workshop) -> None:
    workshop.add_tree_snapshot(tree(node("a", "dir", ',"content":null'),
                                    node("b", "dir", f',"content":null,"subtree":"{"ab" * 32}"')))


@damage
def nodes_that_lack_fields(workshop: Workshop) -> None:
    """What is changed is written with all the fields that restic writes."""
    workshop.add_tree_snapshot(b'{"nodes":[{"name":"a","type":"file","mode":420,"mtime":"2020-01-01T00:00:00Z",'
                               b'"atime":"0001-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00.5+09:00","uid":0,"gid":0,'
                               b'"size":5,"content":[]}]}\n')


@damage
def a_tree_that_is_no_array(workshop: Workshop) -> None:
    """Old versions wrote this for an empty folder; new ones take it for damage."""
    inner = workshop.add_tree(b'{"nodes":null}\n').hex()
    workshop.add_tree_snapshot(tree(node("a", "dir", f',"content":null,"subtree":"{inner}"')))


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_left_is_the_same(base: Path, tmp_path: Path, restic_new: str, name: str) -> None:
    pair = Pair(base, tmp_path, restic_new, DAMAGES[name])
    pair.restic.run("repair", "snapshots", "--forget")
    said = pair.kuramori.run("repair", "snapshots", "--forget")
    assert "modified" in said
    assert "no snapshots" not in said
    pair.assert_equal_and_sound()
    pair.assert_restores_equal()
    assert "no snapshots were modified" in pair.kuramori.run("repair", "snapshots", "--forget")
    assert "no snapshots were modified" in pair.judge.run("repair", "snapshots", "--forget").stdout


def test_the_damaged_snapshots_stay_unless_they_shall_go(base: Path, tmp_path: Path, restic_new: str) -> None:
    pair = Pair(base, tmp_path, restic_new, a_file_lost_one_blob_of_several)
    before = {stored["id"] for stored in pair.kuramori.snapshots()}
    pair.restic.run("repair", "snapshots")
    said = pair.kuramori.run("repair", "snapshots")
    theirs, ours = pair.snapshots()
    assert ours == theirs
    after = pair.kuramori.snapshots()
    new = [stored for stored in after if stored["id"] not in before]
    assert before < {stored["id"] for stored in after}
    assert [stored["tags"] for stored in new] == [["repaired"], ["repaired"]]
    assert {stored["original"] for stored in new} == before
    path = f"{pair.source}/deep/several"
    assert f"{path}: 1 of its" in said
    for stored in new:
        assert stored["id"][:8] in said
        assert stored["original"][:8] in said
    indexed = {path.name for path in (tmp_path / "ours" / "index").iterdir()}
    assert "no snapshots were modified" in pair.kuramori.run("repair", "snapshots"), "these are there already"
    assert pair.kuramori.snapshots() == after
    assert {path.name for path in (tmp_path / "ours" / "index").iterdir()} == indexed


def test_a_dry_run_writes_nothing(base: Path, tmp_path: Path, restic_new: str) -> None:
    pair = Pair(base, tmp_path, restic_new, many_files_lost_something)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    said = pair.kuramori.run("repair", "snapshots", "--forget", "--dry-run")
    assert "would modify 2 snapshots" in said
    assert "would modify 2 snapshots" in pair.restic.run("repair", "snapshots", "--forget", "--dry-run").stdout
    assert "would save a new snapshot" in said
    assert f"{pair.source}/deep/file3: " in said
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ours").rglob("*") if path.is_file()} == before


@pytest.mark.exhaustive
def test_only_what_is_named(base: Path, tmp_path: Path, restic_new: str) -> None:
    pair = Pair(base, tmp_path, restic_new, a_folder_lost_its_tree)
    first, second = pair.kuramori.snapshots()
    for arguments in ([second["id"][:10]], ["latest", "--path", str(pair.source)]):
        pair.restic.run("repair", "snapshots", "--forget", *arguments)
        pair.kuramori.run("repair", "snapshots", "--forget", *arguments)
        theirs, ours = pair.snapshots()
        assert ours == theirs
        assert first["id"] in {stored["id"] for stored in pair.kuramori.snapshots()}
    for options in (["--host", "nobody"], ["--tag", "none"], ["--path", "/nowhere"]):
        assert "no snapshots" in pair.kuramori.run("repair", "snapshots", "--forget", *options)
    pair.kuramori.run("repair", "snapshots", "--host", "x", first["id"], codes=(1,))
    pair.kuramori.run("repair", "snapshots", "00000000", codes=(1,))


def _lose_the_root(workshop: Workshop) -> None:
    lose(workshop, {workshop.latest().tree})


def test_a_snapshot_without_a_root_goes_only_when_it_shall(base: Path, tmp_path: Path, restic_new: str) -> None:
    """restic removes it at once; we do not remove what nobody said should go."""
    pair = Pair(base, tmp_path, restic_new, _lose_the_root)
    before = pair.kuramori.snapshots()
    said = pair.kuramori.run("repair", "snapshots")
    assert "nothing of the snapshot is left" in said
    assert "--forget" in said
    assert pair.kuramori.snapshots() == before
    pair.restic.run("repair", "snapshots", "--forget")
    pair.kuramori.run("repair", "snapshots", "--forget")
    assert len(pair.kuramori.snapshots()) == 1
    pair.assert_equal_and_sound()


def test_a_lost_empty_folder_is_stored_again(base: Path, tmp_path: Path, restic_new: str) -> None:
    """What takes the place of the lost tree is that tree: the snapshot is sound again as it is."""
    def breaker(workshop: Workshop) -> None:
        empty = hash_id(b'{"nodes":[]}\n').hex()
        workshop.add_tree_snapshot(tree(node("a", "dir", f',"content":null,"subtree":"{empty}"')))

    pair = Pair(base, tmp_path, restic_new, breaker)
    pair.restic.run("repair", "snapshots")
    assert "stored again" in pair.kuramori.run("repair", "snapshots")
    pair.assert_equal_and_sound()


def test_an_empty_folder_whose_tree_is_damaged_is_stored_again(base: Path, tmp_path: Path, restic_new: str) -> None:
    """The index names the tree that shall take the place of the damaged one: it is the damaged one."""
    packs: list[str] = []

    def breaker(workshop: Workshop) -> None:
        empty = workshop.add_tree(b'{"nodes":[]}\n')
        workshop.add_tree_snapshot(tree(node("a", "dir", f',"content":null,"subtree":"{empty.hex()}"')))
        workshop.repository.load_index()
        packs.append(workshop.repository.index.lookup(BlobType.TREE, empty)[0].pack.hex())
        workshop.flip(FileType.PACK, packs[0], 20)

    pair = Pair(base, tmp_path, restic_new, breaker)
    assert "stored again" in pair.kuramori.run("repair", "snapshots")
    pair.kuramori.run("check")
    assert "no snapshots were modified" in pair.kuramori.run("repair", "snapshots")
    pair.kuramori.run("repair", "packs", packs[0], directory=tmp_path)
    check_soon(pair.judge)


def test_a_snapshot_that_cannot_be_read(base: Path, tmp_path: Path, restic_new: str) -> None:
    lost: list[str] = []

    def breaker(workshop: Workshop) -> None:
        lost.append(workshop.names(FileType.SNAPSHOT)[0])
        workshop.flip(FileType.SNAPSHOT, lost[0], 60)

    pair = Pair(base, tmp_path, restic_new, breaker)
    pair.kuramori.run("repair", "snapshots", codes=(1,))
    pair.kuramori.run("repair", "snapshots", "--forget", codes=(1,))
    assert (tmp_path / "ours" / "snapshots" / lost[0]).exists(), "it was not named"
    pair.kuramori.run("repair", "snapshots", "--forget", "--dry-run", lost[0], codes=(1,))
    pair.kuramori.run("repair", "snapshots", "--forget", lost[0])
    check_soon(pair.judge)
    assert len(pair.judge.snapshots()) == 1


def test_what_restic_gives_up_on(base: Path, tmp_path: Path, restic_new: str) -> None:
    """A tree that is malformed half-way, a malformed name, names that are out of order: restic's repair
    ends with an error there."""
    def breaker(workshop: Workshop) -> None:
        kept = _files(workshop.repository)["file3"]
        whole = f',"size":{kept.size},"content":["{kept.content_ids[0]}"]'
        half = workshop.add_tree(tree(node("a", "file", ',"content":[]'), '{"name":7}')).hex()
        name = workshop.add_tree(tree(node('in \\"quotes\\"', "file", whole))).hex()
        order = workshop.add_tree(tree(node("b", "file", whole), node("a", "file", ',"size":1,"content":[]'))).hex()
        workshop.add_tree_snapshot(tree(*(
            node(each, "dir", f',"content":null,"subtree":"{subtree}"')
            for each, subtree in (("half", half), ("name", name), ("order", order)))))

    pair = Pair(base, tmp_path, restic_new, breaker)
    pair.restic.run("repair", "snapshots", "--forget", codes=(1,))
    said = pair.kuramori.run("repair", "snapshots", "--forget")
    assert "/half: the folder is lost" in said
    assert '/name/in "quotes": its name was malformed' in said
    assert "/order/a: its size was wrong" in said
    check_soon(pair.judge)
    latest = next(stored for stored in pair.judge.snapshots() if stored.get("original"))
    pair.judge.restore(latest["id"], tmp_path / "restored")
    assert (tmp_path / "restored" / "name" / 'in "quotes"').read_bytes() == (
        pair.source / "deep" / "file3").read_bytes()
    assert (tmp_path / "restored" / "order" / "b").read_bytes() == (pair.source / "deep" / "file3").read_bytes()
    assert list((tmp_path / "restored" / "half").iterdir()) == []


def test_trees_of_other_programs_stay_as_they_are(base: Path, tmp_path: Path, restic_new: str) -> None:
    """restic writes them anew and loses what it does not know; nothing is damaged in them."""
    def breaker(workshop: Workshop) -> None:
        workshop.add_tree_snapshot(b'{"nodes":[{"name":"a","type":"fifo","label":"kept","mode":420}]}\n')

    pair = Pair(base, tmp_path, restic_new, breaker)
    assert "no snapshots were modified" in pair.kuramori.run("repair", "snapshots", "--forget")
    assert "modified 1 snapshots" in pair.restic.run("repair", "snapshots", "--forget").stdout


def test_json_names_every_change(base: Path, tmp_path: Path, restic_new: str) -> None:
    pair = Pair(base, tmp_path, restic_new, a_folder_and_a_file_beside_it)
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in pair.kuramori.run("repair", "snapshots", "--json").splitlines()]
    *changed, summary = lines
    assert summary["modified"] == len(changed) == 2
    paths = [{change["path"] for change in each["changes"]} for each in changed]
    deep = f"{pair.source}/deep"
    assert paths == [{f"{deep}/deeper", f"{deep}/file3"}, {deep}], "the second has the same folder"
    assert {each["new_snapshot"] for each in changed} < {stored["id"] for stored in pair.kuramori.snapshots()}


# --- repair packs --------------------------------------------------------------------------------

PackDamage = Callable[[Workshop, str], None]


def _flip_in_the_middle(workshop: Workshop, pack: str) -> None:
    workshop.flip(FileType.PACK, pack, len(workshop.read(FileType.PACK, pack)) // 2)


def _flip_at_the_beginning(workshop: Workshop, pack: str) -> None:
    workshop.flip(FileType.PACK, pack, 20)


def _flip_in_the_header(workshop: Workshop, pack: str) -> None:
    workshop.flip(FileType.PACK, pack, -30)


def _flip_in_the_length(workshop: Workshop, pack: str) -> None:
    workshop.flip(FileType.PACK, pack, -4, 3)


def _half(workshop: Workshop, pack: str) -> None:
    workshop.truncate(FileType.PACK, pack, len(workshop.read(FileType.PACK, pack)) // 2)


def _nothing_left(workshop: Workshop, pack: str) -> None:
    workshop.truncate(FileType.PACK, pack, 0)


def _zeros(workshop: Workshop, pack: str) -> None:
    workshop.change(FileType.PACK, pack, bytes(len(workshop.read(FileType.PACK, pack))))


def _gone(workshop: Workshop, pack: str) -> None:
    workshop.remove(FileType.PACK, pack)


def _not_indexed(workshop: Workshop, pack: str) -> None:
    """Only the header knows what is in it, and some of that is damaged."""
    _flip_in_the_middle(workshop, pack)
    workshop.replace_index([each for each in workshop.all_index_packs() if each.id != pack])


def _indexed_in_part(workshop: Workshop, pack: str) -> None:
    """The index knows every second blob, and one of these in a wrong place."""
    packs = workshop.all_index_packs()
    for each in packs:
        if each.id == pack:
            each.blobs = each.blobs[::2]
            each.blobs[0].offset += 1
    workshop.replace_index(packs)


def _sound(workshop: Workshop, pack: str) -> None:
    """Somebody named the wrong pack."""


PACK_DAMAGES: list[PackDamage] = [
    _flip_in_the_middle, _flip_at_the_beginning, _flip_in_the_header, _flip_in_the_length, _half, _nothing_left,
    _zeros, _gone, _not_indexed, _indexed_in_part, _sound]


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("kind", list(BlobType), ids=lambda kind: kind.value)
@pytest.mark.parametrize("breaker", PACK_DAMAGES, ids=lambda breaker: breaker.__name__.strip("_"))
def test_what_is_intact_in_a_pack_is_saved(base: Path, tmp_path: Path, restic_new: str, kind: BlobType,
                                           breaker: PackDamage) -> None:
    packs: list[str] = []

    def break_pack(workshop: Workshop) -> None:
        packs.append(workshop.packs(kind)[0])
        breaker(workshop, packs[0])

    pair = Pair(base, tmp_path, restic_new, break_pack)
    damaged = tmp_path / "ours" / "data" / packs[0][:2] / packs[0]
    content = damaged.read_bytes() if damaged.exists() else None
    for name in ("copies of theirs", "copies of ours"):
        (tmp_path / name).mkdir()
    if breaker not in (_gone, _nothing_left):  # restic tries to read these again and again
        pair.restic.run("repair", "packs", packs[0], directory=tmp_path / "copies of theirs", timeout_seconds=60)
        expected = set(pair.restic.list("blobs"))
    else:
        expected = {line for line in pair.restic.list("blobs") if line not in {
            f"{blob.type.value} {blob.id.hex()}"
            for blob in Workshop(tmp_path / "theirs").repository.index.blobs() if blob.pack.hex() == packs[0]}}
    pair.kuramori.run("repair", "packs", packs[0], directory=tmp_path / "copies of ours")
    found = pair.judge.list("blobs")
    assert len(found) == len(set(found)), "nothing is there twice"
    assert set(found) == expected
    assert not damaged.exists()
    copies = {path.name: path.read_bytes() for path in (tmp_path / "copies of ours").iterdir()}
    assert copies == ({} if content is None else {f"pack-{packs[0]}": content})
    pair.kuramori.run("repair", "snapshots", "--forget")
    check_soon(pair.judge)
    pair.kuramori.run("check", "--read-data")


@pytest.mark.exhaustive
def test_damaged_packs_and_then_snapshots(base: Path, tmp_path: Path, restic_new: str) -> None:
    """The whole way that the guide shows, in both programs: the same is left."""
    def break_packs(workshop: Workshop) -> None:
        for kind in BlobType:
            _flip_in_the_middle(workshop, workshop.packs(kind)[0])

    pair = Pair(base, tmp_path, restic_new, break_packs)
    packs = [pack for kind in BlobType for pack in Workshop(tmp_path / "ours").packs(kind)[:1]]
    for name, run in (("theirs", pair.restic.run), ("ours", pair.kuramori.run)):
        (tmp_path / f"copies of {name}").mkdir()
        run("repair", "packs", *packs, directory=tmp_path / f"copies of {name}")
        run("repair", "snapshots", "--forget")
    pair.assert_equal_and_sound()
    pair.assert_restores_equal()
    theirs, ours = ({path.name: path.read_bytes() for path in (tmp_path / f"copies of {name}").iterdir()}
                    for name in ("theirs", "ours"))
    assert ours == theirs


def test_packs_are_named_in_part_and_copies_are_never_replaced(base: Path, tmp_path: Path, restic_new: str) -> None:
    packs: list[str] = []

    def breaker(workshop: Workshop) -> None:
        packs.append(workshop.packs(BlobType.DATA)[0])
        _flip_in_the_middle(workshop, packs[0])

    pair = Pair(base, tmp_path, restic_new, breaker)
    (pack,) = packs
    before = sorted(path for path in (tmp_path / "ours").rglob("*") if path.is_file())
    (tmp_path / f"pack-{pack}").write_bytes(b"something else")
    for arguments in ([], [""], ["zz"], [pack[:12]]):
        pair.kuramori.run("repair", "packs", *arguments, codes=(1,), directory=tmp_path)
    assert sorted(path for path in (tmp_path / "ours").rglob("*") if path.is_file()) == before
    assert (tmp_path / f"pack-{pack}").read_bytes() == b"something else"
    (tmp_path / f"pack-{pack}").unlink()
    summary = json.loads(pair.kuramori.run("repair", "packs", "--json", pack[:12], directory=tmp_path).splitlines()[-1])
    assert summary["packs"] == [pack]
    assert [lost["type"] for lost in summary["blobs_lost"]] == ["data"]
    assert summary["blobs_saved"] > 1
    again = json.loads(pair.kuramori.run("repair", "packs", "--json", pack, directory=tmp_path).splitlines()[-1])
    assert (again["absent"], again["blobs_saved"], again["blobs_lost"]) == ([pack], 0, [])
