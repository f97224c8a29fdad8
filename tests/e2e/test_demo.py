"""``make demo`` as a new user sees it: in a fresh copy, in both languages, and a second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic

ROOT = Path(__file__).resolve().parents[2]


def _run(demo: Path, language: str) -> str:
    environment = {**os.environ, "LC_ALL": language, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, str(demo / "planter_demo.py")], env=environment, capture_output=True,
                          text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A copy without what earlier runs left."""
    return shutil.copytree(ROOT / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("output", "__pycache__"))


def test_it_proves_the_restore_byte_for_byte(demo: Path, restic_new: str, tmp_path: Path) -> None:
    """And restic finds what it left sound, with the two snapshots."""
    for language, words in (("C.UTF-8", "equal byte for byte"), ("C.UTF-8", "no errors were found"),
                            ("ja_JP.UTF-8", "バイト")):
        assert words in _run(demo, language)
    password = (demo / "output" / "password").read_text().strip()
    restic = Restic(restic_new, demo / "output" / "repository", password, home=tmp_path)
    restic.check()
    assert len(restic.snapshots()) == 2


def test_its_proof_can_fail(demo: Path) -> None:
    """A restored file with one other byte, a time or a mode that differs, a file too many: it is told."""
    _run(demo, "C.UTF-8")
    restored = demo / "output" / "restored-evening"
    image = next(path for path in sorted(restored.rglob("plant.png")) if path.is_file())
    content, status = image.read_bytes(), image.stat()
    script = ("import planter_demo as demo, sys; "
              "sys.exit(not demo._compare('evening', demo._PLANTER, demo._OUTPUT / 'restored-evening'))")
    compare = [sys.executable, "-c", script]

    def told() -> bool:
        done = subprocess.run(compare, cwd=demo, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode == 1

    def as_it_was() -> None:
        image.write_bytes(content)
        image.chmod(status.st_mode & 0o7777)
        os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert not told()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert told()
    as_it_was()
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert told()
    as_it_was()
    image.chmod(0o600 if status.st_mode & 0o077 else 0o644)
    assert told()
    as_it_was()
    assert not told()
    (restored / "images" / "stranger").touch()
    assert told()
