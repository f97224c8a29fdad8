"""A replacement of a live database that is killed at any system call leaves the old content or the new
one, whole, and the next attempt succeeds."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from samples.databases import killed_writer

_OLD, _NEW = [("old", 40)], [("new", 70)]
_REPLACE = ("import sys; from kuramori.restoring import sqlite_worker, sqlite_wire; "
            "answer = sqlite_worker._answer(sqlite_wire.Replace(*sys.argv[1:], 5.0)); "
            "sys.exit(answer.detail or None)")


def _make(path: Path, mode: str, text: str, rows: int, page_size: int = 4096) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE note (text TEXT)")
    connection.executemany("INSERT INTO note VALUES (?)", [(text * 300,)] * rows)
    connection.close()


def _content(path: Path) -> list[tuple[str, int]]:
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT substr(text, 1, 3), count(*) FROM note GROUP BY 1").fetchall()
    finally:
        connection.close()


def _kill_at_each(strace: str, tmp_path: Path, calls: str, stride: int) -> list[list[tuple[str, int]]]:
    """Kill at the first call of this kind, at one some calls later, and so on until it comes to its end; return
    the content each time."""
    outcomes = []
    for number in range(1, 30 * stride, stride):
        folder = tmp_path / "live"
        shutil.copytree(tmp_path / "template", folder)
        command = [sys.executable, "-c", _REPLACE, str(tmp_path / "restored.db"), str(folder / "live.db")]
        done = subprocess.run([strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
                               "-e", f"inject={calls}:signal=SIGKILL:when={number}", *command],
                              capture_output=True, check=False, timeout=120)
        outcomes.append(_content(folder / "live.db"))
        if done.returncode == 0:
            return outcomes
        assert done.returncode in (-9, 137), done.stderr
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        assert _content(folder / "live.db") == _NEW
        shutil.rmtree(folder)
    pytest.fail("it never came to its end")


@pytest.mark.parametrize(("calls", "stride"), [("pwrite64", 23), ("?fsync,?fdatasync", 1), ("ftruncate", 1),
                                               ("?unlink,?unlinkat,?rename,?renameat,?renameat2", 1)])
@pytest.mark.parametrize(("mode", "page_size"), [("wal", 4096), ("delete", 4096), ("persist", 1024)])
def test_killed_at_some_system_call(tmp_path: Path, require_program: Callable[[str], str], mode: str, page_size: int,
                                    calls: str, stride: int) -> None:
    (tmp_path / "template").mkdir()
    _make(tmp_path / "restored.db", "delete", "new", 70, page_size)
    _make(tmp_path / "template" / "live.db", mode, "old", 39)
    killed_writer(tmp_path / "template" / "live.db", mode, "INSERT INTO note VALUES ('old, in the log')")
    outcomes = _kill_at_each(require_program("strace"), tmp_path, calls, stride)
    assert all(outcome in (_OLD, _NEW) for outcome in outcomes), outcomes
    assert outcomes[-1] == _NEW
    assert calls != "pwrite64" or outcomes.count(_OLD) >= 2, "no kill came before the new content was in place"


def test_killed_while_a_missing_database_comes_back(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """There is none, or the new one, and never the new one with the old log."""
    strace = require_program("strace")
    (tmp_path / "template").mkdir()
    _make(tmp_path / "restored.db", "delete", "new", 70)
    killed_writer(tmp_path / "template" / "live.db", "wal",
                  "CREATE TABLE note (text); INSERT INTO note VALUES ('old, in the log')")
    (tmp_path / "template" / "live.db").unlink()
    for calls in ("write", "?fsync,?fdatasync", "?unlink,?unlinkat", "?rename,?renameat,?renameat2"):
        outcomes = _kill_at_each(strace, tmp_path, calls, 1)
        assert all(outcome in ([], _NEW) for outcome in outcomes), outcomes
        assert len(outcomes) > 1
        shutil.rmtree(tmp_path / "live")
