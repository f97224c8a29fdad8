"""Ctrl-C and SIGTERM: 130, no lock, nothing half done, and the next run uses what is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from samples.kuramori_command import Kuramori
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "interrupted"
PACK = 16 << 20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that takes some packs: large files and small ones."""
    folder = tmp_path_factory.mktemp("source")
    chance = random.Random(3)
    for number in range(40):
        (folder / f"large {number}").write_bytes(chance.randbytes(6 << 20))
    (folder / "small").mkdir()
    for number in range(500):
        (folder / "small" / str(number)).write_bytes(chance.randbytes(3000))
    return folder


@pytest.fixture
def kuramori(tmp_path: Path) -> Kuramori:
    """An empty repository."""
    command = Kuramori(tmp_path / "repository", PASSWORD)
    command.init_quickly()
    return command


def _stored(kuramori: Kuramori) -> int:
    return sum(path.stat().st_size for path in (kuramori.repository / "data").rglob("*")
               if path.is_file() and len(path.name) == 64)


def _interrupt(process: subprocess.Popen[bytes], signals: list[int], ready: Callable[[], bool]) -> str:
    """Send signals to the process and all its children, as a terminal does, when it is ready."""
    deadline = time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it could be interrupted"
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.02)
    _, stderr = process.communicate(timeout=60)
    return stderr.decode()


def _start(kuramori: Kuramori, *arguments: str | Path) -> subprocess.Popen[bytes]:
    # Who runs the tests in the background has SIGINT ignored, and children inherit that.
    return kuramori.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def _assert_nothing_runs(group: int) -> None:
    """The worker processes have ended with their parent."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process of the interrupted run still lives")


def _assert_clean(kuramori: Kuramori) -> None:
    assert not list((kuramori.repository / "locks").iterdir())
    strange = [path for path in (kuramori.repository / "data").rglob("*") if path.is_file() and len(path.name) != 64]
    assert strange == []


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=str)
def test_a_backup(kuramori: Kuramori, source: Path, tmp_path: Path, signals: list[int]) -> None:
    process = _start(kuramori, "backup", source)
    said = _interrupt(process, signals, lambda: _stored(kuramori) >= 2 * PACK)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) <= 1
    _assert_nothing_runs(process.pid)
    _assert_clean(kuramori)
    assert kuramori.snapshots() == []
    uploaded = _stored(kuramori)
    kuramori.run("check", "--read-data")
    summary = kuramori.backup(source)
    assert summary["total_bytes_processed"] - summary["data_added"] > uploaded * 0.9
    kuramori.run("restore", "latest", "--target", tmp_path / "target")
    assert_same_tree(tree_facts(source), tree_facts(str(tmp_path / "target") + str(source)))


def test_a_backup_before_anything_is_stored(kuramori: Kuramori, source: Path) -> None:
    process = _start(kuramori, "backup", source)
    said = _interrupt(process, [signal.SIGINT], lambda: bool(list((kuramori.repository / "locks").iterdir())))
    assert (process.returncode, "Traceback" in said) == (130, False)
    _assert_nothing_runs(process.pid)
    _assert_clean(kuramori)
    kuramori.run("check", "--read-data")


def test_a_restore(kuramori: Kuramori, source: Path, tmp_path: Path) -> None:
    """What stands under its name is whole; what stood there before may still stand there."""
    kuramori.backup(source)
    target = tmp_path / "target"
    inside = Path(str(target) + str(source))
    inside.mkdir(parents=True)
    for number in range(40):
        (inside / f"large {number}").write_bytes(b"old")
    process = _start(kuramori, "restore", "latest", "--target", target)
    said = _interrupt(process, [signal.SIGINT], lambda: any(
        path.stat().st_size > 3 for path in inside.glob("large *")))
    assert (process.returncode, "Traceback" in said) == (130, False)
    _assert_nothing_runs(process.pid)
    _assert_clean(kuramori)
    for number in range(40):
        found = (inside / f"large {number}").read_bytes()
        assert found in (b"old", (source / f"large {number}").read_bytes())
    kuramori.run("restore", "latest", "--target", target, "--delete")
    assert_same_tree(tree_facts(source), tree_facts(inside))


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("arguments", [("check", "--read-data"), ("restore", "latest", "--dry-run", "--target", "x"),
                                       ("prune",), ("ls", "latest", "--recursive"), ("stats",)], ids=" ".join)
def test_other_commands(kuramori: Kuramori, source: Path, arguments: tuple[str, ...]) -> None:
    """Interrupted at any time, most before they began: 130 or the end that they had reached."""
    kuramori.backup(source / "small")
    for delay in (0.02, 0.1, 0.2, 0.4):
        process = _start(kuramori, *arguments)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        if b"Could not import runpy module" in stderr or b"Fatal Python error: init_" in stderr:
            continue  # Python itself had not begun
        assert process.returncode in (0, 130, -signal.SIGINT), stderr
        # An interpreter that has not begun with us yet speaks for itself.
        assert b"Traceback" not in stderr or b"kuramori/cli/main" not in stderr
        _assert_nothing_runs(process.pid)
        _assert_clean(kuramori)


def test_hanging_up_ends_no_backup(kuramori: Kuramori, source: Path) -> None:
    """A closed terminal sends SIGHUP: who holds a lock goes on to the end."""
    process = _start(kuramori, "backup", source)
    deadline = time.monotonic() + 60
    while _stored(kuramori) < PACK and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(kuramori.snapshots()) == 1
    _assert_clean(kuramori)


def test_what_is_ignored_stays_ignored(kuramori: Kuramori, source: Path) -> None:
    """A backup started with nohup, or with & in a script, does not end by the Ctrl-C of somebody else."""
    process = kuramori.start("backup", source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    deadline = time.monotonic() + 60
    while _stored(kuramori) < PACK and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
