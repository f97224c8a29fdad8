"""``restore --delete --dry-run`` names what would go and touches nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.progress import NoProgress
from kuramori.repository.repository import Repository
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from kuramori.restoring.selection import SelectionOptions
from samples.repositories import make_repository
from samples.tree_facts import assert_same_tree, tree_facts


class _Deleted(NoProgress):
    """Keeps the paths that were, or would be, deleted."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def item(self, action: str, path: str, size: int = 0) -> None:
        if action == "deleted":
            self.paths.append(path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one snapshot of a small folder."""
    source = tmp_path / "source"
    (source / "kept" / "inner").mkdir(parents=True)
    (source / "kept" / "file").write_text("saved")
    (source / "new").mkdir()
    made = make_repository(tmp_path)
    back_up(made, BackupOptions(paths=(os.fsencode(source),)))
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder with things that the snapshot does not know."""
    folder = tmp_path / "target"
    (folder / "kept" / "strange" / "deep").mkdir(parents=True)
    (folder / "kept" / "strange" / "deep" / "file").write_text("mine")
    (folder / "kept" / "file").write_text("older")
    (folder / "kept" / "link").symlink_to("strange")
    (folder / "new").symlink_to("kept")
    (folder / "other.txt").write_text("mine")
    return folder


def _delete(repository: Repository, source: Path, target: Path, *, dry_run: bool,
            selection: SelectionOptions = SelectionOptions()) -> list[str]:  # noqa: B008 - it is frozen
    progress = _Deleted()
    options = RestoreOptions(target=os.fsencode(target), delete=True, dry_run=dry_run, selection=selection)
    result = restore(repository, f"latest:{source}", options, progress)
    assert result.errors == []
    assert result.items_deleted == len(progress.paths)
    return sorted(progress.paths)


@pytest.mark.parametrize("selection", [SelectionOptions(), SelectionOptions(excludes=(b"*.txt",)),
                                       SelectionOptions(includes=(b"kept",))])
def test_a_dry_run_names_what_the_run_deletes(tmp_path: Path, repository: Repository, target: Path,
                                              selection: SelectionOptions) -> None:
    before = tree_facts(target)
    named = _delete(repository, tmp_path / "source", target, dry_run=True, selection=selection)
    assert_same_tree(before, tree_facts(target))
    assert _delete(repository, tmp_path / "source", target, dry_run=False, selection=selection) == named
    assert "/kept/strange/deep/file" in named


def test_nothing_would_be_deleted_where_nothing_is(tmp_path: Path, repository: Repository) -> None:
    assert _delete(repository, tmp_path / "source", tmp_path / "not there", dry_run=True) == []
    assert not (tmp_path / "not there").exists()
