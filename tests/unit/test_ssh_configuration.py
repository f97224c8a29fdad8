"""What the user's OpenSSH configuration is understood to say, beside what ssh itself understands (``ssh -G``)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.storage.sftp_address import SshArguments, parse_ssh_arguments
from kuramori.storage.ssh_configuration import ConfigurationUnusableError, SshUser, find_way

CONFIGURATION = """\
Include more/*.conf
Host vault
  HostName vault.example.org
  Port 2222
  IdentityFile ~/.ssh/%n_key
  HostKeyAlias the-vault
Host deep
  ProxyJump first,someone@second:2200
Host looped
  ProxyJump looped
Host *.example.net !odd.example.net
  User guest
Match host vault.example.org user root
  Port 1
Match final host late.example.org
  User final
Host late
  HostName late.example.org
Host *
  User everybody
  UserKnownHostsFile ~/.ssh/known ~/.ssh/known_too
"""


@pytest.fixture
def user(tmp_path: Path) -> SshUser:
    """A user whose home folder is not the process's."""
    ssh = tmp_path / ".ssh"
    (ssh / "more").mkdir(parents=True)
    (ssh / "config").write_text(CONFIGURATION)
    (ssh / "more" / "one.conf").write_text("Host included\n  HostName included.example.org\n  IdentityFile %d/key\n")
    return SshUser("me", tmp_path, None)


NONE = SshArguments()


@pytest.mark.parametrize("host", ["vault", "a.example.net", "odd.example.net", "late", "plain", "192.0.2.1"])
def test_hosts_are_understood_as_ssh_does(user: SshUser, host: str, require_program: Callable[[str], str]) -> None:
    require_program("ssh")
    found = subprocess.run(["ssh", "-G", "-F", user.home / ".ssh" / "config", host], capture_output=True, text=True,
                           check=True).stdout
    expected = dict(line.split(" ", 1) for line in found.splitlines() if " " in line)
    [hop] = find_way(user, host, None, None, NONE)
    assert (hop.host, str(hop.port), hop.user) == (expected["hostname"], expected["port"], expected["user"])


def test_files_are_those_of_this_user_and_not_of_the_process(user: SshUser) -> None:
    [vault] = find_way(user, "vault", None, None, NONE)
    assert [str(user.file(str(name))) for name in vault.configuration.get("IdentityFile")] == [  # type: ignore[union-attr]
        str(user.home / ".ssh" / "vault_key")]
    assert vault.known_hosts.files[:2] == (user.home / ".ssh" / "known", user.home / ".ssh" / "known_too")
    assert vault.known_name == "the-vault"
    [included] = find_way(user, "included", None, None, NONE)
    assert included.host == "included.example.org"
    assert included.configuration.get("IdentityFile") == [f"{user.home}/key"]


def test_the_location_comes_before_the_arguments_and_these_before_the_files(user: SshUser) -> None:
    arguments = parse_ssh_arguments("-p 77 -l arguments")
    [hop] = find_way(user, "vault", None, None, arguments)
    assert (hop.port, hop.user) == (77, "arguments")
    [hop] = find_way(user, "vault", 88, "location", arguments)
    assert (hop.port, hop.user) == (88, "location")
    [hop] = find_way(user, "vault", None, "root", NONE)
    assert (hop.port, hop.user) == (2222, "root")


def test_jump_hosts_come_in_their_order(user: SshUser) -> None:
    assert [(hop.host, hop.port, hop.user) for hop in find_way(user, "deep", None, None, NONE)] == [
        ("first", 22, "everybody"), ("second", 2200, "someone"), ("deep", 22, "everybody")]
    arguments = parse_ssh_arguments("-J ssh://a@[::1]:23/,vault")
    assert [(hop.host, hop.port, hop.user) for hop in find_way(user, "plain", None, None, arguments)] == [
        ("::1", 23, "a"), ("vault.example.org", 2222, "everybody"), ("plain", 22, "everybody")]
    assert len(find_way(user, "looped", None, None, NONE)) == 1


@pytest.mark.parametrize("text", ["Port many", "Host", "User 'me", "ProxyJump host:port"])
def test_what_cannot_be_understood_is_said(user: SshUser, text: str) -> None:
    (user.home / ".ssh" / "config").write_text(f"{text}\n")
    with pytest.raises(ConfigurationUnusableError):
        find_way(user, "vault", None, None, NONE)


def test_no_configuration_at_all(user: SshUser) -> None:
    [hop] = find_way(user, "vault", None, None, SshArguments(file="none"))
    assert (hop.host, hop.port, hop.user) == ("vault", 22, "me")


def test_the_user_is_who_the_variables_say() -> None:
    user = SshUser.of_variables({"HOME": "/home/me", "USER": "me", "SSH_AUTH_SOCK": "/run/agent"})
    assert (user.name, user.home, user.agent) == ("me", Path("/home/me"), "/run/agent")
    assert user.file("~/.ssh/key") == Path("/home/me/.ssh/key")
    assert user.file("/etc/key") == Path("/etc/key")
    assert SshUser.of_variables({}).home.is_absolute()
