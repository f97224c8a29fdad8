"""The real program, killed by the kernel in the middle of things, on a real folder. The real
restic says what is left: every finished snapshot whole, no error in the repository, and after the
next run of the same command no lock and no half-written file in its way."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kuramori.testing.contents import folder_contents
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.thoroughness import is_exhaustive, some

PROGRAM = [sys.executable, "-m", "kuramori"]
PASSWORD = "a password"
NEW_PASSWORD = "another password"
_MOMENTS = 4
_SAMPLE = (1, 2, 3, 5, 20, 256)
"""The calls of each thread at which it is killed, until a run has fewer of them; on every day each second or third."""


@dataclass
class House:
    """A repository in a folder and something to back up."""

    repository: Path
    source: Path
    restic: Restic
    environment: dict[str, str]

    def command(self, *arguments: str | Path) -> list[str]:
        """Return a command line of the program."""
        return [*PROGRAM, *map(str, arguments)]

    def run(self, command: Sequence[str], codes: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300,
                              check=False)
        assert not codes or done.returncode in codes, f"{command} ended with {done.returncode}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def init_quickly(self) -> None:
        """Make the repository, with a key that costs next to nothing."""
        Kuramori(self.repository, PASSWORD).init_quickly()

    def move_to(self, repository: Path, password: str) -> None:
        """Use another repository or another password from now on."""
        self.repository = repository
        self.environment |= {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password}
        self.restic = Restic(self.restic.binary, repository, password)

    def change_source(self, number: int) -> None:
        """Make the source differ from what any snapshot has."""
        chance = random.Random(number)
        (self.source / "images" / f"{number}.jpg").write_bytes(chance.randbytes(1_500_000))
        (self.source / "database").write_bytes(chance.randbytes(4_000_000))
        for file in range(5):
            (self.source / "notes" / f"{file}").write_text(f"note {number} {file}\n" * 50)


@pytest.fixture
def house(tmp_path: Path, require_program: Callable[[str], str]) -> House:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "notes").mkdir()
    for number in range(800):  # enough that worker processes are worth it
        (source / "notes" / f"{number}").write_text(f"note {number}\n" * (number % 40))
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("RESTIC_", "KURAMORI_"))}
    environment |= {"RESTIC_REPOSITORY": str(tmp_path / "repository"), "RESTIC_PASSWORD": PASSWORD,
                    "XDG_CACHE_HOME": str(tmp_path / "cache"), "LC_ALL": "C.UTF-8",
                    "KURAMORI_STATE_DIR": str(tmp_path / "state")}
    restic = Restic(require_program("restic"), tmp_path / "repository", PASSWORD)
    house = House(tmp_path / "repository", source, restic, environment)
    house.change_source(0)
    return house


def files_in(house: House, folder: str) -> set[str]:
    """Return the names in one of the repository's folders."""
    return {path.name for path in (house.repository / folder).iterdir()}


def judge_after_kill(house: House, known: set[str]) -> None:
    """Ask restic, which shall not mind the dead lock. ``known`` are the snapshots there were."""
    house.restic.run("check", "--read-data", "--no-lock")
    assert known <= files_in(house, "snapshots")


def judge_after_next_run(house: House, tmp_path: Path) -> None:
    """Now restic finds nothing in its way, and the newest snapshot is the source."""
    house.restic.check()
    target = tmp_path / f"restored {time.monotonic_ns()}"
    house.restic.restore("latest", target)
    assert folder_contents(target / house.source.relative_to("/")) == folder_contents(house.source)
    shutil.rmtree(target)
    assert files_in(house, "locks") == set()
    assert [path.name for path in house.repository.rglob("*-tmp-*")] == []


def survive(house: House, tmp_path: Path, killed: Sequence[str], again: Sequence[str]) -> bool:
    """Run a command that may be killed and judge what is left; return whether it was broken off."""
    known = files_in(house, "snapshots")
    done = house.run(killed, codes=())
    assert done.returncode in (0, 1, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    judge_after_kill(house, known)
    house.run(again)
    judge_after_next_run(house, tmp_path)
    return done.returncode != 0


CALLS = {
    "fsync": "fsync", "rename": "?rename,?renameat,?renameat2", "unlink": "?unlink,?unlinkat",
    "mkdir": "?mkdir,?mkdirat", "write": "write,writev",
}
"""What a processor's Linux calls them; a question mark stands before what not all have."""


def killing(strace: str, call: str, number: int) -> list[str]:
    """Return the strace command that kills whoever makes a system call for the n-th time (each
    thread counts for itself), before it happens."""
    return [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS[call]}",
            "-e", f"inject={CALLS[call]}:signal=SIGKILL:when={number}"]


@pytest.mark.parametrize("call", ["fsync", "rename", "unlink", "write"])
def test_a_backup_that_is_killed_at_a_system_call(house: House, tmp_path: Path, call: str,
                                                  require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    house.init_quickly()
    house.run(house.command("backup", house.source))
    backup = house.command("backup", house.source)
    broken_off = 0
    for number in some(_SAMPLE, 3):
        house.change_source(number)
        if not survive(house, tmp_path, [*killing(strace, call, number), *backup], backup):
            break
        broken_off += 1
    assert broken_off >= 1


def test_an_init_that_is_killed_at_a_system_call(house: House, tmp_path: Path,
                                                 require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    broken_off = 0
    for call in ("fsync", "rename", "mkdir"):
        for number in some(_SAMPLE, 3):
            house.move_to(tmp_path / f"{call} {number}", PASSWORD)
            init = house.command("init")
            if house.run([*killing(strace, call, number), *init], codes=()).returncode == 0:
                break
            broken_off += 1
            if not (house.repository / "config").exists():
                house.run(init)
            house.restic.check()
            assert len(files_in(house, "data")) == 256
    assert broken_off >= (8 if is_exhaustive() else 4)


def test_a_change_of_password_that_is_killed_at_a_system_call(
        house: House, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    house.init_quickly()
    house.run(house.command("backup", house.source))
    template = house.repository
    new = tmp_path / "new password"
    new.write_text(NEW_PASSWORD)
    new.chmod(0o600)
    change = house.command("key", "passwd", "--new-password-file", new)
    broken_off = 0
    for call in ("fsync", "unlink"):
        for number in some(_SAMPLE, 2):
            copy = tmp_path / f"{call} {number}"
            shutil.copytree(template, copy)
            house.move_to(copy, PASSWORD)
            finished = house.run([*killing(strace, call, number), *change], codes=()).returncode == 0
            if opens(house, PASSWORD):
                assert not finished
                house.run(change)
            assert not opens(house, PASSWORD)
            house.move_to(copy, NEW_PASSWORD)
            house.run(house.command("backup", house.source))
            judge_after_next_run(house, tmp_path)
            if finished:
                break
            broken_off += 1
    assert broken_off >= (4 if is_exhaustive() else 2)


def opens(house: House, password: str) -> bool:
    """Tell whether a password opens the repository."""
    judge = Restic(house.restic.binary, house.repository, password)
    return judge.run("cat", "config", "--no-lock", codes=()).code == 0


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("whole_group", [True, False], ids=["all processes", "the first process only"])
def test_a_backup_that_is_killed_at_some_moment(house: House, tmp_path: Path, whole_group: bool) -> None:
    house.init_quickly()
    backup = house.command("backup", house.source)
    started = time.monotonic()
    house.run(backup)
    lasts = time.monotonic() - started
    for number in some(range(1, _MOMENTS + 1), 2):
        house.change_source(number)
        known = files_in(house, "snapshots")
        process = subprocess.Popen(backup, env=house.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(lasts * number / (_MOMENTS + 1))
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        judge_after_kill(house, known)
        house.run(backup)
        judge_after_next_run(house, tmp_path)


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("call", "numbers"), [("fsync", (2, 5)), ("rename", (1, 2)), ("unlink", (1, 3, 5))])
def test_a_prune_that_is_killed_at_a_system_call(house: House, tmp_path: Path, call: str, numbers: tuple[int, ...],
                                                 require_program: Callable[[str], str]) -> None:
    strace = require_program("strace")
    house.init_quickly()
    shutil.rmtree(house.source / "notes")
    (house.source / "notes").mkdir()
    for number in range(3):
        house.change_source(number)
        known = files_in(house, "snapshots")
        house.run(house.command("backup", house.source))
        if number < 2:
            (made,) = files_in(house, "snapshots") - known
            house.run(house.command("forget", made))
    template = house.repository
    prune = house.command("prune", "--max-unused", "0")
    for number in numbers:
        copy = tmp_path / f"{call} {number}"
        shutil.copytree(template, copy)
        house.move_to(copy, PASSWORD)
        assert survive(house, tmp_path, [*killing(strace, call, number), *prune], prune), "it was killed"
