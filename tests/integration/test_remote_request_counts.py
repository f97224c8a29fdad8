"""How many requests the commands cost that people run all day, beside restic's at the same server."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from samples.broken_runs import OLD
from samples.remote_links import Link, rest_link, s3_link
from samples.remote_scenes import empty_repository

_FOLDERS, _FILES, _SNAPSHOTS = 12, 10, 6
_STEPS: dict[str, tuple[str, ...]] = {
    "snapshots": ("snapshots",), "ls": ("ls", "latest"), "find": ("find", "3.txt"),
    "restore": ("restore", "latest", "--target", "{target}"), "unchanged backup": ("backup", "{source}"),
    "small backup": ("backup", "{source}"),
}
_MOST = {"snapshots": 7, "ls": 8, "find": 8, "restore": 13, "unchanged backup": 12, "small backup": 13}
"""Whatever the number of snapshots and folders is."""


class Program:
    """kuramori or restic with a repository and a warm cache of its own."""

    def __init__(self, command: Sequence[str], link: Link, folder: Path) -> None:
        folder.mkdir()
        self._command = command
        self._proxy = link.proxy
        self._target = folder / "restored"
        self._environment = {**os.environ, **link.variables, "RESTIC_PASSWORD": OLD.reveal(),
                             "RESTIC_REPOSITORY": link.location(link.plant(*empty_repository())),
                             "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"),
                             "KURAMORI_STATE_DIR": str(folder / "state")}

    def run(self, source: Path, *arguments: str) -> int:
        """Run a command and return how many requests it made."""
        self._proxy.forget_requests()
        words = [word.format(source=source, target=self._target) for word in arguments]
        done = subprocess.run([*self._command, *words], env=self._environment, capture_output=True, text=True,
                              timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return len(self._proxy.requests)


@pytest.fixture(params=["rest", "s3"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with ExitStack() as stack:
        if request.param == "rest":
            yield stack.enter_context(rest_link(request.getfixturevalue("rest_server")))
        else:
            yield stack.enter_context(s3_link(request.getfixturevalue("seaweed")))


def change(source: Path, number: int) -> None:
    """Change one file."""
    (source / "folder 0" / "0.txt").write_bytes(random.Random(number).randbytes(3000))


@pytest.mark.exhaustive(except_each=3)
def test_a_handful_of_requests(link: Link, tmp_path: Path, restic_new: str) -> None:
    source, chance = tmp_path / "source", random.Random(1)
    for folder in range(_FOLDERS):
        (source / f"folder {folder}").mkdir(parents=True)
        for file in range(_FILES):
            (source / f"folder {folder}" / f"{file}.txt").write_bytes(chance.randbytes(2000))
    ours = Program([sys.executable, "-m", "kuramori"], link, tmp_path / "ours")
    theirs = Program([restic_new], link, tmp_path / "theirs")
    for number in range(_SNAPSHOTS):
        change(source, number)
        for program in (ours, theirs):
            program.run(source, "backup", "{source}")
    counted = {}
    for step, arguments in _STEPS.items():
        if step == "small backup":
            change(source, _SNAPSHOTS)
        counted[step] = (ours.run(source, *arguments), theirs.run(source, *arguments))
    assert all(mine <= other for mine, other in counted.values()), counted
    assert all(counted[step][0] <= most for step, most in _MOST.items()), counted
    for arguments in (("check",), ("check", "--read-data")):
        mine, other = ours.run(source, *arguments), theirs.run(source, *arguments)
        assert mine <= other, (arguments, mine, other)
