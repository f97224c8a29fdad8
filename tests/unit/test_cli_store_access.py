"""What options and variables tell a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuramori.cli.application import Application
from kuramori.cli.main import run
from kuramori.cli.store_access import parse_options, store_variables
from kuramori.errors import StorageRetryableError, UsageError
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage import location
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.faulty_backend import FailKind, FaultyBackend
from samples.repositories import QUICK


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[StoreAccess]:
    """A store called ``probe:`` that notes how it was reached, and is empty."""
    seen: list[StoreAccess] = []

    def open_probe(address: str, access: StoreAccess) -> MemoryBackend:
        seen.append(access)
        return MemoryBackend()

    monkeypatch.setitem(location._OPENERS, "probe", open_probe)
    for name in ("CACERT", "TLS_CLIENT_CERT", "LIMIT_UPLOAD", "LIMIT_DOWNLOAD", "CONNECTIONS"):
        for prefix in ("KURAMORI_", "RESTIC_"):
            monkeypatch.delenv(prefix + name, raising=False)
    monkeypatch.setenv("KURAMORI_PASSWORD", "open sesame")
    return seen


def _run(*arguments: str) -> int:
    return run(["--no-cache", *arguments], Application())


def test_options_reach_the_store_before_and_after_the_command(reached: list[StoreAccess]) -> None:
    code = _run("-r", "probe:x", "-o", "probe.first=1", "--limit-upload", "100", "snapshots", "-o", "probe.second=a=b",
                "--connections", "7", "--limit-download", "20", "--cacert", "/ca.pem", "--tls-client-cert", "/me.pem",
                "--insecure-tls", "--stuck-request-timeout", "30s")
    assert code == 10
    [access] = reached
    assert access.options == {"probe.first": "1", "probe.second": "a=b"}
    assert (access.connections, access.limit_upload, access.limit_download) == (7, 100 * 1024, 20 * 1024)
    assert (access.ca_certificates, access.client_certificate) == (Path("/ca.pem"), Path("/me.pem"))
    assert access.insecure_tls
    assert access.stall_seconds == 30


def test_variables_reach_the_store_and_options_come_before_them(reached: list[StoreAccess],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_CACERT", "/restics.pem")
    monkeypatch.setenv("KURAMORI_CACERT", "/ours.pem")
    monkeypatch.setenv("RESTIC_TLS_CLIENT_CERT", "/me.pem")
    monkeypatch.setenv("KURAMORI_LIMIT_UPLOAD", "50")
    monkeypatch.setenv("KURAMORI_LIMIT_DOWNLOAD", "60")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    assert _run("-r", "probe:x", "--limit-upload", "0", "-o", "probe.connections=3", "snapshots") == 10
    [access] = reached
    assert (access.ca_certificates, access.client_certificate) == (Path("/ours.pem"), Path("/me.pem"))
    assert (access.connections, access.limit_upload, access.limit_download) == (3, None, 60 * 1024)
    assert access.variables["AWS_ACCESS_KEY_ID"] == "id"
    assert "KURAMORI_PASSWORD" not in access.variables
    assert "open sesame" not in repr(access)
    assert "id" not in repr(access)


@pytest.mark.parametrize(("arguments", "said"), [
    (("-o", "=x"), "KEY=VALUE"), (("-o", "probe.connections=many"), "probe.connections"),
    (("-o", "backend.connections=0"), "backend.connections"), (("--connections", "0"), "connections"),
    (("--limit-upload", "-1"), "limit-upload"), (("--stuck-request-timeout", "soon"), "duration"),
])
def test_what_makes_no_sense_is_refused_by_name(reached: list[StoreAccess], capsys: pytest.CaptureFixture[str],
                                                arguments: tuple[str, str], said: str) -> None:
    assert _run("-r", "probe:x", *arguments, "snapshots") == 1
    assert said in capsys.readouterr().err


def test_a_variable_that_is_no_number_is_named(reached: list[StoreAccess], capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURAMORI_LIMIT_UPLOAD", "fast")
    assert _run("-r", "probe:x", "snapshots") == 1
    assert "KURAMORI_LIMIT_UPLOAD" in capsys.readouterr().err


def test_options_are_by_restics_names() -> None:
    assert parse_options(("S3.Storage-Class=STANDARD_IA", "sftp.command", "a=1", "a=2")) == {
        "s3.storage-class": "STANDARD_IA", "sftp.command": "", "a": "2"}
    with pytest.raises(UsageError):
        parse_options((" = ",))


def test_stores_see_no_password_of_a_repository() -> None:
    found = store_variables({
        "RESTIC_PASSWORD": "one", "KURAMORI_PASSWORD": "two", "RESTIC_FROM_PASSWORD": "three", "HOME": "/home/mika",
        "RESTIC_REST_USERNAME": "theirs", "KURAMORI_REST_USERNAME": "ours", "RESTIC_REST_PASSWORD": "four",
        "RESTIC_AWS_ASSUME_ROLE_ARN": "arn", "RCLONE_CONFIG": "/r"})
    assert found == {"HOME": "/home/mika", "RESTIC_REST_USERNAME": "ours", "RESTIC_REST_PASSWORD": "four",
                     "RESTIC_AWS_ASSUME_ROLE_ARN": "arn", "RCLONE_CONFIG": "/r"}


def test_the_source_of_a_copy_may_have_variables_of_its_own() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "target", "AWS_SESSION_TOKEN": "target", "AZURE_ACCOUNT_NAME": "both", "HOME": "/h",
        "RESTIC_REST_USERNAME": "target", "RESTIC_REST_PASSWORD": "target",
        "RESTIC_FROM_AWS_ACCESS_KEY_ID": "theirs", "KURAMORI_FROM_AWS_ACCESS_KEY_ID": "source",
        "KURAMORI_FROM_AWS_SECRET_ACCESS_KEY": "source", "RESTIC_FROM_REST_USERNAME": "source",
        "RESTIC_FROM_PASSWORD": "never", "KURAMORI_FROM_REPOSITORY": "s3:x", "KURAMORI_FROM_KEY_HINT": "ab"}
    assert store_variables(environment, source_of_copy=True) == {
        "AWS_ACCESS_KEY_ID": "source", "AWS_SECRET_ACCESS_KEY": "source", "AZURE_ACCOUNT_NAME": "both", "HOME": "/h",
        "RESTIC_REST_USERNAME": "source"}
    assert store_variables(environment)["AWS_ACCESS_KEY_ID"] == "target"


@pytest.mark.parametrize("command", [["snapshots"], ["status"]])
def test_what_is_tried_again_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str],
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """Of a repository of the settings, by the engine's commands and by the manager's."""
    store = MemoryBackend()
    create_repository(store, Secret("open sesame"), CreateOptions(kdf=QUICK))
    busy = StorageRetryableError(location="there", operation="load", name="config", detail="it is busy")
    seen: list[StoreAccess] = []

    def open_far(address: str, access: StoreAccess) -> Backend:
        seen.append(access)
        return FaultyBackend(store, FailKind("load", busy, times=1))

    monkeypatch.setitem(location._OPENERS, "far", open_far)
    monkeypatch.setenv("KURAMORI_STATE_DIR", str(tmp_path / "state"))
    password = tmp_path / "password"
    password.write_text("open sesame")
    password.chmod(0o600)
    settings = tmp_path / "kuramori.toml"
    settings.write_text(f'''
[repositories.far]
location = "far:x"
password_file = "{password}"
connections = 3
limit_upload = "1K"
options = {{ "far.first" = "settings", "far.second" = "settings" }}
[jobs.planter.components.images]
kind = "files"
source = "{tmp_path}"
''')
    settings.chmod(0o600)
    chosen = ["-r", "far"] if command == ["snapshots"] else []
    typed = ["-o", "far.second=typed", "--limit-upload", "7"]
    run(["--settings", str(settings), *chosen, *typed, *command], Application())
    assert "it is busy" in (said := capsys.readouterr().err)
    assert "trying again in" in said
    assert seen[0].connections == 3
    assert seen[0].limit_upload == 7 * 1024
    assert seen[0].options == {"far.first": "settings", "far.second": "typed"}
