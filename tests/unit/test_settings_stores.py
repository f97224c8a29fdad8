"""How the settings say what a store is reached with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from kuramori.errors import (
    CredentialError,
    EnvironmentFileMissingError,
    MissingExtraError,
    SettingsError,
    StoreCredentialError,
    UnsafeSecretFileError,
)
from kuramori.secret import Secret
from kuramori.settings.credentials import read_password
from kuramori.settings.inspection import inspect_settings
from kuramori.settings.loading import load_settings
from kuramori.settings.model import MaintenanceSettings, RepositorySettings, StoreSettings
from kuramori.settings.store_access import make_access, read_environment_file
from kuramori.storage.access import NO_ACCESS, StoreAccess, lay_over
from samples.settings_files import DEFAULTS, EVERYTHING, SMALLEST, parse

CANARY = "canary-3141"


class _Keyring(keyring.backend.KeyringBackend):
    """A keyring in memory; locked, it refuses."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, entries: dict[tuple[str, str], str], *, locked: bool = False) -> None:
        super().__init__()
        self._entries = entries
        self._locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        if self._locked:
            raise keyring.errors.KeyringLocked("it is locked")
        return self._entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._entries[service, username] = password


@pytest.fixture
def keys() -> Iterator[dict[tuple[str, str], str]]:
    """The entries of the keyring that counts."""
    entries: dict[tuple[str, str], str] = {}
    before = keyring.get_keyring()
    keyring.set_keyring(_Keyring(entries))
    yield entries
    keyring.set_keyring(before)


def _file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def _access(store: StoreSettings, known: StoreAccess = NO_ACCESS, folder: Path | None = None) -> StoreAccess:
    return make_access(RepositorySettings("usb", "/b", store=store), known, credentials_directory=folder)


# --- what the file says ----------------------------------------------------------------------


def test_every_key_arrives() -> None:
    usb = parse(EVERYTHING).repositories["usb"]
    assert usb.store == StoreSettings(
        connections=3, limit_upload=500 * 1024, limit_download=2048,
        options={"s3.storage-class": "STANDARD_IA", "sftp.args": "-p 2222"},
        environment={"AWS_DEFAULT_REGION": "eu-west-1", "AWS_PORT": "9000"},
        environment_file=Path("/etc/kuramori/usb.env"), environment_keyring={"AWS_SECRET_ACCESS_KEY": "kuramori/aws"},
        ca_certificates=Path("/etc/kuramori/ca.pem"), client_certificate=Path("/etc/kuramori/client.pem"),
        insecure_tls=True, object_lock_days=30)
    assert usb.maintenance == MaintenanceSettings(
        location="/mnt/usb/whole", password_keyring="kuramori/maintenance",
        environment_file=Path("/etc/kuramori/maintenance.env"))


@pytest.mark.parametrize(("lines", "said"), [
    ("conections = 3", "connections"), ("connections = 0", "1 to 1000"), ('limit_upload = "fast"', '"500K"'),
    ("insecure_tls = 'yes'", "true or false"), ("object_lock_days = 0", "from 1"),
    ('options = "s3.storage-class"', "table"), ("options = { a = [1] }", "no text"),
    (f'environment = {{ "A-B" = "{CANARY}" }}', "name of a variable"), (f'environment = ["{CANARY}"]', "table"),
    ('password_keyring = "kuramori"', "service"), ('environment_keyring = { A = "b" }', "service"),
    ('password_file = "a"\npassword_keyring = "a/b"', "only one"), ("maintenance = 1", "[maintenance]"),
    ("[repositories.usb.maintenance]\nenvironmint_file = 'a'", "environment_file"),
    ("[repositories.usb.maintenance]\nlocation = 'nowhere:x'", "location"),
])
def test_what_is_wrong_is_named(lines: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(SMALLEST.replace("[jobs", lines + "\n[jobs", 1))
    assert said in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("lines", "refused"), [
    (f'environment = {{ AWS_SECRET_ACCESS_KEY = "{CANARY}" }}', True),
    ('environment = { AWS_DEFAULT_REGION = "x" }', False),
    (f'options = {{ "x.password" = "{CANARY}" }}', True), ('options = { "s3.storage-class" = "x" }', False),
    (f'[repositories.usb.maintenance.environment]\nRESTIC_REST_PASSWORD = "{CANARY}"', True),
])
def test_secrets_in_a_file_that_others_may_read_are_refused(tmp_path: Path, lines: str, refused: bool) -> None:
    path = _file(tmp_path / "kuramori.toml", SMALLEST.replace("[jobs", lines + "\n[jobs", 1), 0o644)
    if refused:
        with pytest.raises(SettingsError, match="chmod 600") as caught:
            load_settings(path, DEFAULTS)
        assert CANARY not in str(caught.value)
    path.chmod(0o600 if refused else 0o644)
    load_settings(path, DEFAULTS)


def test_what_deserves_a_look(tmp_path: Path) -> None:
    lines = f"""environment_file = "{tmp_path}/missing.env"
ca_certificates = "{tmp_path}/missing.pem"
insecure_tls = true
[repositories.usb.maintenance]
environment_file = "{_file(tmp_path / 'open.env', 'A=b', 0o644)}"
password_file = "{tmp_path}/missing"
[jobs"""
    found = {problem.keys[2:] for problem in inspect_settings(parse(SMALLEST.replace("[jobs", lines, 1)))
             if problem.keys[:2] == ("repositories", "usb")}
    assert {("environment_file",), ("ca_certificates",), ("insecure_tls",), ("maintenance", "environment_file"),
            ("maintenance", "password_file")} <= found


# --- variables -------------------------------------------------------------------------------


def test_an_environment_file_is_read_as_systemd_and_shells_write_them(tmp_path: Path) -> None:
    path = _file(tmp_path / "env", "# comment\n\n; another\nA=b\nexport C = d e \nE='#f'\nG=\"h\"\nI=\nJ==k\r\n")
    assert read_environment_file(path, name="usb") == {
        "A": "b", "C": "d e", "E": "#f", "G": "h", "I": "", "J": "=k"}


def test_an_environment_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFileMissingError, match="chmod 600"):
        read_environment_file(tmp_path / "missing", name="usb")
    with pytest.raises(UnsafeSecretFileError, match="0644"):
        read_environment_file(_file(tmp_path / "open", "A=b", 0o644), name="usb")
    assert read_environment_file(tmp_path / "open", name="usb", guarded=True) == {"A": "b"}
    with pytest.raises(StoreCredentialError, match="line 2") as caught:
        read_environment_file(_file(tmp_path / "bad", f"A=b\n{CANARY}\n"), name="usb")
    assert CANARY not in str(caught.value)
    with pytest.raises(StoreCredentialError):
        read_environment_file(tmp_path, name="usb")


def test_the_later_source_counts(tmp_path: Path, keys: dict[tuple[str, str], str]) -> None:
    store = StoreSettings(environment={"A": "text", "B": "text", "C": "text", "D": "text"},
                          environment_file=_file(tmp_path / "env", "B=file\nC=file\nD=file\n"),
                          environment_keyring={"C": "service/c", "D": "service/d"})
    keys |= {("service", "c"): "keyring", ("service", "d"): "keyring"}
    folder = tmp_path / "credentials"
    folder.mkdir()
    _file(folder / "usb.environment", "D=systemd", 0o444)
    found = _access(store, StoreAccess(variables={"A": "outside", "Z": "outside"}), folder).variables
    assert found == {"A": "text", "B": "file", "C": "keyring", "D": "systemd", "Z": "outside"}


def test_credentials_of_two_accounts_are_not_mixed() -> None:
    outside = {"AWS_SESSION_TOKEN": "theirs", "AWS_DEFAULT_REGION": "theirs", "AZURE_ACCOUNT_KEY": "theirs",
               "RESTIC_REST_USERNAME": "theirs", "HOME": "/h"}
    assert lay_over(outside, {"AWS_ACCESS_KEY_ID": "own", "RESTIC_REST_PASSWORD": "own"}) == {
        "AWS_ACCESS_KEY_ID": "own", "AWS_DEFAULT_REGION": "theirs", "AZURE_ACCOUNT_KEY": "theirs",
        "RESTIC_REST_PASSWORD": "own", "HOME": "/h"}
    assert lay_over(outside, {"AWS_DEFAULT_REGION": "own"}) == outside | {"AWS_DEFAULT_REGION": "own"}


def test_settings_come_before_what_is_known_otherwise() -> None:
    known = StoreAccess(options={"a": "1", "b": "1"}, connections=9, limit_upload=9, stall_seconds=9.0)
    found = _access(StoreSettings(options={"b": "2"}, connections=2, limit_download=2, object_lock_days=3), known)
    assert found == StoreAccess(options={"a": "1", "b": "2"}, connections=2, limit_upload=9, limit_download=2,
                                object_lock_days=3, stall_seconds=9.0)
    assert _access(StoreSettings(), known) == known


# --- the keyring -----------------------------------------------------------------------------


def test_a_password_from_the_keyring(keys: dict[tuple[str, str], str]) -> None:
    keys["kuramori", "usb"] = CANARY
    repository = RepositorySettings("usb", "/b", password_keyring="kuramori/usb")
    assert read_password(repository, credentials_directory=None) == Secret(CANARY)


def test_a_keyring_without_the_entry_and_a_locked_one(keys: dict[tuple[str, str], str]) -> None:
    repository = RepositorySettings("usb", "/b", password_keyring="kuramori/usb")
    with pytest.raises(CredentialError, match="keyring set kuramori usb"):
        read_password(repository, credentials_directory=None)
    with pytest.raises(StoreCredentialError, match="keyring set kuramori aws"):
        _access(StoreSettings(environment_keyring={"A": "kuramori/aws"}))
    keyring.set_keyring(_Keyring(keys, locked=True))
    with pytest.raises(CredentialError, match="it is locked"):
        read_password(repository, credentials_directory=None)


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingExtraError, match=r"kuramori\[keyring\]"):
        read_password(RepositorySettings("usb", "/b", password_keyring="kuramori/usb"), credentials_directory=None)


# --- maintenance -----------------------------------------------------------------------------


def test_without_a_section_a_cleanup_uses_what_backups_use() -> None:
    repository = RepositorySettings("usb", "/b", password_file=Path("/p"))
    assert repository.for_maintenance() is repository


def test_a_cleanup_has_its_own_credentials(tmp_path: Path) -> None:
    repository = RepositorySettings(
        "usb", "/b", password_file=_file(tmp_path / "p", "password"), key_hint="abcd",
        store=StoreSettings(environment={"AWS_ACCESS_KEY_ID": "backup", "AWS_SESSION_TOKEN": "backup"}, connections=3),
        maintenance=MaintenanceSettings(location="/other", environment={"AWS_ACCESS_KEY_ID": "cleanup"}))
    found = repository.for_maintenance()
    assert (found.name, found.location, found.key_hint) == ("usb", "/other", "abcd")
    assert read_password(found, credentials_directory=None) == Secret("password")
    access = make_access(found, NO_ACCESS, credentials_directory=None)
    assert access == StoreAccess(variables={"AWS_ACCESS_KEY_ID": "cleanup"}, connections=3)


def test_systemd_gives_a_cleanup_its_own_secrets(tmp_path: Path) -> None:
    for name, content in (("usb", "backup"), ("usb.environment", "A=backup"), ("usb.maintenance", "cleanup"),
                          ("usb.maintenance.environment", "A=cleanup")):
        _file(tmp_path / name, content)
    repository = RepositorySettings("usb", "/b", maintenance=MaintenanceSettings())
    assert read_password(repository, credentials_directory=tmp_path) == Secret("backup")
    assert make_access(repository, NO_ACCESS, credentials_directory=tmp_path).variables == {"A": "backup"}
    own = repository.for_maintenance()
    assert read_password(own, credentials_directory=tmp_path) == Secret("cleanup")
    assert make_access(own, NO_ACCESS, credentials_directory=tmp_path).variables == {"A": "cleanup"}
    (tmp_path / "usb.maintenance").unlink()
    assert read_password(own, credentials_directory=tmp_path) == Secret("backup")


def test_a_password_of_its_own_is_not_replaced_by_the_one_of_backups(tmp_path: Path) -> None:
    _file(tmp_path / "usb", "backup")
    repository = RepositorySettings("usb", "/b", key_hint="abcd", maintenance=MaintenanceSettings(
        password_file=_file(tmp_path / "p", "cleanup")))
    own = repository.for_maintenance()
    assert own.key_hint == ""
    assert read_password(own, credentials_directory=tmp_path) == Secret("cleanup")
