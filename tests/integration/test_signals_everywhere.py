"""Ctrl-C at each operation of the store, in every command that works on a repository: it ends with 130 and says so, and
never takes the signal for an error of the file that it was reading or writing just then."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kuramori.cli.application import Application
from kuramori.cli.main import run
from kuramori.repository import locks
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori

PASSWORD = "signals"
_OPERATIONS = ("load", "list", "save", "remove")
_MOST = 400
"""No command here takes so many operations."""

READING = {
    "cat": ("cat", "config"),
    "check": ("check",),
    "check of all data": ("check", "--read-data"),
    "check of what is due": ("check", "--rolling"),
    "diff": ("diff", "latest", "latest"),
    "dump": ("dump", "latest", "/", "--target", "dumped.tar"),
    "find": ("find", "file*"),
    "key list": ("key", "list"),
    "list": ("list", "blobs"),
    "ls": ("ls", "latest", "--recursive"),
    "restore": ("restore", "latest", "--target", "restored"),
    "snapshots": ("snapshots",),
    "stats": ("stats",),
    "stats of raw data": ("stats", "--mode", "raw-data"),
}
WRITING = {
    "forget": ("forget", "--keep-last", "1", "--prune"),
    "prune": ("prune", "--max-unused", "0"),
    "recover": ("recover",),
    "repair index": ("repair", "index"),
    "repair snapshots": ("repair", "snapshots", "--forget"),
    "rewrite": ("rewrite", "--exclude", "file1", "--forget"),
    "tag": ("tag", "--add", "kept"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two snapshots of a few folders, and something that neither needs."""
    folder = tmp_path_factory.mktemp("signals")
    kuramori = Kuramori(folder / "repository", PASSWORD)
    kuramori.init_quickly()
    source = folder / "source"
    for number in range(6):
        (source / f"folder{number % 3}").mkdir(parents=True, exist_ok=True)
        (source / f"folder{number % 3}" / f"file{number}").write_bytes(os.urandom(3000))
    for name in ("gone", "first", "second"):
        (source / name).write_text(name)
        kuramori.backup(source)
    kuramori.run("forget", kuramori.snapshots()[0]["id"])
    return folder / "repository"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository of the environment is a copy of the template, and files go into an own folder."""
    monkeypatch.setenv("KURAMORI_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("KURAMORI_PASSWORD", PASSWORD)
    monkeypatch.setenv("KURAMORI_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KURAMORI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locks, "_SETTLE_SECONDS", 0.0)  # nobody else writes a lock here


def _signals_at(number: int, before: bool, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Have the process get SIGINT before or after an operation of the store; return what tells whether it did."""
    counted = itertools.count()
    sent = False

    def interrupting(operate: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            nonlocal sent
            its_turn = next(counted) == number
            if its_turn and before:
                sent = True
                signal.raise_signal(signal.SIGINT)
            found = operate(*arguments, **named)
            if its_turn and not before:
                sent = True
                signal.raise_signal(signal.SIGINT)
            return found
        return operation

    for name in _OPERATIONS:
        monkeypatch.setattr(LocalBackend, name, interrupting(getattr(LocalBackend, name)))
    return lambda: sent


def _interruptions(arguments: tuple[str, ...], renew: Callable[[], None]) -> Iterator[tuple[int, int, bool]]:
    """Run a command again and again, interrupted one operation later each time until it comes to its end; yield the
    number of the operation and the exit code."""
    for number in range(_MOST):
        for before in (True, False):
            renew()
            with pytest.MonkeyPatch.context() as patch:
                sent = _signals_at(number, before, patch)
                code = run(arguments, Application())
                if not sent():
                    assert number > 3, "it was interrupted at some operations"
                    return
            yield number, code, before
    raise AssertionError("the command never ends")


def _renew(template: Path, tmp_path: Path) -> None:
    for name in ("repository", "state", "cache", "restored"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    shutil.copytree(template, tmp_path / "repository")


@pytest.mark.parametrize("name", READING)
def test_a_command_that_reads(name: str, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _renew(template, tmp_path)
    for number, code, before in _interruptions(READING[name], lambda: None):
        said = capsys.readouterr().err
        assert (code, said) == (130, "kuramori: interrupted\n"), (number, before)
        assert not os.listdir(tmp_path / "repository" / "locks"), (number, before)


@pytest.mark.parametrize("name", WRITING)
def test_a_command_that_writes(name: str, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever was done until then, the repository is sound and has what it had."""
    kept = len(os.listdir(template / "snapshots")) - (name == "forget")
    for number, code, before in _interruptions(WRITING[name], lambda: _renew(template, tmp_path)):
        said = capsys.readouterr().err
        assert (code, said) == (130, "kuramori: interrupted\n"), (number, before)
        assert not os.listdir(tmp_path / "repository" / "locks"), (number, before)
        assert len(os.listdir(tmp_path / "repository" / "snapshots")) >= kept, (number, before)
        assert run(("check", "--read-data", "--accept-missing"), Application()) == 0, (number, before)
        capsys.readouterr()
