"""Tags beside restic: of the same history both make the same snapshots, and say the same of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD
from samples.snapshot_histories import make_history

CHANGES: list[tuple[str, ...]] = [
    ("--add", "new"), ("--add", "nightly"), ("--add", "new, other ,nightly", "--add", "x"), ("--remove", "keep"),
    ("--remove", "nightly,keep"), ("--remove", "none"), ("--add", "a", "--remove", "nightly"),
    ("--add", "b,c,d", "--remove", "c,keep"), ("--set", "one"), ("--set", "one,,two", "--set", " three"),
    ("--add", "new", "--host", "planter"), ("--add", "new", "-H", "planter", "-H", "shed", "--tag", "keep"),
    ("--set", "plain", "--tag", ""), ("--remove", "keep", "--path", "/etc"), ("--add", "new", "--host", "nobody"),
    ("--add", ""), ("--add", "new", "latest"), ("--add", "new", "latest", "--host", "shed"), ("--add", "n", "nosuch"),
    ("--add", "new", "ID0", "ID1", "nosuch", "ID0"), ("--set", "é \"<&>", "ID2"),
    ("--add", "new", "ID3", "--tag", "no"),
]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that must be copied before it is changed."""
    folder = tmp_path_factory.mktemp("history") / "repository"
    make_history(folder, 5, count=25)
    return folder


def _first_ids(snapshots: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return snapshots by the ids they had first; what names them is left out."""
    return {found.get("original", found["id"]):
            {name: value for name, value in found.items() if name not in ("id", "short_id")} for found in snapshots}


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_the_same_snapshots_come_of_it(tmp_path: Path, restic_new: str, history: Path, change: tuple[str, ...]) -> None:
    for name in ("theirs", "ours"):
        shutil.copytree(history, tmp_path / name)
    restic, judge = (Restic(restic_new, tmp_path / name, PASSWORD) for name in ("theirs", "ours"))
    ours = Kuramori(tmp_path / "ours", PASSWORD)
    names = sorted(restic.list("snapshots"))
    arguments = [names[int(word[2:])][:16] if word.startswith("ID") else word for word in change]
    theirs = restic.run("tag", "--json", *arguments).json_lines()
    said = [json.loads(line) for line in ours.run("tag", "--json", *arguments).splitlines()]
    assert said[-1] == theirs[-1]
    assert [list(line) for line in said] == [list(line) for line in theirs]
    assert sorted(line["old_snapshot_id"] for line in said[:-1]) == sorted(
        line["old_snapshot_id"] for line in theirs[:-1])
    found = judge.snapshots()
    assert _first_ids(found) == _first_ids(restic.snapshots())
    assert {line["new_snapshot_id"] for line in said[:-1]} == {each["id"] for each in found if "original" in each}
    assert not judge.list("locks")


def test_the_first_id_is_kept_over_many_changes(tmp_path: Path, restic_old: str, restic_new: str,
                                                history: Path) -> None:
    shutil.copytree(history, tmp_path / "repository")
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    judge = Restic(restic_new, tmp_path / "repository", PASSWORD)
    first = set(judge.list("snapshots"))
    ours.run("tag", "--add", "one")
    judge.run("tag", "--add", "two")
    ours.run("tag", "--set", "three", "--host", "shed")
    judge.run("tag", "--add", "four", "latest")
    ours.run("tag", "--set", "three", "--host", "shed")
    assert {found["original"] for found in judge.snapshots()} == first
    assert not first & set(judge.list("snapshots"))
    for binary in (restic_old, restic_new):
        Restic(binary, tmp_path / "repository", PASSWORD).check()


def test_an_empty_set_takes_all_tags_away(tmp_path: Path, restic_new: str, history: Path) -> None:
    """Which is what restic's sources say and its program does not do."""
    shutil.copytree(history, tmp_path / "repository")
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    before = ours.snapshots()
    ours.run("tag", "--set", "")
    after = Restic(restic_new, tmp_path / "repository", PASSWORD).snapshots()
    assert len(after) == len(before)
    assert not any("tags" in found for found in after)
    assert sum("original" in found for found in after) == sum("tags" in found for found in before)


@pytest.mark.parametrize("options", [(), ("--set", "a", "--add", "b"), ("--set", "a", "--remove", "b"),
                                     ("--set", "", "--add", "b")], ids=" ".join)
def test_what_restic_refuses_we_refuse(restic_new: str, history: Path, options: tuple[str, ...]) -> None:
    Restic(restic_new, history, PASSWORD).run("tag", *options, codes=(1,))
    Kuramori(history, PASSWORD).run("tag", *options, codes=(1,))
