"""The kernel answers the real program's system calls with errors. A backup then says so and fails,
and what it leaves is sound: nothing that is not known to be on the disk is counted as stored."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.testing.contents import folder_contents
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori

PASSWORD = "a password"


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("calls", "error", "said"), [
    ("fsync", "EIO", "Input/output error"), ("writev", "EIO", "Input/output error"),
    ("writev", "ENOSPC", "no space is left"), ("?rename,?renameat,?renameat2", "EROFS", "not allowed"),
])
def test_a_backup_whose_system_call_fails(tmp_path: Path, require_program: Callable[[str], str], calls: str,
                                          error: str, said: str) -> None:
    strace = require_program("strace")
    restic = Restic(require_program("restic"), tmp_path / "repository", PASSWORD)
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "image").write_bytes(os.urandom(1_000_000))
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("RESTIC_", "KURAMORI_", "LANG", "LC_"))}
    environment |= {"RESTIC_REPOSITORY": restic.repository, "RESTIC_PASSWORD": PASSWORD,
                    "XDG_CACHE_HOME": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8",
                    "KURAMORI_STATE_DIR": str(tmp_path / "state")}
    program = [sys.executable, "-m", "kuramori"]
    Kuramori(tmp_path / "repository", PASSWORD).init_quickly()
    failed = 0
    for number in (1, 2, 3, 5):
        (source / "folder" / "note").write_bytes(os.urandom(20))
        injected = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
                    "-e", f"inject={calls}:error={error}:when={number}"]
        done = subprocess.run([*injected, *program, "backup", source], env=environment, check=False,
                              capture_output=True, text=True, timeout=120)
        restic.run("check", "--read-data", "--no-lock")
        if done.returncode == 0:
            break
        failed += 1
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run([*program, "backup", source], env=environment, check=True, capture_output=True,
                       timeout=120)
        restic.check()
        target = tmp_path / f"restored {number}"
        restic.restore("latest", target)
        assert folder_contents(target / source.relative_to("/")) == folder_contents(source)
    assert failed >= 2
