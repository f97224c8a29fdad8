"""What restic does to a repository that we have written, and both writing in turn."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import Facts, assert_same_tree, tree_facts

PASSWORD = "turn and turn about"


def _planter(root: Path, day: int) -> dict[bytes, Facts]:
    """Make or change a small folder as day follows day, and return what it holds then."""
    root.mkdir(exist_ok=True)
    (root / f"day-{day}.log").write_text(f"day {day}: all is well\n" * 3000 * day)
    (root / "settings.toml").write_text(f"day = {day}\n")
    (root / f"image-{day}.raw").write_bytes(os.urandom(700_000 + 300_000 * day))
    if day > 2:
        (root / f"image-{day - 2}.raw").unlink()
    return tree_facts(root)


def _restored_by_us(ours: Kuramori, snapshot: str, root: Path, target: Path) -> dict[bytes, Facts]:
    ours.run("restore", snapshot, "--target", target)
    return tree_facts(target / root.name)


def _restored_by_restic(restic: Restic, snapshot: str, root: Path, target: Path) -> dict[bytes, Facts]:
    restic.restore(snapshot, target)
    return tree_facts(target / root.name)


def _three_days(ours: Kuramori, root: Path, version: int = 2) -> list[tuple[str, dict[bytes, Facts]]]:
    ours.init_quickly(version)
    made = []
    for day in range(1, 4):
        facts = _planter(root, day)
        made.append((ours.backup(root.name, "--tag", f"day{day}", directory=root.parent)["snapshot_id"], facts))
    return made


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("maker", ["restic", "kuramori"])
def test_both_write_in_turn(tmp_path: Path, restic_binary: str, version: int, maker: str) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    if maker == "restic":
        restic.init(version)
        ours.make_key_cheap()
    else:
        ours.init_quickly(version)
    days = []
    for day in range(1, 6):
        facts = _planter(root, day)
        known = {snapshot for snapshot, _ in days}
        if day % 2:
            restic.backup(root.name, directory=root.parent)
        else:
            summary = ours.backup(root.name, directory=root.parent)
            assert summary["files_new"] == 2, "the other program's snapshot is the parent"
            assert summary["files_unmodified"] >= 1
        made = {found["id"] for found in ours.snapshots()} - known
        assert len(made) == 1
        days.append((made.pop(), facts))
    restic.check(read_data=True)
    ours.run("check", "--read-data")
    parents = [found.get("parent") for found in ours.snapshots()]
    assert parents == [None, *(snapshot for snapshot, _ in days[:-1])]
    for number, (snapshot, facts) in enumerate(days[-3:]):
        assert_same_tree(facts, _restored_by_us(ours, snapshot, root, tmp_path / f"ours-{number}"))
        assert_same_tree(facts, _restored_by_restic(restic, snapshot, root, tmp_path / f"restic-{number}"))


@pytest.mark.parametrize("version", [1, 2])
def test_restic_forgets_and_prunes_ours(tmp_path: Path, restic_binary: str, version: int) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root, version)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    restic.forget("--keep-last", "1", "--prune", "--group-by", "host")
    assert [found["id"] for found in ours.snapshots()] == [days[-1][0]]
    ours.run("check", codes=(1,))  # this machine knows snapshots that are gone
    ours.run("check", "--read-data", "--accept-missing")
    restic.check(read_data=True)
    assert_same_tree(days[-1][1], _restored_by_us(ours, "latest", root, tmp_path / "restored"))
    assert ours.backup(root.name, directory=root.parent)["data_added"] == 0


@pytest.mark.exhaustive
def test_restic_copies_ours(tmp_path: Path, restic_binary: str) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root)
    other = Kuramori(tmp_path / "copied", PASSWORD)
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")
    restic = Restic(restic_binary, other.repository, PASSWORD)
    restic.init()
    other.make_key_cheap()
    restic.run("copy", "--from-repo", ours.repository, "--from-password-file", password_file)
    other.run("check", "--read-data")
    copied = other.snapshots()
    assert [found["original"] for found in copied] == [snapshot for snapshot, _ in days]
    for number, (_, facts) in enumerate(days):
        restored = _restored_by_us(other, copied[number]["id"], root, tmp_path / f"restored-{number}")
        assert_same_tree(facts, restored)


def test_restic_rebuilds_our_index(tmp_path: Path, restic_binary: str, restic_old: str) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    before = sorted(restic.list("blobs"))
    shutil.rmtree(ours.repository / "index")
    (ours.repository / "index").mkdir()
    restic.run(*(["rebuild-index"] if restic_binary == restic_old else ["repair", "index"]))
    assert sorted(restic.list("blobs")) == before, "it knows all blobs again from the headers of our packs"
    ours.run("check", "--read-data")
    assert_same_tree(days[-1][1], _restored_by_us(ours, "latest", root, tmp_path / "restored"))


def test_restic_rewrites_and_repairs_ours(tmp_path: Path, restic_new: str) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root)
    restic = Restic(restic_new, ours.repository, PASSWORD)
    restic.run("rewrite", "--exclude", "image-3.raw", "--forget", "latest")
    restic.run("tag", "--add", "kept")
    restic.run("repair", "snapshots", "--forget")
    restic.prune()
    ours.run("check", "--read-data", "--accept-missing")
    found = ours.snapshots()
    assert len(found) == 3
    assert all("kept" in snapshot["tags"] for snapshot in found)
    expected = {name: facts for name, facts in days[-1][1].items() if name != b"image-3.raw"}
    assert_same_tree(expected, _restored_by_us(ours, found[-1]["id"], root, tmp_path / "restored"))


@pytest.mark.exhaustive
def test_restic_accepts_our_nasty_trees_for_rewriting(tmp_path: Path, restic_new: str, nasty_tree: Path) -> None:
    """It refuses to rewrite a tree that it would not have encoded to the very same bytes."""
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    restic = Restic(restic_new, ours.repository, PASSWORD)
    ours.init_quickly()
    ours.backup(nasty_tree.name, directory=nasty_tree.parent)
    restic.run("rewrite", "--exclude", "odd-names-as-folders", "--forget")
    restic.check(read_data=True)
    expected = {name: facts for name, facts in tree_facts(nasty_tree).items()
                if not name.startswith(b"odd-names-as-folders")}
    assert_same_tree(expected, _restored_by_us(ours, "latest", nasty_tree, tmp_path / "restored"))


@pytest.mark.exhaustive
def test_restic_upgrades_our_version_1(tmp_path: Path, restic_binary: str) -> None:
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root, version=1)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    restic.run("migrate", "upgrade_repo_v2")
    assert json.loads(ours.run("cat", "config"))["version"] == 2
    facts = _planter(root, 4)
    days.append((ours.backup(root.name, directory=root.parent)["snapshot_id"], facts))
    restic.prune("--repack-uncompressed")
    ours.run("check", "--read-data")
    restic.check(read_data=True)
    for number, (snapshot, facts) in enumerate(days):
        assert_same_tree(facts, _restored_by_us(ours, snapshot, root, tmp_path / f"restored-{number}"))


@pytest.mark.exhaustive
def test_what_restic_repairs_after_damage(tmp_path: Path, restic_new: str) -> None:
    """A damaged pack of ours: restic drops it, and the next backup of ours makes the repository whole."""
    root = tmp_path / "planter"
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    days = _three_days(ours, root)
    restic = Restic(restic_new, ours.repository, PASSWORD)
    packs = sorted((path for path in (ours.repository / "data").rglob("*") if path.is_file()),
                   key=lambda path: path.stat().st_size)
    damaged = packs[-1]
    damaged.chmod(0o600)
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    assert damaged.name[:8] in ours.run("check", "--read-data", codes=(1,)) + restic.check(codes=(1,)).stderr
    restic.run("repair", "packs", damaged.name, directory=tmp_path)
    ours.run("check", codes=(1,))
    assert ours.backup("--force", root.name, directory=root.parent)["data_added"] > 0
    restic.run("repair", "snapshots", "--forget")
    ours.run("check", "--read-data", "--accept-missing")
    assert_same_tree(days[-1][1], _restored_by_us(ours, "latest", root, tmp_path / "restored"))
