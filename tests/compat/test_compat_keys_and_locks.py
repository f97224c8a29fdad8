"""Keys and locks that kuramori and restic share."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori

FIRST, SECOND, THIRD = "first 一", "second 二", "third 三"
_PATIENCE_SECONDS = 60.0


def _password_file(folder: Path, password: str) -> Path:
    path = folder / f"password-{password.split()[0]}"
    path.write_text(password + "\n")
    path.chmod(0o600)
    return path


def _locks(repository: Path) -> list[str]:
    return sorted(path.name for path in (repository / "locks").iterdir() if len(path.name) == 64)


def _wait_for_lock(repository: Path) -> None:
    for _ in range(int(_PATIENCE_SECONDS / 0.01)):
        if _locks(repository):
            return
        time.sleep(0.01)
    pytest.fail("no lock appeared")


@contextmanager
def _our_backup_waits(ours: Kuramori) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a backup of standard input open; at the end it must succeed."""
    process = ours.start("backup", "--stdin", "--stdin-filename", "stream", stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    try:
        process.stdin.write(b"first part\n" * 1000)
        process.stdin.flush()
        _wait_for_lock(ours.repository)
        yield process
    finally:
        process.stdin.close()
        code = process.wait(_PATIENCE_SECONDS)
    assert code == 0, "the backup did not survive"


@contextmanager
def _restic_stands_still(binary: str, repository: Path, password: str,
                         *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start restic and stop it as soon as it holds its lock; at the end let it run on, unless it
    was killed."""
    environment = {"PATH": os.defpath, "RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password}
    process = subprocess.Popen([binary, "--no-cache", *arguments], env=environment, stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_lock(repository)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=_PATIENCE_SECONDS)


def _with_a_snapshot(command: Kuramori, folder: Path) -> Kuramori:
    (folder / "source").mkdir()
    (folder / "source" / "file").write_bytes(os.urandom(100_000))
    command.backup("source", directory=folder)
    return command


@pytest.fixture
def ours(tmp_path: Path) -> Kuramori:
    """A repository with one snapshot, whose key costs next to nothing."""
    command = Kuramori(tmp_path / "repository", FIRST)
    command.init_quickly()
    return _with_a_snapshot(command, tmp_path)


@pytest.fixture
def as_usual(tmp_path: Path) -> Kuramori:
    """The same with a key as everybody has it."""
    command = Kuramori(tmp_path / "repository", FIRST)
    command.run("init")
    return _with_a_snapshot(command, tmp_path)


def test_restic_opens_with_the_key_we_added(as_usual: Kuramori, tmp_path: Path, restic_binary: str) -> None:
    as_usual.run("key", "add", "--new-password-file", _password_file(tmp_path, SECOND))
    restic = Restic(restic_binary, as_usual.repository, SECOND)
    assert len(restic.snapshots()) == 1
    restic.check()


def test_we_open_with_the_key_restic_added(as_usual: Kuramori, tmp_path: Path, restic_binary: str) -> None:
    Restic(restic_binary, as_usual.repository, FIRST).key_add(_password_file(tmp_path, SECOND))
    assert len(Kuramori(as_usual.repository, SECOND).snapshots()) == 1
    assert len(as_usual.snapshots()) == 1


@pytest.mark.exhaustive
def test_passwords_changed_by_either(as_usual: Kuramori, tmp_path: Path, restic_binary: str) -> None:
    as_usual.run("key", "passwd", "--new-password-file", _password_file(tmp_path, SECOND))
    as_usual.run("snapshots", codes=(12,))
    restic = Restic(restic_binary, as_usual.repository, SECOND)
    restic.run("key", "passwd", "--new-password-file", _password_file(tmp_path, THIRD))
    Kuramori(as_usual.repository, SECOND).run("snapshots", codes=(12,))
    assert len(Kuramori(as_usual.repository, THIRD).snapshots()) == 1
    assert len(list((as_usual.repository / "keys").iterdir())) == 1


def test_restic_removes_a_key_of_ours(as_usual: Kuramori, tmp_path: Path, restic_binary: str) -> None:
    before = set((as_usual.repository / "keys").iterdir())
    as_usual.run("key", "add", "--new-password-file", _password_file(tmp_path, SECOND))
    added = (set((as_usual.repository / "keys").iterdir()) - before).pop()
    Restic(restic_binary, as_usual.repository, FIRST).run("key", "remove", added.name)
    Kuramori(as_usual.repository, SECOND).run("snapshots", codes=(12,))
    assert len(as_usual.snapshots()) == 1


def test_our_backup_keeps_restic_from_pruning(ours: Kuramori, restic_binary: str, restic_new: str) -> None:
    restic = Restic(restic_binary, ours.repository, FIRST)
    with _our_backup_waits(ours):
        outcome = restic.run("prune", codes=(11,) if restic_binary == restic_new else (1,))
        assert "lock" in outcome.stderr
        assert len(restic.snapshots()) == 1, "reading goes on beside it"
    assert _locks(ours.repository) == []
    restic.prune()
    restic.check()
    assert len(ours.snapshots()) == 2


def test_restic_unlock_neither_kills_us_nor_takes_our_lock(ours: Kuramori, restic_binary: str) -> None:
    """It sends SIGHUP to see whether the owner of a lock lives."""
    restic = Restic(restic_binary, ours.repository, FIRST)
    with _our_backup_waits(ours) as process:
        held = _locks(ours.repository)
        restic.unlock()
        assert process.poll() is None
        assert _locks(ours.repository) == held
    assert len(ours.snapshots()) == 2


def test_restics_exclusive_lock_stops_us(ours: Kuramori, restic_binary: str, tmp_path: Path) -> None:
    with _restic_stands_still(restic_binary, ours.repository, FIRST, "check", "--read-data"):
        ours.run("backup", "source", codes=(11,), directory=tmp_path)
        ours.run("unlock")
        assert len(_locks(ours.repository)) == 1, "its owner stands still, but lives"
        ours.run("backup", "source", codes=(11,), directory=tmp_path)
    assert len(ours.snapshots()) == 1
    ours.backup("source", directory=tmp_path)


def test_restics_shared_lock_lets_us_back_up_but_not_check(
        ours: Kuramori, restic_binary: str, tmp_path: Path) -> None:
    with _restic_stands_still(restic_binary, ours.repository, FIRST, "backup", "--stdin"):
        ours.run("check", codes=(11,))
        ours.backup("source", directory=tmp_path)
    ours.run("check", "--read-data")


def test_a_lock_of_a_killed_restic_blocks_nobody(ours: Kuramori, restic_binary: str, tmp_path: Path) -> None:
    with _restic_stands_still(restic_binary, ours.repository, FIRST, "check", "--read-data") as process:
        process.kill()
        process.wait(_PATIENCE_SECONDS)
        assert len(_locks(ours.repository)) == 1
        ours.backup("source", directory=tmp_path)
    assert _locks(ours.repository) == []
    Restic(restic_binary, ours.repository, FIRST).check()


# --- waiting for each other ------------------------------------------------------------------


def _wait_for_words(path: Path, words: str) -> None:
    """Wait until a process has said something into a file."""
    for _ in range(int(_PATIENCE_SECONDS / 0.05)):
        if words in path.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"nobody said {words!r}, but: {path.read_text()}")


@pytest.mark.exhaustive
def test_our_prune_waits_for_restics_backup(ours: Kuramori, restic_binary: str, tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "RESTIC_REPOSITORY": str(ours.repository), "RESTIC_PASSWORD": FIRST}
    said = tmp_path / "said"
    with subprocess.Popen([restic_binary, "--no-cache", "backup", "--stdin"], env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL) as backup, said.open("wb") as errors:
        assert backup.stdin is not None
        backup.stdin.write(os.urandom(100_000))
        backup.stdin.flush()
        _wait_for_lock(ours.repository)
        prune = ours.start("prune", "--max-unused", "0", "--retry-lock", "1m", stdout=subprocess.DEVNULL, stderr=errors)
        _wait_for_words(said, "waiting: ")
        assert prune.poll() is None
        backup.stdin.close()
        assert backup.wait(_PATIENCE_SECONDS) == 0
        assert prune.wait(_PATIENCE_SECONDS) == 0, said.read_text()
    assert len(ours.snapshots()) == 2
    assert _locks(ours.repository) == []
    Restic(restic_binary, ours.repository, FIRST).check(read_data=True)


def test_restics_prune_waits_for_our_backup(ours: Kuramori, restic_new: str, tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "RESTIC_REPOSITORY": str(ours.repository), "RESTIC_PASSWORD": FIRST}
    said = tmp_path / "said"
    with said.open("wb") as output:
        with _our_backup_waits(ours):
            prune = subprocess.Popen([restic_new, "--no-cache", "prune", "--max-unused", "0", "--retry-lock", "1m"],
                                     env=environment, stdout=output, stderr=output)
            _wait_for_words(said, "waiting up to")
            assert prune.poll() is None
        assert prune.wait(_PATIENCE_SECONDS) == 0, said.read_text()
    assert len(ours.snapshots()) == 2
    ours.run("check", "--read-data")
    Restic(restic_new, ours.repository, FIRST).check(read_data=True)


def test_a_lock_of_a_killed_run_of_ours_stops_nobody_for_long(ours: Kuramori, restic_binary: str) -> None:
    """restic itself asks for an unlock; our next command that takes a lock removes it."""
    held = ours.start("backup", "--stdin", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    _wait_for_lock(ours.repository)
    held.kill()
    held.communicate(timeout=_PATIENCE_SECONDS)
    assert len(_locks(ours.repository)) == 1
    ours.run("prune", "--max-unused", "0")
    assert _locks(ours.repository) == []
    Restic(restic_binary, ours.repository, FIRST).prune()
