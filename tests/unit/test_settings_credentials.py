"""Where a repository's password comes from, and that nobody else can read it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kuramori.errors import (
    CredentialError,
    ForeignSecretFileError,
    GeneratedPasswordFileMissingError,
    NamedPasswordFileMissingError,
    PasswordFileMissingError,
    UnsafeSecretFileError,
)
from kuramori.secret import Secret
from kuramori.settings import credentials
from kuramori.settings.credentials import generate_password_file, read_password, read_secret_file
from kuramori.settings.model import RepositorySettings

CANARY = "canary-2718"


def repository(file: Path | None = None, command: tuple[str, ...] = (), *,
               password_generated: bool = False) -> RepositorySettings:
    """A repository whose password comes from there."""
    return RepositorySettings("usb", "/b", password_file=file, password_command=command,
                              password_generated=password_generated)


def secret_file(path: Path, content: bytes = CANARY.encode(), mode: int = 0o600) -> Path:
    """Write a file with a secret."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [
    b"canary-2718", b"canary-2718\n", b" canary-2718\r\n", b"\xef\xbb\xbfcanary-2718\n",
    "\ufeffcanary-2718\r\n".encode("utf-16-le"), "\ufeffcanary-2718".encode("utf-16-be"),
])
def test_a_file(tmp_path: Path, content: bytes) -> None:
    path = secret_file(tmp_path / "p", content)
    assert read_password(repository(path), credentials_directory=None) == Secret(CANARY)
    assert read_secret_file(path, name="usb") == Secret(CANARY)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o601, 0o777])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path / "p", mode=mode)
    with pytest.raises(UnsafeSecretFileError) as caught:
        read_password(repository(path), credentials_directory=None)
    said = str(caught.value)
    assert f"{mode:04o}" in said
    assert "chmod 600" in said
    assert CANARY not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "p")
    os.chown(path, 4242, -1)
    with pytest.raises(ForeignSecretFileError):
        read_password(repository(path), credentials_directory=None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NamedPasswordFileMissingError, match=f"make one.*{tmp_path}/missing"):
        read_password(repository(tmp_path / "missing"), credentials_directory=None)
    with pytest.raises(GeneratedPasswordFileMissingError, match="kuramori init makes one"):
        read_password(repository(tmp_path / "missing", password_generated=True), credentials_directory=None)
    with pytest.raises(PasswordFileMissingError, match=r"where you keep the copy$"):
        read_secret_file(tmp_path / "missing", name="planter")  # of the guide's classes: no command makes it
    with pytest.raises(CredentialError, match="empty"):
        read_password(repository(secret_file(tmp_path / "empty", b" \n")), credentials_directory=None)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for odd in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CredentialError, match="regular file"):
            read_password(repository(odd), credentials_directory=None)
    with pytest.raises(CredentialError, match="neither"):
        read_password(repository(), credentials_directory=None)


def test_a_command() -> None:
    command = (sys.executable, "-c", f"print('{CANARY}')")
    assert read_password(repository(command=command), credentials_directory=None) == Secret(CANARY)


@pytest.mark.parametrize(("command", "words"), [
    (("/nonexistent/program",), "No such file"), ((sys.executable, "-c", f"print('{CANARY}'); exit(3)"), "status 3"),
    ((sys.executable, "-c", "pass"), "empty"), (("a\0b",), "cannot be run"),
])
def test_commands_that_fail(command: tuple[str, ...], words: str) -> None:
    with pytest.raises(CredentialError, match=words) as caught:
        read_password(repository(command=command), credentials_directory=None)
    assert CANARY not in str(caught.value)


def test_a_command_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.0)
    with pytest.raises(CredentialError, match="no answer"):
        read_password(repository(command=(sys.executable, "-c", "input()")), credentials_directory=None)


def test_systemds_credentials_come_first(tmp_path: Path) -> None:
    """And their modes are systemd's business: with access lists they look wider than they are."""
    (tmp_path / "credentials").mkdir()
    file = secret_file(tmp_path / "p", b"another")
    assert read_password(repository(file), credentials_directory=tmp_path / "credentials") == Secret("another")
    secret_file(tmp_path / "credentials" / "usb", mode=0o440)
    assert read_password(repository(file), credentials_directory=tmp_path / "credentials") == Secret(CANARY)


def test_a_generated_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "password-usb"
    password = generate_password_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(password.reveal()) == 32
    assert read_password(repository(path), credentials_directory=None) == password
    with pytest.raises(CredentialError, match="exists already"):
        generate_password_file(path)
    assert read_password(repository(path), credentials_directory=None) == password
    assert generate_password_file(tmp_path / "other") != password


def test_a_password_that_cannot_be_kept_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails while the file is written: no half file stays."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(credentials, "sync_file", fail)
    with pytest.raises(CredentialError, match="Input/output"):
        generate_password_file(tmp_path / "p")
    assert not (tmp_path / "p").exists()
    (tmp_path / "plain").touch()
    with pytest.raises(CredentialError, match="could not be written"):
        generate_password_file(tmp_path / "plain" / "p")
