"""Whom an SSH server must be, and who is let in: one sentence with the cause and the cure, before anything is sent."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.errors import (
    FileNotInStorageError,
    HostKeyChangedError,
    HostKeyRefusedError,
    HostKeyUnknownError,
    SshLoginError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend
from kuramori.storage.location import open_backend
from samples.ssh_server import SshServer, make_key


def _open(server: SshServer, access: StoreAccess | None = None) -> Backend:
    return open_backend(server.location(secrets.token_hex(8)), access or server.access())


def _let_in(backend: Backend) -> bool:
    """Tell whether the store can be asked; it is empty."""
    with pytest.raises(FileNotInStorageError):
        backend.size(CONFIG_HANDLE)
    backend.close()
    return True


def _other_line(server: SshServer, tmp_path: Path, kind: str = "ed25519") -> str:
    """Return a line that is not true of a server."""
    key = make_key(tmp_path / f"other-{kind}", kind=kind).with_suffix(".pub").read_text().split()
    return f"[127.0.0.1]:{server.port} {key[0]} {key[1]}\n"


# --- the server's key ------------------------------------------------------------------------


def test_a_server_that_nobody_has_named_is_not_talked_to(ssh_server: SshServer) -> None:
    ssh_server.trust("")
    with pytest.raises(HostKeyUnknownError) as caught:
        _open(ssh_server).size(CONFIG_HANDLE)
    told = str(caught.value)
    shown = subprocess.run(["ssh-keygen", "-lf", ssh_server.host_key.with_name("host_key.pub")], capture_output=True,
                           text=True, check=True).stdout.split()[1]
    assert shown.startswith("SHA256:")
    assert shown in told
    assert f"127.0.0.1 port {ssh_server.port}" in told
    assert "ssh daemon@vault" in told.replace(ssh_server.user, "daemon")
    assert not caught.value.retryable


def test_a_changed_key_is_refused_loudly_and_the_line_named(ssh_server: SshServer, tmp_path: Path) -> None:
    ssh_server.trust("# mine\n" + _other_line(ssh_server, tmp_path))
    with pytest.raises(HostKeyChangedError) as caught:
        _open(ssh_server).create()
    told = str(caught.value)
    assert "HAS CHANGED" in told
    assert f"{ssh_server.home / '.ssh' / 'known_hosts'}:2" in told
    assert f"ssh-keygen -R '[127.0.0.1]:{ssh_server.port}'" in told
    assert not caught.value.retryable


def test_a_key_of_another_kind_than_the_known_one_is_no_way_round(ssh_server: SshServer, tmp_path: Path) -> None:
    ssh_server.trust(_other_line(ssh_server, tmp_path, "ecdsa"))
    with pytest.raises(HostKeyChangedError, match="ssh-ed25519"):
        _open(ssh_server).create()


def test_a_revoked_key_is_refused_though_it_is_known(ssh_server: SshServer) -> None:
    ssh_server.trust(ssh_server.host_line() + "@revoked " + ssh_server.host_line())
    with pytest.raises(HostKeyRefusedError, match="revoked"):
        _open(ssh_server).create()


@pytest.mark.parametrize("setting", ["UserKnownHostsFile none", "UserKnownHostsFile /dev/null",
                                     "StrictHostKeyChecking no"])
def test_no_setting_switches_the_check_off(ssh_server: SshServer, tmp_path: Path, setting: str) -> None:
    configuration = tmp_path / "config"
    configuration.write_text(f"{setting}\n{ssh_server.client_configuration()}")
    ssh_server.trust("")
    with pytest.raises(HostKeyUnknownError):
        _open(ssh_server, ssh_server.access(options={"sftp.args": f"-F {configuration}"})).create()


def test_the_key_of_the_address_is_not_the_key_of_the_name(ssh_server: SshServer, tmp_path: Path) -> None:
    """A name that is made to point to another server of the user's must not pass for it."""
    configuration = tmp_path / "config"
    configuration.write_text(ssh_server.client_configuration().replace("HostName 127.0.0.1", "HostName localhost"))
    access = ssh_server.access(options={"sftp.args": f"-4 -F {configuration}"})
    with pytest.raises(HostKeyUnknownError):
        _open(ssh_server, access).create()
    ssh_server.trust(ssh_server.host_line().replace("127.0.0.1", "localhost"))
    assert _let_in(_open(ssh_server, access))


def test_hashed_names_and_odd_lines_are_read(ssh_server: SshServer) -> None:
    known = ssh_server.home / ".ssh" / "known_hosts"
    ssh_server.trust(ssh_server.host_line())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    known.write_bytes(b"nonsense\n\xff\xfe broken ssh-ed25519 AAAA\n@strange a b\n" + known.read_bytes())
    assert _let_in(_open(ssh_server))


def test_an_authority_may_vouch_for_a_server(sshd: str, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "authority")
    server = SshServer(sshd)
    try:
        subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "vault", "-h", "-n", "127.0.0.1",
                        server.host_key.with_name("host_key.pub")], check=True, capture_output=True)
        certificate = server.host_key.with_name("host_key-cert.pub")
        certificate.chmod(0o644)
        server.kill()
        server.settings = [f"HostCertificate {certificate}"]
        server.start()
        public = authority.with_suffix(".pub").read_text()
        server.trust(f"@cert-authority [127.0.0.1]:{server.port} {public}")
        assert _let_in(_open(server))
        server.trust("")
        with pytest.raises(HostKeyUnknownError):
            _open(server).create()
    finally:
        server.remove()


# --- the user's key --------------------------------------------------------------------------


@pytest.fixture
def stranger(ssh_server: SshServer, tmp_path: Path) -> StoreAccess:
    """A home folder with a key that is not let in, and no configuration."""
    ssh = tmp_path / "stranger" / ".ssh"
    ssh.mkdir(parents=True)
    make_key(ssh / "id_ed25519")
    (ssh / "known_hosts").write_text(ssh_server.host_line())
    return StoreAccess(variables={"HOME": str(ssh.parent), "USER": "somebody"})


def _plainly(server: SshServer, access: StoreAccess) -> Backend:
    """Open the server by its address, without a configuration."""
    return open_backend(f"sftp://{server.user}@127.0.0.1:{server.port}/{secrets.token_hex(8)}", access)


def test_a_key_that_is_not_let_in(ssh_server: SshServer, stranger: StoreAccess) -> None:
    with pytest.raises(SshLoginError) as caught:
        _plainly(ssh_server, stranger).create()
    told = str(caught.value)
    assert f"{stranger.variables['HOME']}/.ssh/id_ed25519" in told
    assert "the server takes: publickey" in told
    assert f"ssh -p {ssh_server.port} {ssh_server.user}@127.0.0.1" in told
    assert not caught.value.retryable


def test_no_key_at_all(ssh_server: SshServer, stranger: StoreAccess) -> None:
    Path(stranger.variables["HOME"], ".ssh", "id_ed25519").unlink()
    with pytest.raises(SshLoginError, match="no key that could be tried"):
        _plainly(ssh_server, stranger).create()


def test_the_usual_key_of_the_home_folder_needs_no_configuration(ssh_server: SshServer, stranger: StoreAccess) -> None:
    ssh_server.authorize(Path(stranger.variables["HOME"], ".ssh", "id_ed25519"))
    assert _let_in(_plainly(ssh_server, stranger))


def test_a_key_that_cannot_be_read_is_named(ssh_server: SshServer, stranger: StoreAccess) -> None:
    key = Path(stranger.variables["HOME"], ".ssh", "id_ed25519")
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(SshLoginError, match=f"the key {key} cannot be read"):
        _plainly(ssh_server, stranger).create()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an empty agent."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # what it prints once it listens
    yield socket
    process.kill()
    process.wait()


def _give(agent: Path, key: Path, passphrase: str, tmp_path: Path) -> None:
    asking = tmp_path / "asking"
    asking.write_text(f"#!/bin/sh\necho {passphrase}\n")
    asking.chmod(0o700)
    subprocess.run(["ssh-add", "-q", key], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                   env={**os.environ, "SSH_AUTH_SOCK": str(agent), "SSH_ASKPASS": str(asking),
                        "SSH_ASKPASS_REQUIRE": "force"})


def test_a_key_with_a_passphrase_needs_the_agent(ssh_server: SshServer, stranger: StoreAccess, agent: Path,
                                                 tmp_path: Path) -> None:
    key = Path(stranger.variables["HOME"], ".ssh", "id_ed25519")
    key.unlink()
    make_key(key, passphrase="sesame")
    ssh_server.authorize(key)
    with pytest.raises(SshLoginError, match=f"ssh-add {key}"):
        _plainly(ssh_server, stranger).create()
    with_agent = StoreAccess(variables={**stranger.variables, "SSH_AUTH_SOCK": str(agent)})
    with pytest.raises(SshLoginError, match=f"ssh-add {key}"):
        _plainly(ssh_server, with_agent).create()
    _give(agent, key, "sesame", tmp_path)
    assert _let_in(_plainly(ssh_server, with_agent))


def test_the_agent_is_asked_for_the_named_key_alone(ssh_server: SshServer, stranger: StoreAccess, agent: Path,
                                                    tmp_path: Path) -> None:
    """With IdentitiesOnly the many keys of an agent do not use up the server's patience."""
    for number in range(7):
        _give(agent, make_key(tmp_path / f"key{number}"), "", tmp_path)
    named = make_key(tmp_path / "named", passphrase="sesame")
    ssh_server.authorize(named)
    _give(agent, named, "sesame", tmp_path)
    access = StoreAccess(variables={**stranger.variables, "SSH_AUTH_SOCK": str(agent)},
                         options={"sftp.args": f"-i {named} -o IdentitiesOnly=yes"})
    assert _let_in(_plainly(ssh_server, access))
    access = StoreAccess(variables=access.variables, options={"sftp.args": f"-i {named}"})
    assert _let_in(_plainly(ssh_server, access))  # of those of the agent it is tried first
    with pytest.raises(SshLoginError):
        _plainly(ssh_server, StoreAccess(variables=access.variables)).create()


def test_an_agent_that_is_gone_is_named(ssh_server: SshServer, stranger: StoreAccess, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(SshLoginError, match=f"the agent at {gone} does not answer"):
        _plainly(ssh_server, StoreAccess(variables={**stranger.variables, "SSH_AUTH_SOCK": str(gone)})).create()
