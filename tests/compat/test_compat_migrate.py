"""Version 1 becomes version 2, by either program, and the other goes on with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "one to two"


def _house(tmp_path: Path) -> Path:
    root = tmp_path / "planter"
    root.mkdir()
    (root / "log").write_text("all is well\n" * 20_000)
    (root / "image").write_bytes(os.urandom(50_000))
    return root


def test_restic_goes_on_after_our_migration(tmp_path: Path, restic_binary: str) -> None:
    root = _house(tmp_path)
    ours, restic = Kuramori(tmp_path / "repository", PASSWORD), Restic(restic_binary, tmp_path / "repository", PASSWORD)
    restic.init(1)
    ours.make_key_cheap()
    restic.backup(root.name, directory=tmp_path)
    assert "upgrade_repo_v2" in ours.run("migrate")
    ours.run("migrate", "upgrade_repo_v2")
    assert restic.cat("config")["version"] == 2
    assert "nothing" in ours.run("migrate")
    assert "nothing to do" in ours.run("migrate", "upgrade_repo_v2")
    assert "upgrade_repo_v2" not in restic.run("migrate").stdout
    restic.check(read_data=True)
    restic.prune("--repack-uncompressed")
    restic.backup(root.name, directory=tmp_path)
    restic.check(read_data=True)
    ours.run("check", "--read-data")
    restic.restore("latest", tmp_path / "restored")
    assert_same_tree(tree_facts(root), tree_facts(tmp_path / "restored" / root.name))


def test_both_say_the_same_of_what_can_be_done(tmp_path: Path, restic_binary: str) -> None:
    ours, restic = Kuramori(tmp_path / "repository", PASSWORD), Restic(restic_binary, tmp_path / "repository", PASSWORD)
    ours.init_quickly(1)
    before = restic.cat("config")
    assert "upgrade_repo_v2" in restic.run("migrate").stdout
    assert [each["name"] for each in json.loads(ours.run("migrate", "--json"))] == ["upgrade_repo_v2"]
    restic.run("migrate", "upgrade_repo_v2")
    assert json.loads(ours.run("migrate", "--json")) == []
    assert json.loads(ours.run("cat", "config")) == before | {"version": 2}
    ours.run("migrate", "unknown", codes=(1,))
