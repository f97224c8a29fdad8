"""From the command line to a manager: repositories and their passwords are made together, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.cli.application import Application
from kuramori.cli.settings_access import (
    application_secrets,
    has_settings,
    initialise_repositories,
    load_application_settings,
    open_manager,
    settings_defaults,
)
from kuramori.errors import KuramoriError, PasswordFileMissingError, RepositoryAwayError, StateError
from kuramori.manager.model import RunState
from kuramori.settings.credentials import generate_password_file

_LINES = """
state_directory = "state"
[repositories.usb]
location = "disk/backup"
[jobs.planter.components.images]
kind = "files"
source = "images"
"""


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """A command in a folder with a settings file and something to save."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a").write_text("leaf")
    (tmp_path / "disk").mkdir()
    (tmp_path / "kuramori.toml").write_text(_LINES)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Application()


def test_repositories_and_passwords_are_made_together(application: Application, tmp_path: Path) -> None:
    settings = load_application_settings(application)
    [first] = initialise_repositories(application, settings)
    assert (first.made.created, first.new_password_file) == (True, tmp_path / "password-usb")
    assert (tmp_path / "password-usb").stat().st_mode & 0o777 == 0o600
    [again] = initialise_repositories(application, settings)
    assert (again.made.created, again.new_password_file) == (False, None)
    assert again.made.repository_id == first.made.repository_id
    assert open_manager(application, settings).back_up("planter").state is RunState.COMPLETE
    assert (tmp_path / "state" / "history.sqlite").exists()


def test_no_password_is_made_beside_a_repository_that_has_one(application: Application, tmp_path: Path) -> None:
    """Whether the repository is there, or its disk is away for the moment."""
    settings = load_application_settings(application)
    list(initialise_repositories(application, settings))
    kept = (tmp_path / "password-usb").rename(tmp_path / "kept")
    with pytest.raises(PasswordFileMissingError):
        list(initialise_repositories(application, settings))
    assert not (tmp_path / "password-usb").exists()
    with pytest.raises(PasswordFileMissingError):
        open_manager(application, settings).list_runs()
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    with pytest.raises(RepositoryAwayError):
        list(initialise_repositories(application, settings))
    assert not (tmp_path / "password-usb").exists()
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    kept.rename(tmp_path / "password-usb")
    [again] = initialise_repositories(application, settings)
    assert not again.made.created


def test_a_named_password_file_is_never_made(application: Application, tmp_path: Path) -> None:
    path = tmp_path / "kuramori.toml"
    path.write_text(_LINES.replace('backup"', 'backup"\npassword_file = "mine"'))
    with pytest.raises(PasswordFileMissingError):
        list(initialise_repositories(application, load_application_settings(application)))
    assert not (tmp_path / "mine").exists()


def test_a_store_that_cannot_be_written_leaves_no_password(application: Application, tmp_path: Path) -> None:
    (tmp_path / "disk" / "backup").write_text("a file is in the way")
    with pytest.raises(KuramoriError):
        list(initialise_repositories(application, load_application_settings(application)))
    assert not (tmp_path / "password-usb").exists()


def test_the_password_of_a_repository_that_was_made_is_kept_whatever_fails_then(application: Application,
                                                                               tmp_path: Path) -> None:
    """Here this machine cannot note that it made one: without the file nobody could open it any more."""
    (tmp_path / "state").write_text("a file is in the way")
    settings = load_application_settings(application)
    with pytest.raises(StateError):
        list(initialise_repositories(application, settings))
    assert (tmp_path / "disk" / "backup" / "config").exists()
    assert (tmp_path / "password-usb").exists()
    (tmp_path / "state").unlink()
    [again] = initialise_repositories(application, settings)
    assert not again.made.created


def test_a_command_gets_the_settings_and_the_passwords(application: Application, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file of this folder; systemd's credentials come before the file."""
    settings = load_application_settings(application)
    assert settings.path == tmp_path / "kuramori.toml"
    assert settings.state_directory == tmp_path / "state"
    generate_password_file(tmp_path / "password-usb")
    usb = settings.repositories["usb"]
    assert application_secrets(application)(usb).reveal() == (tmp_path / "password-usb").read_text().strip()
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "usb").write_text("from systemd")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert application_secrets(application)(usb).reveal() == "from systemd"


def test_defaults_of_the_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also of a service, which has no HOME."""
    monkeypatch.delenv("HOME")
    home = settings_defaults().home
    assert home is not None
    assert home.is_absolute()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_defaults().home == tmp_path
    if os.geteuid() == 0:
        monkeypatch.delenv("KURAMORI_STATE_DIR")
        assert settings_defaults().state_directory == Path("/var/lib/kuramori")


@pytest.mark.parametrize(("named", "variables", "expected"), [
    ({}, {}, True),
    ({"repository": "/b"}, {}, False), ({"repository_file": "f"}, {}, False),
    ({}, {"RESTIC_REPOSITORY": "/b"}, False), ({}, {"KURAMORI_REPOSITORY_FILE": "f"}, False),
    ({"settings_path": "x.toml"}, {"RESTIC_REPOSITORY": "/b"}, True),
    ({"settings_path": "x.toml", "repository": "/b"}, {}, False),
    ({}, {"KURAMORI_SETTINGS": "x.toml"}, True),
    ({}, {"KURAMORI_SETTINGS": "x.toml", "KURAMORI_REPOSITORY": "/b"}, False),
])
def test_when_commands_go_by_the_settings(application: Application, monkeypatch: pytest.MonkeyPatch,
                                          named: dict[str, str], variables: dict[str, str], expected: bool) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_settings(Application(**named)) is expected


def test_without_any_file_commands_go_by_the_engine(application: Application, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kuramori.toml").unlink()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if not os.path.exists("/etc/kuramori/kuramori.toml"):
        assert not has_settings(application)
