"""What no snapshot leads to is found again, just what restic finds, and restores equal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kuramori.ids import parse_id
from kuramori.model.blob import BlobType
from kuramori.storage.backend import FileType
from kuramori.testing.restic_judge import Restic
from samples import repository_workshop
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, make_source
from samples.tree_facts import Facts, assert_same_tree, tree_facts


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[bytes, Facts]]]:
    """Three snapshots of a folder that changed in between, and what was in it, by the root tree."""
    folder = tmp_path_factory.mktemp("recover")
    make_source(folder / "source")
    repository_workshop.create(folder / "repository")
    ours = Kuramori(folder / "repository", PASSWORD)
    facts = {}
    for day in range(3):
        (folder / "source" / "daily").write_bytes(os.urandom(3000 + day))
        (folder / "source" / "deep" / f"new {day}").write_bytes(os.urandom(50))
        summary = ours.backup("source", directory=folder)
        facts[ours.tree_of(str(summary["snapshot_id"]))] = tree_facts(folder / "source")
    return folder / "repository", facts


def _copies(repository: Path, folder: Path, forgotten: int) -> None:
    shutil.copytree(repository, folder / "ours")
    for path in sorted((folder / "ours" / "snapshots").iterdir())[:forgotten]:
        path.unlink()
    shutil.copytree(folder / "ours", folder / "theirs")


def _roots(restic: Restic) -> dict[str, str]:
    """Return the folders of the recovered snapshot, each with its tree."""
    (snapshot,) = (each for each in restic.snapshots() if each.get("tags") == ["recovered"])
    assert snapshot["paths"] == ["/recover"]
    nodes = restic.cat("tree", snapshot["id"])["nodes"]
    assert {(each["type"], each["mode"]) for each in nodes} == {("dir", 0o755)}
    return {each["name"]: each["subtree"] for each in nodes}


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("forgotten", [1, 2, 3])
def test_all_that_was_forgotten_is_found_again(base: tuple[Path, dict[str, dict[bytes, Facts]]], tmp_path: Path,
                                               restic_old: str, restic_new: str, forgotten: int) -> None:
    repository, facts = base
    _copies(repository, tmp_path, forgotten)
    # restic 0.19.1 cannot recover several: it writes them in an order that it refuses itself.
    theirs = Restic(restic_old if forgotten > 1 else restic_new, tmp_path / "theirs", PASSWORD)
    judge = Restic(restic_new, tmp_path / "ours", PASSWORD)
    theirs.run("recover")
    ours = Kuramori(tmp_path / "ours", PASSWORD)
    said = ours.run("recover")
    found = _roots(judge)
    assert found == _roots(Restic(restic_new, tmp_path / "theirs", PASSWORD))
    assert len(found) == forgotten
    assert f"found {forgotten} folder" in said
    judge.check(read_data=True)
    judge.restore("latest", tmp_path / "restored", "--tag", "recovered")
    for name, root in found.items():
        assert_same_tree(facts[root], tree_facts(tmp_path / "restored" / name / "source"))
    assert "nothing to recover" in ours.run("recover")
    assert "found 0 unreferenced" in judge.run("recover").stdout


def test_nothing_was_forgotten(base: tuple[Path, dict[str, dict[bytes, Facts]]], tmp_path: Path,
                               restic_new: str) -> None:
    _copies(base[0], tmp_path, 0)
    before = {path for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    assert "nothing to recover" in Kuramori(tmp_path / "ours", PASSWORD).run("recover")
    assert {path for path in (tmp_path / "ours").rglob("*") if path.is_file()} == before


def test_packs_that_no_index_names_are_looked_into(base: tuple[Path, dict[str, dict[bytes, Facts]]], tmp_path: Path,
                                                   restic_old: str, restic_new: str) -> None:
    """All index files and all snapshots are gone: nothing but the packs is left."""
    repository, facts = base
    _copies(repository, tmp_path, 3)
    for name in ("theirs", "ours"):
        for path in (tmp_path / name / "index").iterdir():
            path.unlink()
    theirs = Restic(restic_new, tmp_path / "theirs", PASSWORD)
    theirs.run("repair", "index")
    Restic(restic_old, tmp_path / "theirs", PASSWORD).run("recover")
    Kuramori(tmp_path / "ours", PASSWORD).run("recover")
    judge = Restic(restic_new, tmp_path / "ours", PASSWORD)
    assert _roots(judge) == _roots(theirs)
    assert set(_roots(judge).values()) == set(facts)
    judge.check(read_data=True)


def test_a_tree_that_cannot_be_read_is_no_root(base: tuple[Path, dict[str, dict[bytes, Facts]]],
                                               tmp_path: Path) -> None:
    """What only it led to is found in its place."""
    repository, facts = base
    _copies(repository, tmp_path, 3)
    workshop = Workshop(tmp_path / "ours")
    lost = sorted(facts)[0]
    (blob,) = workshop.repository.index.lookup(BlobType.TREE, parse_id(lost))
    below = {each.subtree for each in workshop.repository.load_tree(blob.id).nodes}
    workshop.flip(FileType.PACK, blob.pack.hex(), blob.offset + 20)
    Kuramori(tmp_path / "ours", PASSWORD).run("recover", "-v")
    recovered = Workshop(tmp_path / "ours")
    root = recovered.repository.load_tree(parse_id(recovered.latest().tree))
    assert {each.subtree for each in root.nodes} == (set(facts) - {lost}) | below
