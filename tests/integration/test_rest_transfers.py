"""The command line over a REST server: several files at once, limits, an interruption, and two accounts in a copy."""

from __future__ import annotations

import os
import secrets
import signal
import time
from pathlib import Path

import pytest

from kuramori.clock import SystemClock
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage.reaching import reach_store
from samples.kuramori_command import Kuramori
from samples.rclone_server import PASSWORD as SERVER_PASSWORD
from samples.rclone_server import USER, RcloneServer
from samples.repositories import QUICK
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "pass word"
_SECONDS = 60


_LOGIN = {"RESTIC_REST_USERNAME": USER, "KURAMORI_REST_PASSWORD": SERVER_PASSWORD}


@pytest.fixture
def place(rest_server: RcloneServer) -> str:
    """The name of a repository on the server, with a key that costs next to nothing."""
    name = secrets.token_hex(8)
    store = reach_store(f"rest:{rest_server.url(name)}", clock=SystemClock())
    create_repository(store, Secret(PASSWORD), CreateOptions(kdf=QUICK))
    store.close()
    return name


@pytest.fixture
def location(rest_server: RcloneServer, place: str) -> str:
    """Where it is, without the login."""
    return f"rest:{rest_server.url(place, login='')}"


@pytest.fixture
def ours(location: str) -> Kuramori:
    """The command, with the login of the server in variables."""
    return Kuramori(location, PASSWORD, environment=_LOGIN)  # type: ignore[arg-type]


def _planter(folder: Path) -> Path:
    root = folder / "planter"
    for number in range(700):
        path = root / f"logs{number % 10}" / f"log{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"all is well at {number}\n" * (number % 40))
    (root / "images").mkdir()
    for number in range(12):
        (root / "images" / f"{number}.jpg").write_bytes(os.urandom(2_000_000))
    return root


def test_all_that_works_here_works_there(tmp_path: Path, ours: Kuramori) -> None:
    root = _planter(tmp_path)
    first = ours.backup("--connections", "3", "--pack-size", "4", root)
    assert first["files_new"] == 712
    for path in (root / "images").glob("?.jpg"):
        path.unlink()
    ours.backup("-o", "rest.connections=4", root)
    ours.run("check", "--read-data")
    ours.run("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    ours.run("check", "--read-data")
    ours.run("restore", "latest", "--target", tmp_path / "restored")
    assert_same_tree(tree_facts(root), tree_facts(tmp_path / "restored" / root.relative_to("/")))


@pytest.mark.exhaustive
def test_an_interrupted_backup_over_a_slow_link_ends_soon_and_goes_on_later(
        tmp_path: Path, ours: Kuramori, rest_server: RcloneServer, place: str) -> None:
    root = _planter(tmp_path)
    running = ours.start("backup", "--limit-upload", "2000", "--pack-size", "4", root)
    packs = rest_server.files / place / "data"
    deadline = time.monotonic() + _SECONDS
    while len([path for path in packs.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20]) < 2:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _out, said = running.communicate(timeout=_SECONDS)
    assert running.returncode == 130, said
    assert ours.snapshots() == []
    assert ours.run("list", "locks").split() == []
    kept = set(ours.run("list", "packs").split())
    assert kept
    ours.backup("--pack-size", "4", root)
    assert kept <= set(ours.run("list", "packs").split())
    ours.run("check", "--read-data")


def test_the_source_of_a_copy_has_a_login_of_its_own(tmp_path: Path, ours: Kuramori, location: str) -> None:
    root = _planter(tmp_path)
    ours.backup(root)
    others = {"RESTIC_REST_USERNAME": "nobody", "RESTIC_REST_PASSWORD": "wrong", "RESTIC_FROM_PASSWORD": PASSWORD}
    target = Kuramori(tmp_path / "here", PASSWORD, environment=others)
    target.init_quickly()
    target.run("copy", "--from-repo", location, codes=(1,))
    assert target.snapshots() == []
    own = Kuramori(tmp_path / "here", PASSWORD, environment=others | {
        "KURAMORI_FROM_REST_USERNAME": USER, "RESTIC_FROM_REST_PASSWORD": SERVER_PASSWORD})
    own.run("copy", "--from-repo", location, "--connections", "3")
    own.run("check", "--read-data")
    assert len(own.snapshots()) == 1
