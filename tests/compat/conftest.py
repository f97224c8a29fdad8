"""What the tests with the real restic share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from samples.nasty_tree import add_socket, make_nasty_tree, supports_attributes
from samples.tree_facts import Facts, tree_facts


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """Some files, one of which needs several chunks."""
    root = tmp_path / "tree"
    (root / "folder" / "below").mkdir(parents=True)
    (root / "folder" / "large").write_bytes(secrets.token_bytes(3 << 20))
    (root / "folder" / "below" / "small").write_text("small")
    (root / "link").symlink_to("folder/large")
    return root


@pytest.fixture(scope="session")
def _checked_base(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str],
                  skip_or_fail: Callable[[str], NoReturn]) -> Path:
    require_program("setfacl")
    base = tmp_path_factory.mktemp("nasty")
    if not supports_attributes(base):
        skip_or_fail("the file system of the temporary folder keeps no extended attributes")
    return base


@pytest.fixture(scope="session")
def nasty_tree(_checked_base: Path) -> Path:
    """Everything that is hard to back up, with a file of 64 MiB."""
    root = _checked_base / "tree"
    make_nasty_tree(root)
    add_socket(root)
    return root


@pytest.fixture(scope="session")
def old_nasty_tree(_checked_base: Path) -> Path:
    """The same without what restic 0.14 cannot represent, and smaller."""
    root = _checked_base / "old"
    make_nasty_tree(root, modern=False, large_size=12 * 1024 * 1024)
    add_socket(root)
    return root


@pytest.fixture
def tree_for(request: pytest.FixtureRequest) -> Callable[[str], tuple[Path, dict[bytes, Facts]]]:
    """Return the hardest tree that a restic of a version can represent, and its facts now."""

    def choose(restic_binary: str) -> tuple[Path, dict[bytes, Facts]]:
        old = restic_binary == request.getfixturevalue("restic_old")
        root: Path = request.getfixturevalue("old_nasty_tree" if old else "nasty_tree")
        return root, tree_facts(root)

    return choose
