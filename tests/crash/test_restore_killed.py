"""A restore in place, and its undoing, killed at system calls: at every instant the old or the new is
there, nothing of the old is lost, and undoing brings it back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kuramori.testing.contents import folder_contents
from samples.planter import HOST, JOB, Planter, make_planter
from samples.repositories import PASSWORD
from samples.thoroughness import some

CALLS = {"rename": "?rename,?renameat", "exchange": "?renameat2", "fsync": "fsync,?syncfs",
         "unlink": "?unlink,?unlinkat", "mkdir": "?mkdir,?mkdirat"}
"""Each kind counts for itself: the renames are those of state files and locks, the exchanges those of a swap."""
_MOST = 40


@dataclass
class House:
    """A planter whose restore is run by the command, in a process that may be killed."""

    planter: Planter
    settings: Path
    strace: str

    def run(self, *arguments: str, killed_at: tuple[str, int] | None = None, fault: str = "signal=SIGKILL",
            codes: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run the command; killed before the n-th call of a kind, or the call fails."""
        command = [sys.executable, "-m", "kuramori", "--settings", str(self.settings), *arguments]
        if killed_at is not None:
            calls = CALLS[killed_at[0]]
            command = [self.strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
                       "-e", f"inject={calls}:{fault}:when={killed_at[1]}", *command]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert not codes or done.returncode in codes, done.stderr
        return done

    @property
    def images(self) -> dict[bytes, object]:
        """What is in the folder now."""
        return dict(folder_contents(self.planter.folder / "images"))

    @property
    def rows(self) -> int:
        """How many rows the database has now."""
        with sqlite3.connect(self.planter.folder / "planter.db") as connection:
            count = connection.execute("SELECT count(*) FROM reading").fetchone()[0]
        connection.close()
        return int(count)

    @property
    def journals(self) -> list[str]:
        """The restores that can be undone."""
        folder = self.planter.folder / "state" / "restores"
        return sorted(path.stem for path in folder.glob("*.json")) if folder.exists() else []

    def clear(self) -> None:
        """Drop what earlier restores kept."""
        for restore_id in self.journals:
            self.run("restore", "--drop-kept", restore_id)
        for path in [*self.planter.folder.glob("*.undone-*"), *self.planter.folder.glob("*.before-*")]:
            subprocess.run(["rm", "-rf", str(path)], check=True)


def _apart(call: str) -> int:
    """Return how far apart the kills are on every day: of some calls there are but two or three."""
    return 2 if call in ("fsync", "unlink") else 1


@pytest.fixture
def house(tmp_path: Path, require_program: Callable[[str], str]) -> House:
    planter = make_planter(tmp_path, repositories=("usb",))
    connection = sqlite3.connect(tmp_path / "planter.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE reading (value TEXT)")
    connection.executemany("INSERT INTO reading VALUES (?)", [("x",)] * 100)
    connection.close()
    password = tmp_path / "password"
    password.write_text(PASSWORD.reveal())
    password.chmod(0o600)
    settings = tmp_path / "kuramori.toml"
    settings.write_text(f"""
        state_directory = "{tmp_path}/state"
        [repositories.usb]
        location = "{planter.repository()}"
        password_file = "{password}"
        [jobs.{JOB}]
        repositories = ["usb"]
        hostname = "{HOST}"
        [jobs.{JOB}.components.images]
        kind = "files"
        source = "{tmp_path}/images"
        [jobs.{JOB}.components.database]
        kind = "sqlite"
        source = "{tmp_path}/planter.db"
    """)
    house = House(planter, settings, require_program("strace"))
    house.run("backup")
    return house


def _spoil(house: House) -> None:
    images = house.planter.folder / "images"
    (images / "0.txt").write_text("spoilt")
    (images / "1.txt").unlink(missing_ok=True)
    (images / "new.txt").write_text("new")
    with sqlite3.connect(house.planter.folder / "planter.db") as connection:
        connection.execute("DELETE FROM reading WHERE rowid > 3")
    connection.close()


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("call", "step"), [("rename", 1), ("exchange", 1), ("fsync", 3), ("unlink", 2),
                                            ("mkdir", 2)])
def test_a_restore_that_is_killed_leaves_the_old_or_the_new_and_a_way_back(house: House, call: str,
                                                                           step: int) -> None:
    good = house.images
    _spoil(house)
    spoilt = house.images
    killed = 0
    for number in some(range(1, _MOST, step), _apart(call)):
        done = house.run("restore", "latest", killed_at=(call, number), codes=())
        assert house.images in (good, spoilt)
        assert house.rows in (3, 100)
        if house.journals:
            house.run("restore", "--undo")
        assert house.images == spoilt, f"{call} {number}"
        assert house.rows == 3, f"{call} {number}"
        assert house.journals == []
        house.clear()
        if done.returncode == 0:
            break
        killed += 1
    assert killed >= 2
    house.run("restore", "latest")
    assert (house.images, house.rows) == (good, 100)
    assert not list(house.planter.folder.glob(".*.kuramori-restore-*")), "what killed restores left is cleared away"


def test_a_restore_whose_renames_fail_loses_nothing(house: House) -> None:
    good = house.images
    _spoil(house)
    spoilt = house.images
    failed = 0
    for number in (1, 2):  # the swap itself, and giving the old one its name
        done = house.run("restore", "latest", "--component", "images", killed_at=("exchange", number),
                         fault="error=EIO", codes=())
        assert house.images in (good, spoilt)
        if house.journals:
            house.run("restore", "--undo")
        assert house.images == spoilt, f"renaming {number}"
        house.clear()
        failed += done.returncode != 0
    assert failed == 2


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("call", ["rename", "exchange", "unlink"])
def test_an_undo_that_is_killed_is_ended_by_the_next(house: House, call: str) -> None:
    good = house.images
    _spoil(house)
    spoilt = house.images
    killed = 0
    for number in some(range(1, _MOST, 2), _apart(call)):
        house.run("restore", "latest")
        done = house.run("restore", "--undo", killed_at=(call, number), codes=())
        assert house.images in (good, spoilt)
        assert house.rows in (3, 100)
        if house.journals:
            house.run("restore", "--undo")
        assert (house.images, house.rows) == (spoilt, 3), f"{call} {number}"
        house.clear()
        if done.returncode == 0:
            break
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 1)
        killed += 1
    assert killed >= 1
    house.run("restore", "latest")
    assert len(os.listdir(house.planter.folder / "state" / "restores")) == 1, "what killed ones left is cleared away"
