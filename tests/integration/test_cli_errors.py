"""Bad input at the command line: one clear sentence, the right exit code, nothing lost, no secret shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori

PASSWORD = "an easily recognised password"


@pytest.fixture
def kuramori(tmp_path: Path) -> Kuramori:
    """A repository with one snapshot of a small folder."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "note").write_text("content")
    command = Kuramori(tmp_path / "repository", PASSWORD)
    command.init_quickly()
    command.backup(source)
    return command


def complain(*arguments: str | Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the command; return its exit code and what it says on standard error."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("KURAMORI_", "RESTIC_")) or name == "KURAMORI_STATE_DIR"}
    done = subprocess.run([sys.executable, "-m", "kuramori", *arguments], env=kept | (environment or {}),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    said = done.stderr
    assert "Traceback" not in said + done.stdout
    assert PASSWORD not in said + done.stdout
    return done.returncode, said


def place(kuramori: Kuramori, **changes: str) -> dict[str, str]:
    """Return the environment of the repository, with changes."""
    return {"KURAMORI_REPOSITORY": str(kuramori.repository), "KURAMORI_PASSWORD": PASSWORD} | changes


@pytest.mark.exhaustive(except_each=4)
@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("snapshots", "--nonsense"), 1, "--nonsense"),
    (("snapshot",), 1, "snapshots"),
    (("forget", "--keep-lst", "3"), 1, "did you mean --keep-last?"),
    (("backup", "--exclud", "x", "/etc"), 1, "did you mean --exclude?"),
    (("backup",), 1, "name what is to be saved"),
    (("backup", "/nonexistent/folder"), 1, "/nonexistent/folder"),
    (("restore", "latest"), 1, "--target"),
    (("restore", "ffffffff", "--target", "/tmp/never"), 1, "ffffffff"),
    (("restore", "latest:/no/such/folder", "--target", "/tmp/never"), 1, "/no/such/folder"),
    (("ls", "00000000"), 1, "00000000"),
    (("dump", "latest", "/no/such/file"), 1, "/no/such/file"),
    (("check", "--read-data-subset", "5/2"), 1, "5/2"),
    (("check", "--read-data", "--read-data-subset", "1/2"), 1, "exclude each other"),
    (("backup", "--time", "nonsense", "/etc"), 1, "nonsense"),
    (("backup", "--exclude", "[", "/etc"), 1, "["),
    (("backup", "--exclude-file", "/nonexistent/file", "/etc"), 1, "/nonexistent/file"),
    (("backup", "--pack-size", "1", "/etc"), 1, "between 4 and 128"),
    (("key", "remove", "ffff"), 1, "ffff"),
    (("cat", "blob", "xyz"), 1, "64 hexadecimal digits"),
    (("backup", "--stdin-from-command", "--", "/nonexistent/program"), 1, "/nonexistent/program"),
    (("backup", "--stdin-from-command", "--", "sh", "-c", "echo half; exit 7"), 1, "7"),
])
def test_wrong_requests(kuramori: Kuramori, arguments: tuple[str, ...], code: int, words: str) -> None:
    before = kuramori.snapshots()
    found, said = complain(*arguments, environment=place(kuramori))
    assert words in said
    assert len(said.strip().splitlines()) <= 2
    assert found == code
    assert kuramori.snapshots() == before
    assert not list((kuramori.repository / "locks").iterdir())


def test_wrong_passwords(kuramori: Kuramori, tmp_path: Path) -> None:
    """12, whoever says it: the variable, a file, a command; an unreadable file is another matter."""
    code, said = complain("snapshots", environment=place(kuramori, KURAMORI_PASSWORD="wrong"))
    assert (code, "password" in said) == (12, True)
    (tmp_path / "password").write_text("wrong as well\n")
    code, said = complain("-p", tmp_path / "password", "snapshots", environment={
        "KURAMORI_REPOSITORY": str(kuramori.repository)})
    assert code == 12
    code, _ = complain("--password-command", "echo wrong", "snapshots", environment={
        "KURAMORI_REPOSITORY": str(kuramori.repository)})
    assert code == 12
    code, said = complain("-p", tmp_path / "missing", "snapshots", environment={
        "KURAMORI_REPOSITORY": str(kuramori.repository)})
    assert (code, str(tmp_path / "missing") in said) == (1, True)
    code, said = complain("snapshots", environment={"KURAMORI_REPOSITORY": str(kuramori.repository)})
    assert (code, "--password-file" in said) == (1, True)


def test_no_repository(kuramori: Kuramori, tmp_path: Path) -> None:
    """10 where there is none, with its place; without any place at all: 1 and how to say it."""
    (tmp_path / "empty").mkdir()
    for location in (tmp_path / "empty", tmp_path / "missing"):
        code, said = complain("snapshots", environment=place(kuramori, KURAMORI_REPOSITORY=str(location)))
        assert (code, str(location) in said) == (10, True)
    code, said = complain("snapshots", environment={"KURAMORI_PASSWORD": PASSWORD})
    assert (code, "--repository-file" in said) == (1, True)
    code, said = complain("-r", "s3000:bucket", "snapshots", environment=place(kuramori))
    assert (code, "s3000" in said) == (1, True)
    code, said = complain("init", environment=place(kuramori))
    assert (code, str(kuramori.repository) in said) == (1, True)


@pytest.mark.exhaustive
def test_an_ambiguous_prefix(kuramori: Kuramori, tmp_path: Path) -> None:
    """Two snapshots begin alike: both are what is asked back for."""
    known = {snapshot["id"][:1] for snapshot in kuramori.snapshots()}
    while len(known) == len(kuramori.snapshots()):
        kuramori.backup(tmp_path / "source", "--force")
        known = {snapshot["id"][:1] for snapshot in kuramori.snapshots()}
    first_letters = [snapshot["id"][:1] for snapshot in kuramori.snapshots()]
    twice = next(letter for letter in first_letters if first_letters.count(letter) > 1)
    code, said = complain("ls", twice, environment=place(kuramori))
    assert (code, twice in said) == (1, True)


def test_an_unreadable_source(kuramori: Kuramori, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """The file is named, the rest is saved, and the exit code is 3."""
    (tmp_path / "source" / "secret").write_text("x")
    os.chmod(tmp_path / "source" / "secret", 0)
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = [require_program("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        for folder in (tmp_path, *list(tmp_path.parents)[:3]):
            os.chmod(folder, folder.stat().st_mode | 0o055)
        for root, _, names in os.walk(kuramori.repository):
            for path in (root, *(os.path.join(root, name) for name in names)):
                os.chown(path, 65534, 65534)
    done = subprocess.run([*prefix, sys.executable, "-m", "kuramori", "backup", str(tmp_path / "source")],
                          env=dict(os.environ) | place(kuramori), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert str(tmp_path / "source" / "secret") in done.stderr
    assert "Traceback" not in done.stderr
    assert len(kuramori.snapshots()) == 2


def test_a_missing_source_beside_another(kuramori: Kuramori, tmp_path: Path) -> None:
    code, said = complain("backup", tmp_path / "gone", tmp_path / "source", environment=place(kuramori))
    assert (code, str(tmp_path / "gone") in said) == (3, True)
    assert len(kuramori.snapshots()) == 2


def test_a_locked_repository(kuramori: Kuramori, tmp_path: Path) -> None:
    """11 and who holds the lock, while that process lives."""
    repository = open_repository(LocalBackend(kuramori.repository), Secret(PASSWORD))
    with hold_lock(repository, exclusive=True):
        code, said = complain("backup", tmp_path / "source", environment=place(kuramori))
    assert code == 11
    assert str(os.getpid()) in said
    kuramori.backup(tmp_path / "source")


def test_output_that_nobody_reads(kuramori: Kuramori) -> None:
    """A closed pipe ends the command without a word."""
    done = subprocess.run(f"{sys.executable} -m kuramori ls latest --recursive | head -n 1", shell=True, check=False,
                          env=dict(os.environ) | place(kuramori), capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("command", ["backup", "list", "init", "status", "schedule", "history", "cleanup", "daemon",
                                     "restore", "restore latest"])
def test_whoever_has_no_settings_yet_is_told_how_to_make_some(command: str, tmp_path: Path) -> None:
    code, said = complain(*command.split(), environment={
        "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "KURAMORI_SETTINGS": ""})
    assert code == 1
    assert "kuramori setup" in said
    assert len(said.splitlines()) == 1
