"""``make demo`` as a new user sees it: in a fresh copy, in both languages, and a second time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
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


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy without what earlier runs left; what the tests leave in it is for the next."""
    return shutil.copytree(ROOT / "demo", tmp_path_factory.mktemp("clone") / "demo",
                           ignore=shutil.ignore_patterns("output", "__pycache__"))


@pytest.mark.exhaustive
def test_it_proves_the_restore_byte_for_byte(demo: Path, restic_new: str, tmp_path: Path) -> None:
    """And restic finds both places that it left sound, with two runs of four components and their records."""
    printed = _run(demo, "C.UTF-8")
    for words in ("equal byte for byte", "of one instant", "no errors were found", "All is well", "can be taken back",
                  "no rule keeps it", "1 snapshot would go"):
        assert words in printed
    assert "DIFFER" not in printed
    assert "一バイト" in _run(demo, "ja_JP.UTF-8")
    for place, name in (("usb-disk", "usb"), ("garden-shed", "shed")):
        password = (demo / "output" / f"password-{name}").read_text().strip()
        restic = Restic(restic_new, demo / "output" / place / "backup", password, home=tmp_path)
        restic.check()
        assert len(restic.snapshots()) == 10


def test_its_proof_can_fail(demo: Path) -> None:
    """A restored file with one other byte, a time or a mode that differs, a file too many, a row too few in
    the database: it is told."""
    if not (demo / "output").exists():
        _run(demo, "C.UTF-8")
    restored = demo / "output" / "restored-evening"
    image = next(path for path in sorted(restored.rglob("plant.png")) if path.is_file())
    content, status = image.read_bytes(), image.stat()

    def told(proof: str = "demo._compare('evening', demo._OUTPUT / 'kept-evening', demo._OUTPUT / 'restored-evening')"
             ) -> bool:
        script = f"import planter_demo as demo, sys; sys.exit(not {proof})"
        done = subprocess.run([sys.executable, "-c", script], cwd=demo, capture_output=True, text=True, check=False)
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
    instant = "demo._prove_instant('evening', demo._OUTPUT / 'restored-evening' / 'database' / 'smart_planter.db')"
    assert not told(instant)
    with closing(sqlite3.connect(restored / "database" / "smart_planter.db")) as database, database:
        database.execute("DELETE FROM readings WHERE id = 7")
    assert told(instant)
