"""The same repository, mounted by kuramori and by the real restic."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.mounted import mounted, require_kernel
from samples.nasty_tree import make_nasty_tree
from samples.tree_facts import assert_same_tree, tree_facts

_PASSWORD = "mount"


def _menus(root: Path) -> dict[str, str]:
    """Return every name above the snapshots' contents: folders, and where links lead."""
    found = {}
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            found[f"{relative}/{name}"] = os.readlink(path) if stat.S_ISLNK(status.st_mode) else "folder"
        depth = 1 if relative.startswith(("ids", "snapshots")) else 2
        if relative.count("/") + 1 >= depth and relative != ".":
            folders.clear()
    return found


def test_both_show_the_same(tmp_path: Path, require_program: Callable[[str], str], restic_new: str) -> None:
    require_kernel(require_program)
    kuramori = Kuramori(tmp_path / "repository", _PASSWORD)
    kuramori.init_quickly()
    source = tmp_path / "source"
    make_nasty_tree(source, large_size=1_000_000)
    # Of devices restic shows no attributes, not even that there are none; times before 1970 it shows wrong;
    # and many small files take it long.
    for name in ("special", "times", "many"):
        shutil.rmtree(source / name)
    judge = Restic(restic_new, kuramori.repository, _PASSWORD)
    judge.backup(source, options=["--host", "planter", "--tag", "a/b", "--tag", "daily"])
    kuramori.backup(source, "--host", "desk", "--tag", "..", "--tag", ".")  # restic loses one ".." alone
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    environment = {**os.environ, "KURAMORI_REPOSITORY": str(kuramori.repository), "KURAMORI_PASSWORD": _PASSWORD,
                   "RESTIC_REPOSITORY": str(kuramori.repository), "RESTIC_PASSWORD": _PASSWORD}
    with mounted([sys.executable, "-m", "kuramori", "mount", ours], ours, environment, b"mounted at "), \
            mounted([restic_new, "--no-cache", "mount", theirs], theirs, environment, b"When finished"):
        _compare(ours, theirs, source)


def _compare(ours: Path, theirs: Path, source: Path) -> None:
    menus = _menus(ours)
    assert menus == _menus(theirs)
    assert "tags/a_b/latest" in menus
    assert "tags/__" in {name[: len("tags/__")] for name in menus}
    below = f"snapshots/latest/{str(source).lstrip('/')}"
    expected, found = tree_facts(theirs / below), tree_facts(ours / below)
    assert_same_tree(expected, found)
    for name in ("contents", "links", "modes"):
        assert _statuses(ours / below / name) == _statuses(theirs / below / name)


def _statuses(folder: Path) -> bytes:
    # Of folders not even restic's link count is that of the disk; ours say 1, which means "not counted".
    names = sorted(entry.name for entry in os.scandir(os.fsencode(folder)) if not entry.is_dir(follow_symlinks=False))
    return subprocess.run(["stat", "-c", "%A %h %s %u %g %t %T %Y %Z %n", "--", *names], cwd=folder,
                          capture_output=True, check=True).stdout
