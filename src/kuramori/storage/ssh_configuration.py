"""What the user's OpenSSH configuration says of a server: ``~/.ssh/config``, keys, the agent.

The home folder, the user and the agent are those of :class:`~kuramori.storage.access.StoreAccess`, never those of the
process: a daemon may serve several users' repositories. That is why the configuration is read here and handed to
asyncssh complete, instead of letting it look around by itself.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from asyncssh.config import ConfigParseError, SSHClientConfig

from kuramori.storage.sftp_address import SshArguments
from kuramori.storage.ssh_host_keys import KnownHosts

_SYSTEM_FILE = Path("/etc/ssh/ssh_config")
_USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
"""In the order in which OpenSSH tries them."""
_MOST_JUMPS = 8


class ConfigurationUnusableError(Exception):
    """The user's configuration cannot be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class SshUser:
    """Whose configuration, keys and agent are used."""

    name: str
    home: Path
    agent: str | None
    """Path of the agent's socket."""

    @classmethod
    def of_variables(cls, variables: Mapping[str, str]) -> SshUser:
        """Return the user that environment variables speak of; what they do not say, the system's accounts do."""
        try:
            account = pwd.getpwuid(os.getuid())
        except KeyError:  # a container may have numbers without names
            account = None
        name = variables.get("USER") or variables.get("LOGNAME") or (account.pw_name if account else "root")
        home = variables.get("HOME") or (account.pw_dir if account else "/")
        return cls(name, Path(home), variables.get("SSH_AUTH_SOCK") or None)

    def file(self, text: str) -> Path:
        """Return a file that a configuration names, with ``~`` for this user's home."""
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        return Path(text).expanduser()


class _Configuration(SSHClientConfig):
    """asyncssh's reading of a configuration, in which ``~``, ``%d`` and relative includes mean a user's home."""

    home = Path("/")

    def _of(self, home: Path) -> None:
        self.home = home
        self._default_path = home / ".ssh"

    def _set_tokens(self) -> None:
        super()._set_tokens()
        self._tokens["d"] = str(self.home)


@dataclass(frozen=True, slots=True)
class SshHop:
    """One server on the way: a jump host, or the last one."""

    alias: str
    """As it is named in the location or in ``ProxyJump``."""
    host: str
    port: int
    user: str
    port_is_usual: bool
    """``ssh`` would take this port without being told."""
    configuration: SSHClientConfig = field(repr=False)
    known_hosts: KnownHosts = field(repr=False)

    @property
    def known_name(self) -> str:
        """The name in ``known_hosts``."""
        return str(self.configuration.get("HostKeyAlias") or self.host)

    @property
    def command(self) -> str:
        """What a user gives to ``ssh`` to reach it."""
        return f"{'' if self.port_is_usual else f'-p {self.port} '}{self.user}@{self.alias}"

    def setting(self, name: str) -> str | None:
        """Return a setting that is one text, None where nothing is said of it."""
        value = self.configuration.get(name)
        return value if isinstance(value, str) else None


def find_way(user: SshUser, host: str, port: int | None, login: str | None, arguments: SshArguments) -> list[SshHop]:
    """Return the servers on the way to ``host``, which is the last of them.

    Args:
        port, login: of the location; they come before the configuration.
        arguments: for the last server; those before it are told only of the configuration file.

    Raises:
        ConfigurationUnusableError: the configuration cannot be read, or jumps in circles.
    """
    last = _find_hop(user, host, port, login, arguments)
    way = [last]
    jumps = _jumps_of(last)
    plain = SshArguments(file=arguments.file)
    while jumps:
        if len(way) > _MOST_JUMPS:
            raise ConfigurationUnusableError("ProxyJump: too many hosts, or they jump in circles")
        jump_login, jump_host, jump_port = _parse_jump(jumps.pop())
        hop = _find_hop(user, jump_host, jump_port, jump_login, plain)
        if any((hop.host, hop.port) == (known.host, known.port) for known in way):
            continue  # "Host *" with a ProxyJump means the jump host itself, too; ssh ignores it there
        way.insert(0, hop)
        jumps = jumps or _jumps_of(hop)
    return way


def _jumps_of(hop: SshHop) -> list[str]:
    text = hop.setting("ProxyJump")
    return [] if text is None else [jump.strip() for jump in text.split(",") if jump.strip()]


def _parse_jump(text: str) -> tuple[str | None, str, int | None]:
    text = text.removeprefix("ssh://").rstrip("/")
    login, _at, host = text.rpartition("@")
    port = None
    if host.startswith("["):
        host, _bracket, rest = host[1:].partition("]")
        digits = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _colon, digits = host.partition(":")
    else:
        digits = ""
    if digits:
        if not digits.isascii() or not digits.isdigit():
            raise ConfigurationUnusableError(f"ProxyJump: {digits[:20]} is no port")
        port = int(digits)
    return login or None, host, port


def _find_hop(user: SshUser, host: str, port: int | None, login: str | None, arguments: SshArguments) -> SshHop:
    configuration = _read_configuration(user, host, port, login, arguments)
    name = configuration.get("Hostname", host)
    found_port = configuration.get("Port", asyncssh.DEFAULT_PORT)
    assert isinstance(name, str)
    assert isinstance(found_port, int)
    return SshHop(alias=host, host=name, port=found_port, user=str(configuration.get("User") or user.name),
                  port_is_usual=port is None or port == asyncssh.DEFAULT_PORT, configuration=configuration,
                  known_hosts=KnownHosts(_known_files(user, configuration)))


def _known_files(user: SshUser, configuration: SSHClientConfig) -> list[Path]:
    files: list[Path] = []
    for name, default in (("UserKnownHostsFile", _USER_KNOWN_HOSTS), ("GlobalKnownHostsFile", _SYSTEM_KNOWN_HOSTS)):
        named = configuration.get(name)
        files += [user.file(text) for text in (named if isinstance(named, list) else default)]
    return files


def _read_configuration(user: SshUser, host: str, port: int | None, login: str | None,
                        arguments: SshArguments) -> SSHClientConfig:
    if arguments.file is None:
        files = [file for file in (user.home / ".ssh" / "config", _SYSTEM_FILE) if os.access(file, os.R_OK)]
    else:
        files = [] if arguments.file.lower() == "none" else [user.file(arguments.file)]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="kuramori-", encoding="utf-8") as first:
            if arguments.lines:  # asyncssh reads configurations from files only
                first.write("\n".join(arguments.lines) + "\n")
                first.flush()
                files.insert(0, Path(first.name))
            found = _parse(user, files, host, port, login, final=False)
            return _parse(user, files, host, port, login, final=True) if found.has_match_final() else found
    except ConfigParseError as error:
        raise ConfigurationUnusableError(str(error)) from None
    except OSError as error:
        raise ConfigurationUnusableError(f"{error.filename}: {error.strerror}") from None
    except UnicodeError:
        raise ConfigurationUnusableError(", ".join(map(str, files))) from None


def _parse(user: SshUser, files: Sequence[Path], host: str, port: int | None, login: str | None, *,
           final: bool) -> SSHClientConfig:
    configuration = _Configuration(None, False, False, final, user.name, login or (),  # type: ignore[arg-type]
                                   host, port or ())  # type: ignore[arg-type]
    configuration._of(user.home)
    for file in files:
        configuration.parse(file)
    configuration.loaded = True  # so that asyncssh reads no other file
    return configuration
