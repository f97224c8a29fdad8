"""Locations of SFTP servers as restic writes them, and what may be said to ``ssh`` besides (format section 7)."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from kuramori.errors import N_, Phrase, UnknownLocationError, UsageError

_NETWORK = re.compile(r"//(?:(?P<user>[^@/]*)@)?(?P<host>\[[^\]/]*\]|[^:/@\[\]]*)(?::(?P<port>[0-9]*))?"
                      r"(?:/(?P<path>.*))?", re.DOTALL)
_PLAIN = re.compile(r"(?:(?P<user>.*)@)?(?P<host>\[[^\]]*\]|[^:\[\]@]*):(?P<path>.*)", re.DOTALL)
_ALONE = {"-4": "AddressFamily inet", "-6": "AddressFamily inet6", "-C": "Compression yes", "-a": "ForwardAgent no",
          "-x": "ForwardX11 no", "-q": "LogLevel quiet", "-T": "RequestTTY no"}
_WITH_VALUE = {"-i": "IdentityFile", "-p": "Port", "-l": "User", "-J": "ProxyJump", "-b": "BindAddress",
               "-c": "Ciphers", "-m": "MACs"}
_LARGEST_PORT = 65535
_NOT_UNDERSTOOD = N_("-o sftp.args: {argument!s} is not understood; -i, -p, -l, -J, -F and -o are")


class SftpAddress(NamedTuple):
    """A folder on a server."""

    host: str
    """A name, an address or a ``Host`` of the user's SSH configuration."""
    user: str | None
    port: int | None
    path: str
    """Absolute, or relative to the user's home folder on the server."""

    @property
    def location(self) -> str:
        """The location as restic takes it."""
        user = "" if self.user is None else f"{self.user}@"
        if self.port is None and ":" not in self.host:
            return f"sftp:{user}{self.host}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"sftp://{user}{host}{port}/{self.path}"


def parse_sftp_address(address: str) -> SftpAddress:
    """Return what follows ``sftp:`` in a location: ``user@host:path`` or ``//user@host:port/path``.

    In the second form a path with one slash is relative to the home folder, one with two is absolute, and
    ``%20`` and the like are decoded, as restic does.

    Raises:
        UnknownLocationError: it is neither.
    """
    network = address.startswith("//")
    match = (_NETWORK if network else _PLAIN).fullmatch(address)
    if match is None:
        raise _unknown(N_("write sftp:user@host:path or sftp://user@host:port//path"))
    host = match["host"].strip("[]")
    if not host or host.startswith("-"):
        raise _unknown(N_("it names no host"))
    user, path = match["user"], match["path"]
    if network:
        user = None if user is None else unquote(user)
        if not path:
            raise _unknown(N_("it names no folder on the server"))
        path = unquote(path)
    if user is not None and ":" in user:
        raise _unknown(N_("it holds a password, but SSH servers are opened with keys: ssh-copy-id gives them yours"))
    if path.startswith("~"):
        raise _unknown(N_("a path on the server may not begin with ~; without it, it is relative to the home folder"))
    return SftpAddress(host, user or None, _port(match["port"] if network else None), _clean(path))


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > len(str(_LARGEST_PORT)) or not 0 < int(text) <= _LARGEST_PORT:
        raise _unknown(N_("its port is no number from 1 to 65535"))
    return int(text)


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned  # POSIX lets two slashes mean something else


def _unknown(detail: str) -> UnknownLocationError:
    return UnknownLocationError(detail=detail)


@dataclass(frozen=True, slots=True)
class SshArguments:
    """What ``-o sftp.args`` says, in the language of configuration files."""

    lines: tuple[str, ...] = ()
    """Lines that come before those of the files."""
    file: str | None = None
    """The configuration file in place of the user's and the system's; ``none`` for none."""


def parse_ssh_arguments(text: str) -> SshArguments:
    """Return the meaning of arguments that restic would hand to the ``ssh`` program: ``-i``, ``-p``, ``-l``, ``-J``,
    ``-F``, ``-o`` and some others.

    Raises:
        UsageError: one of them has no meaning for us, or would switch off the check of host keys.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(detail=N_("-o sftp.args has a quote that does not end")) from None
    lines: list[str] = []
    file = None
    while words:
        word = words.pop(0)
        if word in _ALONE:
            lines.append(_ALONE[word])
            continue
        flag, value = word[:2], word[2:]
        if flag not in _WITH_VALUE and flag not in ("-F", "-o"):
            raise UsageError(detail=Phrase(_NOT_UNDERSTOOD, argument=word[:40]))
        if not value and not words:
            raise UsageError(detail=Phrase(N_("-o sftp.args: {argument!s} lacks its value"), argument=flag))
        value = value or words.pop(0)
        if flag == "-F":
            file = value
        elif flag == "-o":
            lines.append(_configuration_line(value))
        else:
            lines.append(f'{_WITH_VALUE[flag]} "{_plain(value)}"')
    return SshArguments(tuple(lines), file)


def _configuration_line(text: str) -> str:
    keyword = re.split(r"[\s=]", text.strip(), maxsplit=1)[0].lower()
    value = text.strip()[len(keyword):].lstrip("= \t").lower()
    if keyword == "stricthostkeychecking" and value not in ("yes", "ask", "true"):
        raise UsageError(detail=N_("-o sftp.args: the keys of servers are always checked; put the key into a file and "
                                   "name it with -o UserKnownHostsFile=..."))
    if keyword in ("host", "match", "include"):
        raise UsageError(detail=Phrase(_NOT_UNDERSTOOD, argument=text[:40]))
    return _plain(text)


def _plain(text: str) -> str:
    if "\n" in text or '"' in text:
        raise UsageError(detail=N_("-o sftp.args: a value may hold no quote and no line break"))
    return text
