"""A disk that really comes and goes: mounted, not mounted, and another one in its place. Nothing is ever written to the
empty mount point, nor to the other disk, whichever command is tried."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from samples.planter import JOB

_STORY = r"""
set -u
cd "$1"
k() { "$PYTHON" -m kuramori --settings kuramori.toml "$@"; }
say() { echo "== $1: $2"; }
mount --bind first mnt || exit 77
k init > init.log 2>&1; say init $?
k backup planter > backup.log 2>&1; say backup $?
umount mnt
try() { kind=$1; k "${@:2}" > "$kind.log" 2>&1; say "$kind" $?; }
try "empty backup" backup planter
try "empty init" init
try "empty cleanup" cleanup --accept-missing
try "empty copy" -r usb copy --from-repo second/backup --from-password-file password
find mnt -mindepth 1 | sed 's/^/STRAY /'
mount --bind second mnt
try "another backup" backup planter
try "another init" init
try "another prune" -r usb prune
umount mnt
find mnt -mindepth 1 | sed 's/^/STRAY /'
mount --bind first mnt
k backup planter > again.log 2>&1; say again $?
k backup torn > torn.log 2>&1; say torn $?
find mnt -mindepth 1 | sed 's/^/STRAY /'
mount --bind first mnt
echo 1000 > quiet
k backup torn > mended.log 2>&1; say mended $?
k -r usb check > check.log 2>&1; say check $?
umount mnt
"""


def test_an_empty_mount_point_and_another_disk_are_never_written_to(
        tmp_path: Path, skip_or_fail: Callable[[str], NoReturn]) -> None:
    for name in ("images", "first", "second", "mnt"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "leaf.txt").write_text("green\n" * 100)
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "kuramori.toml").write_text(f"""
state_directory = "state"
[repositories.usb]
location = "mnt/backup"
password_file = "password"
[jobs.{JOB}]
repositories = ["usb"]
[jobs.{JOB}.components.images]
kind = "files"
source = "images"
retention_days = 1
[jobs.torn]
repositories = ["usb"]
[jobs.torn.components.stream]
kind = "command"
command = ["sh", "-c", "cat leaves; test -e quiet || umount -l mnt; cat leaves"]
""")
    (tmp_path / "leaves").write_bytes(random.Random(7).randbytes(20_000_000))
    (tmp_path / "kuramori.toml").chmod(0o600)
    # Another disk: with a repository at the same path on it.
    environment = {**os.environ, "PYTHON": sys.executable, "KURAMORI_LANGUAGE": "en"}
    subprocess.run([sys.executable, "-m", "kuramori", "-r", str(tmp_path / "second" / "backup"), "--password-file",
                    str(tmp_path / "password"), "init"], check=True, capture_output=True, env=environment)
    before = _content(tmp_path / "second")
    if shutil.which("unshare") is None:
        skip_or_fail("there is no unshare, and without it nothing can be mounted")
    done = subprocess.run(["unshare", "--map-root-user", "--mount", "bash", "-c", _STORY, "bash", str(tmp_path)],
                          capture_output=True, text=True, timeout=300, check=False, env=environment)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    said = dict(line.removeprefix("== ").split(": ") for line in done.stdout.splitlines() if line.startswith("== "))
    assert "STRAY" not in done.stdout
    assert [said[name] for name in ("init", "backup", "again", "mended", "check")] == ["0"] * 5
    assert said["torn"] != "0", "unplugged in the middle of a run"
    assert "is its disk mounted?" in (tmp_path / "torn.log").read_text()
    refused = {name: code for name, code in said.items() if name.startswith(("empty", "another"))}
    assert len(refused) == 7
    assert "0" not in refused.values(), refused
    for name in refused:
        log = (tmp_path / f"{name}.log").read_text()
        assert ("was there before" if name.startswith("empty") else "lies another repository") in log, log
    assert _content(tmp_path / "second") == before
    assert len(list((tmp_path / "first" / "backup" / "snapshots").iterdir())) == 6, "three runs, each with its record"


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
            for path in sorted(folder.rglob("*"))}
