"""The nasty tree in every direction between kuramori and restic."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import Facts, assert_same_tree, tree_facts

PASSWORD = "蔵の鍵 pass\"word"
TreeChoice = Callable[[str], tuple[Path, dict[bytes, Facts]]]


def _below(target: Path, root: Path) -> Path:
    """Return where a restore of a whole snapshot has put ``root``."""
    return target / root.relative_to("/")


def _assert_same_below(expected: dict[bytes, Facts], target: Path) -> None:
    """Compare what is in a subfolder; the target itself is the user's, not the snapshot's."""
    found = tree_facts(target)
    assert_same_tree({**expected, b".": found[b"."]}, found)


@pytest.fixture(params=[1, 2], ids=["version1", "version2"])
def version(request: pytest.FixtureRequest) -> int:
    """Each version of the repository format."""
    return int(request.param)


@pytest.mark.exhaustive(except_each=3)
def test_restic_checks_and_restores_what_we_wrote(
        tmp_path: Path, restic_binary: str, tree_for: TreeChoice, version: int) -> None:
    root, expected = tree_for(restic_binary)
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.run("init", "--repository-version", str(version))
    ours.backup(root)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    restic.check(read_data=True)
    restic.restore("latest", tmp_path / "restored")
    assert_same_tree(expected, tree_facts(_below(tmp_path / "restored", root)))


@pytest.mark.exhaustive(except_each=3)
def test_we_check_and_restore_what_restic_wrote(
        tmp_path: Path, restic_binary: str, tree_for: TreeChoice, version: int) -> None:
    root, expected = tree_for(restic_binary)
    restic = Restic(restic_binary, tmp_path / "repository", PASSWORD)
    restic.init(version)
    restic.backup(root)
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.run("check", "--read-data")
    ours.run("restore", "latest", "--target", tmp_path / "restored", "--verify")
    assert_same_tree(expected, tree_facts(_below(tmp_path / "restored", root)))


@pytest.mark.exhaustive(except_each=3)
def test_we_restore_what_we_wrote(tmp_path: Path, nasty_tree: Path, version: int) -> None:
    expected = tree_facts(nasty_tree)
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.init_quickly(version)
    ours.backup(nasty_tree)
    ours.run("restore", f"latest:{nasty_tree}", "--target", tmp_path / "restored", "--sparse", "--verify")
    _assert_same_below(expected, tmp_path / "restored")


# Relative paths: the folders above belong to the machine, and others may change them meanwhile.

def test_after_our_backup_restic_finds_everything_unmodified(
        tmp_path: Path, restic_binary: str, tree_for: TreeChoice, version: int) -> None:
    root, expected = tree_for(restic_binary)
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.init_quickly(version)
    first = ours.backup(root.name, directory=root.parent)
    second = Restic(restic_binary, ours.repository, PASSWORD).backup(root.name, directory=root.parent)
    files = sum(1 for facts in expected.values() if facts.kind == 0o100000)
    assert (second["files_new"], second["files_changed"]) == (0, 0)
    assert second["files_unmodified"] >= files
    assert (second["dirs_new"], second["dirs_changed"]) == (0, 0)
    assert second["data_added"] == 0
    trees = {found["id"]: found["tree"] for found in ours.snapshots()}
    assert len(set(trees.values())) == 1
    assert first["snapshot_id"] in trees


@pytest.mark.exhaustive(except_each=3)
def test_after_restics_backup_we_find_everything_unmodified(
        tmp_path: Path, restic_binary: str, tree_for: TreeChoice, version: int) -> None:
    root, expected = tree_for(restic_binary)
    restic = Restic(restic_binary, tmp_path / "repository", PASSWORD)
    restic.init(version)
    restic.backup(root.name, directory=root.parent)
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    second = ours.backup(root.name, directory=root.parent)
    files = sum(1 for facts in expected.values() if facts.kind == 0o100000)
    assert (second["files_new"], second["files_changed"]) == (0, 0)
    assert second["files_unmodified"] >= files
    assert (second["dirs_new"], second["dirs_changed"]) == (0, 0)
    assert second["data_added"] == 0
    assert len({found["tree"] for found in ours.snapshots()}) == 1


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/St_Johns"])
def test_time_zones_change_nothing(tmp_path: Path, restic_new: str, old_nasty_tree: Path, zone: str) -> None:
    environment = {"TZ": zone}
    ours = Kuramori(tmp_path / "repository", PASSWORD, environment=environment)
    restic = Restic(restic_new, tmp_path / "repository", PASSWORD, environment=environment)
    ours.init_quickly()
    ours.backup(old_nasty_tree.name, directory=old_nasty_tree.parent)
    assert restic.backup(old_nasty_tree.name, directory=old_nasty_tree.parent)["data_added"] == 0
    trees = {found["tree"] for found in ours.snapshots()}
    assert len(trees) == 1
    ours.run("restore", f"latest:{old_nasty_tree.name}", "--target", tmp_path / "restored")
    _assert_same_below(tree_facts(old_nasty_tree), tmp_path / "restored")


def test_relative_paths_make_the_same_trees(tmp_path: Path, restic_new: str, old_nasty_tree: Path) -> None:
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    restic = Restic(restic_new, tmp_path / "repository", PASSWORD)
    ours.init_quickly()
    targets = (["."], ["links", "deep"], ["../old/times", "./many/1"], ["contents/like a tree"])
    for number, names in enumerate(targets, 1):
        ours.backup(*names, directory=old_nasty_tree)
        assert restic.backup(*names, directory=old_nasty_tree)["data_added"] == 0
        trees = {found["tree"] for found in ours.snapshots()}
        assert len(trees) == number


def test_logs_that_repeat_themselves(tmp_path: Path, restic_binary: str) -> None:
    chance = random.Random(3)
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / f"app.log.{number}").write_text("".join(
            f"2026-11-27 {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} planter: "
            f"valve {chance.randrange(8)} was opened, moisture {chance.random():.3f}\n" for second in range(40_000)))
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.init_quickly()
    ours.backup("data", directory=tmp_path)
    restic = Restic(restic_binary, ours.repository, PASSWORD)
    restic.check(read_data=True)
    assert restic.backup("data", directory=tmp_path)["data_added"] == 0
    restic.restore("latest", tmp_path / "restored")
    for path in (tmp_path / "data").iterdir():
        assert (tmp_path / "restored" / "data" / path.name).read_bytes() == path.read_bytes()
