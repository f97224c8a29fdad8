"""Copies beside restic's: what we copy restic restores, and each program skips what the other has
copied."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kuramori.model.blob import BlobType
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import Facts, assert_same_tree, tree_facts

SOURCE, TARGET = "the source's", "the target's"
_NOT_COPIED = ("id", "short_id", "parent", "original")


@dataclass
class Origin:
    """A repository to copy from, and what its snapshots hold."""

    folder: Path
    facts: dict[str, dict[bytes, Facts]]

    @property
    def repository(self) -> Path:
        return self.folder / "source"


def _live_a_day(root: Path, day: int) -> dict[bytes, Facts]:
    chance = random.Random(day)
    (root / f"day {day}").mkdir(parents=True)
    for number in range(3):
        (root / f"day {day}" / f"{number}.jpg").write_bytes(chance.randbytes(250_000 + 1000 * number))
    (root / f"day {day}" / "large").write_bytes(chance.randbytes(3_000_000))
    (root / f"day {day}" / "empty").touch()
    (root / "log").write_text(f"day {day}: all is well\n" * 5000 * day)
    if day > 1:
        (root / f"day {day - 1}" / "1.jpg").unlink()
    return tree_facts(root)


def _make_origin(folder: Path, binary: str, version: int = 2) -> Origin:
    """Let restic make three snapshots: of two hosts, with different tags."""
    ours = Kuramori(folder / "source", SOURCE)
    ours.init_quickly(version)
    restic = Restic(binary, folder / "source", SOURCE)
    origin = Origin(folder, {})
    for day, options in enumerate((("--host", "one", "--tag", "a,b"), ("--host", "two"),
                                   ("--host", "one", "--tag", "b", "--exclude", "nothing*")), 1):
        before = {found["id"] for found in ours.snapshots()}
        facts = _live_a_day(folder / "planter", day)
        restic.backup("planter", options=options, directory=folder)
        (snapshot,) = {found["id"] for found in ours.snapshots()} - before
        origin.facts[snapshot] = facts
    return origin


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, restic_new: str) -> Origin:
    """Must not be changed."""
    return _make_origin(tmp_path_factory.mktemp("origin"), restic_new)


def _ours(target: Path, source: Path, **more: str) -> Kuramori:
    environment = {"KURAMORI_FROM_REPOSITORY": str(source), "KURAMORI_FROM_PASSWORD": SOURCE, **more}
    return Kuramori(target, TARGET, environment=environment)


def _theirs(binary: str, target: Path, source: Path, passwords: tuple[str, str] = (TARGET, SOURCE)) -> Restic:
    environment = {"RESTIC_FROM_REPOSITORY": str(source), "RESTIC_FROM_PASSWORD": passwords[1]}
    return Restic(binary, target, passwords[0], environment=environment)


def _new_target(target: Path, version: int = 2) -> None:
    Kuramori(target, TARGET).init_quickly(version)


def _open(folder: Path, password: str) -> Repository:
    return open_repository(LocalBackend(folder), Secret(password))


def _described(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return what a copy has to keep."""
    return {name: value for name, value in snapshot.items() if name not in _NOT_COPIED}


def _copied_from(target: Path, password: str = TARGET) -> list[str]:
    return sorted(found["original"] for found in Kuramori(target, password).snapshots())


def _assert_all_is_there(tmp_path: Path, binary: str, origin: Origin, target: Path, wanted: set[str]) -> None:
    """Both programs find the target sound, and the wanted snapshots, and nothing else, in it."""
    judge, ours = Restic(binary, target, TARGET), Kuramori(target, TARGET)
    judge.check(read_data=True)
    ours.run("check", "--read-data")
    source = {found["id"]: found for found in Kuramori(origin.repository, SOURCE).snapshots()}
    copies = ours.snapshots()
    assert sorted(found["original"] for found in copies) == sorted(wanted)
    for number, found in enumerate(copies):
        assert "parent" not in found
        assert _described(found) == _described(source[found["original"]])
        restored = tmp_path / f"restored-{target.name}-{number}"
        judge.restore(found["id"], restored)
        assert_same_tree(origin.facts[found["original"]], tree_facts(restored / "planter"))
        shutil.rmtree(restored)
        ours.run("restore", found["id"], "--target", restored)
        assert_same_tree(origin.facts[found["original"]], tree_facts(restored / "planter"))


def _pack_bytes(repository: Path) -> int:
    return sum(path.stat().st_size for path in (repository / "data").rglob("*") if path.is_file())


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("versions"), [(2, 2), (1, 2), (2, 1)], ids=["v2 to v2", "v1 to v2", "v2 to v1"])
def test_what_we_copy_is_whole(tmp_path: Path, restic_binary: str, versions: tuple[int, int]) -> None:
    origin = _make_origin(tmp_path, restic_binary, versions[0])
    target, theirs = tmp_path / "target", tmp_path / "theirs"
    _new_target(target, versions[1])
    _new_target(theirs, versions[1])
    _ours(target, origin.repository).run("copy")
    _assert_all_is_there(tmp_path, restic_binary, origin, target, set(origin.facts))
    _theirs(restic_binary, theirs, origin.repository).run("copy")
    assert sorted(Restic(restic_binary, target, TARGET).list("blobs")) == \
        sorted(Restic(restic_binary, theirs, TARGET).list("blobs"))
    assert _pack_bytes(target) <= 1.01 * _pack_bytes(theirs), "the two compressors differ a little"
    if versions == (1, 2):
        assert _pack_bytes(target) < _pack_bytes(origin.repository)


@pytest.mark.exhaustive
def test_the_hardest_tree(tmp_path: Path, restic_new: str, nasty_tree: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    ours = Kuramori(source, SOURCE)
    ours.init_quickly()
    ours.backup(nasty_tree.name, directory=nasty_tree.parent)
    _new_target(target)
    _ours(target, source).run("copy")
    restic = Restic(restic_new, target, TARGET)
    restic.check(read_data=True)
    restic.restore("latest", tmp_path / "restored")
    assert_same_tree(tree_facts(nasty_tree), tree_facts(tmp_path / "restored" / nasty_tree.name))


def test_each_skips_what_the_other_has_copied(tmp_path: Path, restic_binary: str, origin: Origin) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _new_target(first)
    _new_target(second)
    _ours(first, origin.repository).run("copy")
    packs = _pack_bytes(first)
    said = _theirs(restic_binary, first, origin.repository).run("copy", "-v").stdout
    assert said.count("skipping source snapshot") == 3
    assert (len(_copied_from(first)), _pack_bytes(first)) == (3, packs)
    _theirs(restic_binary, second, origin.repository).run("copy")
    packs = _pack_bytes(second)
    for _ in range(2):
        said = _ours(second, origin.repository).run("copy")
        assert said.count("skipped, it was copied to") == 3
        assert "copied 0 snapshots, skipped 3" in said
        assert (len(_copied_from(second)), _pack_bytes(second)) == (3, packs)


@pytest.mark.exhaustive
def test_they_take_turns_while_the_source_grows(tmp_path: Path, restic_new: str) -> None:
    origin = _make_origin(tmp_path, restic_new)
    target = tmp_path / "target"
    _new_target(target)
    first = sorted(origin.facts)[0]
    _ours(target, origin.repository).run("copy", first)
    _theirs(restic_new, target, origin.repository).run("copy", sorted(origin.facts)[1])
    facts = _live_a_day(tmp_path / "planter", 4)
    before = {found["id"] for found in Kuramori(origin.repository, SOURCE).snapshots()}
    Kuramori(origin.repository, SOURCE).backup("planter", directory=tmp_path)
    (added,) = {found["id"] for found in Kuramori(origin.repository, SOURCE).snapshots()} - before
    origin.facts[added] = facts
    said = _ours(target, origin.repository).run("copy")
    assert "copied 2 snapshots, skipped 2" in said
    _assert_all_is_there(tmp_path, restic_new, origin, target, set(origin.facts))


@pytest.mark.exhaustive
def test_a_chain_of_copies_keeps_the_first_id(tmp_path: Path, restic_new: str) -> None:
    """From the source by us to a second, from there by restic to a third, and back by us."""
    origin = _make_origin(tmp_path, restic_new)
    second, third = tmp_path / "second", tmp_path / "third"
    _new_target(second)
    _new_target(third)
    _ours(second, origin.repository).run("copy")
    _theirs(restic_new, third, second, (TARGET, TARGET)).run("copy")
    assert _copied_from(third) == sorted(origin.facts)
    back = Kuramori(origin.repository, SOURCE, environment={
        "KURAMORI_FROM_REPOSITORY": str(third), "KURAMORI_FROM_PASSWORD": TARGET})
    assert "copied 0 snapshots, skipped 3" in back.run("copy")
    forward = _ours(third, origin.repository)
    assert "copied 0 snapshots, skipped 3" in forward.run("copy")


def test_what_was_tagged_since_is_another_snapshot(tmp_path: Path, restic_new: str, origin: Origin) -> None:
    """Where source and copy are no longer alike, both programs copy again."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    _new_target(ours)
    _ours(ours, origin.repository).run("copy")
    chosen = sorted(found["id"] for found in Kuramori(ours, TARGET).snapshots())[0]
    Restic(restic_new, ours, TARGET).run("tag", "--add", "new", chosen)
    shutil.copytree(ours, theirs)
    _ours(ours, origin.repository).run("copy")
    _theirs(restic_new, theirs, origin.repository).run("copy")
    assert len(_copied_from(ours)) == 4
    assert _copied_from(ours) == _copied_from(theirs)


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("options", [
    ("--host", "one"), ("--host", "one", "--host", "two"), ("--tag", "b"), ("--tag", "a,b"), ("--tag", ""),
    ("--host", "one", "--tag", "a"), ("--path", "PATH"), ("--path", "/nowhere"), ("latest",),
    ("--host", "two", "latest"), ("ID 0",), ("ID 1", "ID 0", "latest"), ("--host", "nobody", "ID 2"),
], ids=" ".join)
def test_the_same_are_chosen(tmp_path: Path, restic_new: str, origin: Origin, options: tuple[str, ...]) -> None:
    ids = sorted(origin.facts)
    chosen = [ids[int(word[3:])][:9] if word.startswith("ID ") else word for word in options]
    chosen = [str(origin.folder / "planter") if word == "PATH" else word for word in chosen]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    _new_target(ours)
    _new_target(theirs)
    _ours(ours, origin.repository).run("copy", *chosen)
    _theirs(restic_new, theirs, origin.repository).run("copy", *chosen)
    assert len(_copied_from(ours)) == len(set(_copied_from(ours)))
    assert set(_copied_from(ours)) == set(_copied_from(theirs)), "restic copies twice what is named twice"


def _packs_only_of(source: Path, snapshot: str, blob_type: BlobType) -> list[Path]:
    """Return the packs whose blobs only one of the snapshots uses."""
    repository = _open(source, SOURCE)
    repository.load_index()
    used: dict[str, set[str]] = {}
    ours = Kuramori(source, SOURCE)
    for found in ours.snapshots():
        names, waiting = set(), [found["tree"]]
        while waiting:
            tree = waiting.pop()
            names.add(tree)
            for node in repository.load_tree(bytes.fromhex(tree)).nodes:  # type: ignore[arg-type]
                names.update(node.content or ())
                waiting += [node.subtree] if node.subtree else []
        used[found["id"]] = names
    others = set().union(*(names for name, names in used.items() if name != snapshot))
    return [source / "data" / pack.hex()[:2] / pack.hex() for pack, blobs in repository.index.packs()
            if blobs[0].type is blob_type and not any(blob.id.hex() in others for blob in blobs)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("blob_type", list(BlobType), ids=lambda value: value.value)
@pytest.mark.parametrize("damage", ["gone", "flipped", "cut off"])
def test_a_damaged_snapshot_is_named_and_the_others_are_copied(
        tmp_path: Path, restic_new: str, origin: Origin, blob_type: BlobType, damage: str) -> None:
    damaged = Origin(tmp_path, origin.facts)
    shutil.copytree(origin.repository, damaged.repository)
    snapshots = Kuramori(damaged.repository, SOURCE).snapshots()
    victim = next(found["id"] for found in sorted(snapshots, key=lambda found: str(found["time"]), reverse=True)
                  if _packs_only_of(damaged.repository, found["id"], blob_type))
    for pack in _packs_only_of(damaged.repository, victim, blob_type):
        pack.chmod(0o600)
        content = pack.read_bytes()
        if damage == "gone":
            pack.unlink()
        elif damage == "flipped":
            pack.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        else:
            pack.write_bytes(content[: 20])
    target = tmp_path / "target"
    _new_target(target)
    ours = _ours(target, damaged.repository)
    for _ in range(2):
        process = ours.start("copy", stdout=-1, stderr=-1)
        stdout, stderr = (text.decode() for text in process.communicate(timeout=120))
        assert process.returncode == 1
        assert f"snapshot {victim[:8]} was not copied" in stderr
        assert "1 snapshot(s) could not be copied" in stderr
        assert victim[:8] not in stdout
        _assert_all_is_there(tmp_path, restic_new, damaged, target, set(origin.facts) - {victim})
    assert not list((target / "locks").iterdir())
    assert not list((damaged.repository / "locks").iterdir())
    # What was lost comes back, and the next copy heals what is missing.
    shutil.copytree(origin.repository / "data", damaged.repository / "data", dirs_exist_ok=True)
    assert "copied 1 snapshot, skipped 2" in ours.run("copy")
    _assert_all_is_there(tmp_path, restic_new, damaged, target, set(origin.facts))


@pytest.mark.exhaustive
def test_what_the_target_has_need_not_be_read(tmp_path: Path, restic_new: str) -> None:
    """The source lost a pack and its index, and the target has both: a later snapshot that shares
    them is copied whole."""
    origin = _make_origin(tmp_path, restic_new)
    target = tmp_path / "target"
    _new_target(target)
    ours = _ours(target, origin.repository)
    ours.run("copy")
    packs = [path for path in (origin.repository / "data").rglob("*") if path.is_file()]
    facts = tree_facts(tmp_path / "planter")
    Kuramori(origin.repository, SOURCE).backup("planter", "--tag", "later", directory=tmp_path)
    for path in packs:
        path.unlink()
    assert "copied 1 snapshot, skipped 3" in ours.run("copy")
    later = next(found for found in Kuramori(target, TARGET).snapshots() if found.get("tags") == ["later"])
    origin.facts[later["original"]] = facts
    Kuramori(origin.repository, SOURCE).run("repair", "index")
    Restic(restic_new, target, TARGET).run("forget", later["id"])
    Kuramori(target, TARGET).run("check", "--accept-missing")
    said = ours.run("copy")
    assert "copied 1 snapshot, skipped 3" in said, "also where the index does not know them"
    _assert_all_is_there(tmp_path, restic_new, origin, target, set(origin.facts))


def test_damaged_snapshots_and_unknown_ids_are_failures(tmp_path: Path, origin: Origin, restic_new: str) -> None:
    damaged = Origin(tmp_path, origin.facts)
    shutil.copytree(origin.repository, damaged.repository)
    victim = sorted(origin.facts)[1]
    path = damaged.repository / "snapshots" / victim
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    target = tmp_path / "target"
    _new_target(target)
    ours = _ours(target, damaged.repository)
    ours.run("copy", codes=(1,))
    _assert_all_is_there(tmp_path, restic_new, damaged, target, set(origin.facts) - {victim})
    ours.run("copy", "deadbeef", sorted(origin.facts)[0], codes=(1,))
    assert len(_copied_from(target)) == 2


def test_the_same_repository_is_refused(tmp_path: Path, origin: Origin) -> None:
    source = tmp_path / "source"
    shutil.copytree(origin.repository, source)
    (tmp_path / "link").symlink_to(source)
    for options in ((), ("--no-lock",)):
        process = Kuramori(tmp_path / "link", SOURCE, environment={
            "RESTIC_FROM_REPOSITORY": str(source), "RESTIC_FROM_PASSWORD": SOURCE,
        }).start("copy", *options, stdout=-1, stderr=-1)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"it is the same repository" in stderr
    assert len(list((source / "snapshots").iterdir())) == 3
    assert not list((source / "locks").iterdir())


def test_a_duplicate_with_the_same_id_is_another_repository(tmp_path: Path, restic_new: str, origin: Origin) -> None:
    """Somebody mirrored the files, and then saved something in the original."""
    source, mirror = tmp_path / "source", tmp_path / "mirror"
    shutil.copytree(origin.repository, source)
    shutil.copytree(source, mirror)
    Kuramori(source, SOURCE).backup("planter", directory=origin.folder)
    ours = Kuramori(mirror, SOURCE, environment={
        "RESTIC_FROM_REPOSITORY": str(source), "RESTIC_FROM_PASSWORD": SOURCE})
    assert "copied 1 snapshot, skipped 3" in ours.run("copy")
    Restic(restic_new, mirror, SOURCE).check(read_data=True)
    assert len(ours.snapshots()) == 4


def test_exit_codes_are_those_of_restic(tmp_path: Path, restic_new: str, origin: Origin) -> None:
    target, empty = tmp_path / "target", tmp_path / "empty"
    _new_target(target)
    empty.mkdir()
    cases: list[tuple[Path, Path, tuple[str, str], int]] = [
        (target, origin.repository, (TARGET, "wrong"), 12), (target, origin.repository, ("wrong", SOURCE), 12),
        (target, empty, (TARGET, SOURCE), 10), (empty, origin.repository, (TARGET, SOURCE), 10),
    ]
    for to, source, passwords, code in cases:
        _theirs(restic_new, to, source, passwords).run("copy", codes=(code,))
        Kuramori(to, passwords[0], environment={
            "KURAMORI_FROM_REPOSITORY": str(source), "KURAMORI_FROM_PASSWORD": passwords[1],
        }).run("copy", codes=(code,))


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("locked", ["source", "target"])
@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_locks_of_others(tmp_path: Path, restic_new: str, origin: Origin, locked: str, exclusive: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(origin.repository, source)
    _new_target(target)
    repository = _open(source, SOURCE) if locked == "source" else _open(target, TARGET)
    with hold_lock(repository, exclusive=exclusive):
        code = 11 if exclusive else 0
        _theirs(restic_new, target, source).run("copy", "latest", codes=(code,))
        _ours(target, source).run("copy", codes=(code,))
        # Only the source can do without.
        code = 11 if exclusive and locked == "target" else 0
        _theirs(restic_new, target, source).run("copy", "--no-lock", "latest", codes=(code,))
        _ours(target, source).run("copy", "--no-lock", codes=(code,))
        assert len(list(repository.backend.list(FileType.LOCK))) == 1


@pytest.mark.parametrize("maker", ["ours", "restic"])
def test_restic_finds_its_own_cuts_again_with_the_source_s_polynomial(
        tmp_path: Path, restic_new: str, origin: Origin, maker: str) -> None:
    target = tmp_path / "target"
    command = _ours(target, origin.repository) if maker == "ours" else None
    if command is not None:
        command.run("init", "--copy-chunker-params")
    else:
        _theirs(restic_new, target, origin.repository).run("init", "--copy-chunker-params")
    configs = [_open(folder, password).config for folder, password in
               ((origin.repository, SOURCE), (target, TARGET))]
    assert configs[0].chunker_polynomial == configs[1].chunker_polynomial
    assert configs[0].id != configs[1].id
    _ours(target, origin.repository).run("copy", "latest")
    summary = Restic(restic_new, target, TARGET).backup("planter", directory=origin.folder, options=["--force"])
    assert summary["files_new"] > 5
    assert summary["data_blobs"] == 0


def test_init_asks_for_a_source_only_with_the_option(tmp_path: Path, restic_new: str, origin: Origin) -> None:
    for number, options in enumerate((("--from-repo", os.fspath(origin.repository)), ("--copy-chunker-params",))):
        Restic(restic_new, tmp_path / f"theirs-{number}", TARGET).run("init", *options, codes=(1,))
        Kuramori(tmp_path / f"ours-{number}", TARGET).run("init", *options, codes=(1,))
        assert not (tmp_path / f"ours-{number}" / "config").exists()
