"""The real program, killed by the kernel while it forgets, rewrites, repairs, copies or migrates: restic finds the
repository sound, kept snapshots restore equal, and the next run of the same command ends by itself."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.test_killed_processes import CALLS
from kuramori.testing.contents import folder_contents
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.thoroughness import some

PASSWORD = "a password"
_COMMANDS: dict[str, tuple[str, ...]] = {
    "forget": ("forget", "--keep-last", "1", "--prune", "--max-unused", "0"),
    "rewrite": ("rewrite", "--forget", "--exclude", "*.tmp"),
    "tag": ("tag", "--add", "kept"),
    "repair index": ("repair", "index"),
    "copy": ("copy",),
    "migrate": ("migrate", "upgrade_repo_v2"),
}
_MOMENTS = [("rename", 2), ("unlink", 2), ("fsync", 3), ("rename", 1), ("unlink", 1), ("rename", 3), ("unlink", 3)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of version 1 with three snapshots of a folder that changed, and an empty second one."""
    folder = tmp_path_factory.mktemp("killed-maintenance")
    ours, chance = Kuramori(folder / "repository", PASSWORD), random.Random(1)
    ours.init_quickly(1)
    Kuramori(folder / "second", PASSWORD).init_quickly()
    source = folder / "source"
    source.mkdir()
    for day in range(3):
        (source / f"{day}.jpg").write_bytes(chance.randbytes(50_000))
        (source / f"{day}.tmp").write_bytes(chance.randbytes(5_000))
        (source / "log").write_text("all is well\n" * 300 * (day + 1))
        ours.backup("source", directory=folder)
    return folder


def _prepare(folder: Path, kind: str) -> Kuramori:
    """Return the command for the repository that ``kind`` changes, ready for it."""
    if kind == "repair index":
        for path in (folder / "repository" / "index").iterdir():
            path.unlink()
    environment = {"KURAMORI_FROM_REPOSITORY": str(folder / "repository"), "KURAMORI_FROM_PASSWORD": PASSWORD}
    return Kuramori(folder / ("second" if kind == "copy" else "repository"), PASSWORD, environment=environment)


@pytest.mark.parametrize("kind", _COMMANDS)
def test_a_command_that_is_killed_at_a_system_call(
        template: Path, tmp_path: Path, kind: str, restic_binary: str, require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    killed = 0
    moments = some(_MOMENTS, 4)
    for call, number in moments:
        folder = tmp_path / f"{call} {number}"
        shutil.copytree(template, folder)
        command = _prepare(folder, kind)
        judge = Restic(restic_binary, command.repository, PASSWORD)
        process = command.start(*_COMMANDS[kind], under=(
            strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS[call]}",
            "-e", f"inject={CALLS[call]}:signal=SIGKILL:when={number}"), cwd=folder, stdout=-1, stderr=-1)
        process.communicate(timeout=120)
        killed += process.returncode != 0
        if kind != "repair index":
            judge.run("check", "--read-data", "--no-lock")
        command.run(*_COMMANDS[kind], directory=folder)
        # A lock that was half-written has another name; the next backup sweeps it away.
        assert not [path for path in (command.repository / "locks").iterdir() if len(path.name) == 64]
        judge.check(read_data=True)
        judge.restore("latest", tmp_path / "restored")
        expected = folder_contents(template / "source")
        if kind == "rewrite":
            expected = {path: content for path, content in expected.items() if not path.endswith(b".tmp")}
        assert folder_contents(tmp_path / "restored" / "source") == expected
        shutil.rmtree(tmp_path / "restored")
    assert killed, f"none of {moments} was reached"
