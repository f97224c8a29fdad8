"""Which keys belong to which servers: OpenSSH's ``known_hosts``, always obeyed.

A server whose key is not in these files is not talked to, whatever the user's configuration says of
``StrictHostKeyChecking``: nobody sits before a backup at night to compare fingerprints. We never add a key by
ourselves; ``ssh`` does, when the user has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

_KeyLists = tuple[Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey]]


class KnownLine(NamedTuple):
    """Where a key of a server is written down."""

    file: Path
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


class KnownHosts:
    """The keys of several files.

    A host is looked up by its name alone. (OpenSSH also notes addresses, but an address would let one server of the
    user's pass for another, if a name were made to point to it.)
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Nothing is read yet.

        Args:
            files: in OpenSSH's format; those that do not exist or cannot be read are passed over.
        """
        self.files = tuple(files)

    def find(self, host: str, port: int) -> _KeyLists:
        """Return a server's own keys, those of authorities that may vouch for it, and revoked ones."""
        found: tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]] = ([], [], [])
        for _line, keys in self._matching(host, port):
            for list_, more in zip(found, keys, strict=True):
                list_.extend(more)
        return found

    def kinds(self, host: str, port: int) -> list[str]:
        """Return the kinds of keys to ask a server for, those that are written down first. The others follow, as with
        ``ssh``: a server that has none of the known kind any more is to show what it has."""
        keys, authorities, _revoked = self.find(host, port)
        names = [*get_default_certificate_algs()] if authorities else []
        names += [name for key in keys for name in key.sig_algorithms]
        names += get_default_public_key_algs()
        return [name.decode("ascii") for name in dict.fromkeys(names)]

    def lines(self, host: str, port: int) -> list[KnownLine]:
        """Return where keys of a server are written down."""
        return [line for line, _keys in self._matching(host, port)]

    def _matching(self, host: str, port: int) -> list[tuple[KnownLine, _KeyLists]]:
        """Return every line that speaks of a server. Where none names the port, lines without a port count, as for
        ``ssh``."""
        entries = [*self._entries()]
        for wanted in ([port, None] if port != asyncssh.DEFAULT_PORT else [None]):
            found = []
            for line, entry in entries:
                keys = _match(entry, host.lower(), wanted)
                if any(keys):
                    found.append((line, keys))
            if found:
                return found
        return []

    def _entries(self) -> Iterator[tuple[KnownLine, asyncssh.SSHKnownHosts]]:
        for file in self.files:
            try:
                content = file.read_text("utf-8", "replace")
            except OSError:
                continue
            for number, text in enumerate(content.splitlines(), 1):
                try:
                    entry = asyncssh.import_known_hosts(text)
                except ValueError:
                    continue  # ssh passes over such lines, too
                yield KnownLine(file, number), entry


def _match(entry: asyncssh.SSHKnownHosts, host: str, port: int | None) -> _KeyLists:
    # Exactly as asked: SSHKnownHosts.match would drop the port by itself.
    name = host if port is None else f"[{host}]:{port}"
    keys, authorities, revoked, *_certificates = entry.match(name, "", None)
    return keys, authorities, revoked


class HostKeyWatch(asyncssh.SSHClient):
    """Remembers what a server showed that was not expected, and how it would let users in."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.shown: asyncssh.SSHKey | None = None
        """The key that was not in ``known_hosts``."""
        self.methods: list[str] = []
        """Ways to log in that the server offered and we could not go (to the end)."""
        self.lost = False
        """The connection is gone."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember it."""
        self.lost = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Trust no key that is not written down."""
        self.shown = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Trust no authority that is not written down."""
        self.shown = key
        return False

    def public_key_auth_requested(self) -> None:
        """All keys were tried."""
        self.methods.append("publickey")

    def password_auth_requested(self) -> None:
        """We ask nobody for a password."""
        self.methods.append("password")

    def kbdint_auth_requested(self) -> None:
        """We ask nobody anything."""
        self.methods.append("keyboard-interactive")
