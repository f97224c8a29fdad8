"""The key is derived ahead where it is plain which one is needed, and nowhere else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kuramori.cli.key_ahead import find_question
from kuramori.crypto import derivation, scrypt
from kuramori.repository.opening import open_repository
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori
from samples.repositories import PASSWORD, make_repository


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one key, which the environment names."""
    make_repository(tmp_path)
    for name in list(os.environ):
        if name.startswith(("KURAMORI_", "RESTIC_")) and name != "KURAMORI_STATE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD.reveal())
    return tmp_path / "repository"


def test_what_is_begun_is_what_opening_asks_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = find_question(["--json", "snapshots"])
    assert wanted is not None
    asked: list[scrypt.ScryptInput] = []
    compute = scrypt.compute
    monkeypatch.setattr(derivation, "_kept", {})
    monkeypatch.setattr(scrypt, "compute", lambda each: asked.append(each) or compute(each))  # type: ignore[func-returns-value]
    open_repository(LocalBackend(place), PASSWORD).close()
    assert asked == [wanted]


def test_a_password_file_is_read_as_opening_reads_it(place: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    expected = find_question(["backup", "/etc"])
    (tmp_path / "password").write_text(f" {PASSWORD.reveal()}\n")
    monkeypatch.setenv("KURAMORI_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("RESTIC_PASSWORD", "of no meaning beside it")
    assert expected is not None
    assert find_question(["backup", "/etc"]) == expected


def test_a_pipe_is_left_alone(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", str(tmp_path / "pipe"))
    assert find_question(["snapshots"]) is None


@pytest.mark.parametrize("arguments", [
    ["version"], ["snapshots", "--help"], ["-r", "/other", "snapshots"], ["snapshots", "--repo=/other"],
    ["--password-file", "x", "ls", "latest"], ["check", "--key-hint", "ab"], ["--settings", "x", "backup"], []])
@pytest.mark.usefixtures("place")
def test_options_that_mean_something_else(arguments: list[str]) -> None:
    assert find_question(arguments) is None


@pytest.mark.parametrize(("name", "value"), [
    ("RESTIC_REPOSITORY", "rest:http://127.0.0.1:1/"), ("RESTIC_REPOSITORY", "/nowhere"), ("RESTIC_KEY_HINT", "ab"),
    ("RESTIC_PASSWORD_COMMAND", "echo x"), ("RESTIC_PASSWORD_FILE", "/nowhere"), ("RESTIC_PASSWORD", "")])
@pytest.mark.usefixtures("place")
def test_settings_that_mean_something_else(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert find_question(["snapshots"]) is None


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{}", b"\xff", b'{"kdf":"scrypt","N":"1024","r":8,"p":1,"salt":"AAAA"}',
    b'{"kdf":"scrypt","N":1024,"r":8,"p":true,"salt":"AAAA"}', b'{"kdf":"scrypt","N":1024,"r":8,"p":1,"salt":"?"}',
    b'{"kdf":"argon2","N":1024,"r":8,"p":1,"salt":"AAAA"}', b"[" * 60_000])
def test_keys_that_are_none(place: Path, content: bytes) -> None:
    (key,) = (place / "keys").iterdir()
    key.chmod(0o600)
    key.write_bytes(content)
    assert find_question(["snapshots"]) is None


def test_one_of_several_keys_is_not_guessed(place: Path) -> None:
    (key,) = (place / "keys").iterdir()
    shutil.copy(key, key.with_name("0" * 64))
    assert find_question(["snapshots"]) is None


def test_the_command_lists_with_it_and_a_wrong_password_is_answered_as_ever(place: Path) -> None:
    right = Kuramori(place, PASSWORD.reveal(), environment={"LC_ALL": "C.UTF-8"})
    assert right.run("snapshots", "--json").strip() == "[]"
    wrong = Kuramori(place, "wrong", environment={"LC_ALL": "C.UTF-8"})
    wrong.run("snapshots", codes=(12,))
