"""A server, rclone or we ourselves are killed in the middle of a backup that goes over a slow link. Then again: what
was there is sound, and the next run succeeds by itself."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.process_watching import children_of
from samples.rclone_server import RcloneServer
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "pass word"
_SLOWLY = ("--limit-upload", "2500", "--pack-size", "4")


@pytest.fixture
def large_tree(tmp_path: Path) -> Path:
    """More than two packs of content."""
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(10):
        (root / str(number)).write_bytes(secrets.token_bytes(1_100_000))
    return root


class _Place:
    """Where the repository is for both programs, and the folder that holds it in truth."""

    def __init__(self, folder: Path, location: str, program: str) -> None:
        self.folder = folder
        self.ours = Kuramori(location, PASSWORD, environment={
            "PATH": f"{Path(program).parent}:{os.environ['PATH']}", "RCLONE_CONFIG": "/nonexistent/rclone.conf"})

    def back_up_until_it_is_in_the_middle(self, tree: Path) -> subprocess.Popen[bytes]:
        """Start a backup and return when a pack is there, or a part of one."""
        self.ours.run("init")
        process = self.ours.start("backup", *_SLOWLY, tree, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _wait_until(lambda: any((self.folder / "data").glob("*/*")))
        assert process.poll() is None
        return process

    def judge(self, restic: str, tree: Path, restored: Path) -> None:
        """The next run succeeds by itself, and everything is there in the eyes of restic."""
        self.ours.backup(tree)
        self.ours.run("prune")
        judge = Restic(restic, self.folder, PASSWORD)
        judge.check(read_data=True)
        judge.restore("latest", restored)
        assert_same_tree(tree_facts(tree), tree_facts(restored / tree.relative_to("/")))


def _wait_until(so: Callable[[], bool]) -> None:
    for _ in range(1200):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come")


@pytest.fixture
def server(request: pytest.FixtureRequest, rclone: str) -> Iterator[RcloneServer]:
    """One that may be killed."""
    server = RcloneServer(rclone, request.param)
    yield server
    server.remove()


def _on(server: RcloneServer, rclone: str) -> _Place:
    scheme = "webdav" if "webdav" in server.folder.name else "rest"
    return _Place(server.files / "here", f"{scheme}:{server.url('here')}", rclone)


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("server", ["restic", "webdav"], indirect=True)
def test_the_server_is_killed(tmp_path: Path, server: RcloneServer, rclone: str, restic_new: str,
                              large_tree: Path) -> None:
    place = _on(server, rclone)
    process = place.back_up_until_it_is_in_the_middle(large_tree)
    server.kill()
    server.begin()
    _stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    place.judge(restic_new, large_tree, tmp_path / "restored")


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("server", ["restic", "webdav"], indirect=True)
def test_we_are_killed_before_a_server(tmp_path: Path, server: RcloneServer, rclone: str, restic_new: str,
                                       large_tree: Path) -> None:
    place = _on(server, rclone)
    process = place.back_up_until_it_is_in_the_middle(large_tree)
    process.kill()
    process.communicate()
    place.judge(restic_new, large_tree, tmp_path / "restored")


@pytest.fixture
def through_rclone(tmp_path: Path, rclone: str) -> _Place:
    return _Place(tmp_path / "repository", f"rclone:{tmp_path}/repository", rclone)


def _rclone_of(process: subprocess.Popen[bytes]) -> int:
    (found,) = [child for child in children_of(process.pid)
                if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"rclone\0serve\0")]
    return found


@pytest.mark.exhaustive
def test_rclone_ends_when_we_are_killed(tmp_path: Path, through_rclone: _Place, restic_new: str,
                                        large_tree: Path) -> None:
    process = through_rclone.back_up_until_it_is_in_the_middle(large_tree)
    child = _rclone_of(process)
    process.kill()
    process.communicate()
    _wait_until(lambda: not Path(f"/proc/{child}").exists())
    through_rclone.judge(restic_new, large_tree, tmp_path / "restored")


@pytest.mark.exhaustive
def test_rclone_is_killed_and_started_again(tmp_path: Path, through_rclone: _Place, restic_new: str,
                                            large_tree: Path) -> None:
    process = through_rclone.back_up_until_it_is_in_the_middle(large_tree)
    os.kill(_rclone_of(process), signal.SIGKILL)
    _stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert b"rclone" in stderr  # it was said that something was tried again
    through_rclone.judge(restic_new, large_tree, tmp_path / "restored")
