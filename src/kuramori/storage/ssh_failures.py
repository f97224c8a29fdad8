"""Why a server could not be reached, in words that say what to do."""

from __future__ import annotations

import os
import re
import socket

import asyncssh

from kuramori.errors import (
    N_,
    HostKeyChangedError,
    HostKeyRefusedError,
    HostKeyUnknownError,
    NoSuchSshHostError,
    Phrase,
    SshConfigurationError,
    SshLoginError,
    SshProtocolError,
    SshServerAwayError,
    StorageError,
)
from kuramori.storage.ssh_configuration import SshHop
from kuramori.storage.ssh_host_keys import HostKeyWatch
from kuramori.storage.ssh_keys import LoginKeys

_NUMBER = re.compile(r"\[Errno (\d+)\]")
_TOO_MANY = "too many authentication failures"


def explain_failure(error: Exception, location: str, hop: SshHop, watch: HostKeyWatch, keys: LoginKeys, *,
                    known_to_exist: bool) -> StorageError:
    """Return the error of our own tree for a connection that could not be made.

    Args:
        error: what asyncssh or the system said.
        location: of the store, for people.
        hop: the server that was to be reached.
        watch: what it showed.
        keys: what was to be shown to it.
        known_to_exist: it was reached before, so its name does exist.
    """
    fields = {"location": location, "host": hop.host, "port": hop.port, "command": hop.command}
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(error, location, hop, watch)
    if isinstance(error, asyncssh.PermissionDenied) or (
            isinstance(error, asyncssh.DisconnectError) and _TOO_MANY in error.reason.lower()):
        return SshLoginError(**fields, user=hop.user, operation="open", name=hop.host, detail=_login(watch, keys))
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN or known_to_exist:
            return SshServerAwayError(**fields, detail=N_("its name cannot be looked up at the moment"))
        return NoSuchSshHostError(location=location, host=hop.host)
    if isinstance(error, TimeoutError):
        return SshServerAwayError(**fields, detail=N_("it does not answer"))
    if isinstance(error, OSError):
        return SshServerAwayError(**fields, detail=_system_text(error))
    if isinstance(error, (asyncssh.ConnectionLost, asyncssh.ChannelOpenError)):
        return SshServerAwayError(**fields, detail=error.reason or N_("the connection was lost"))
    if isinstance(error, asyncssh.Error):
        return SshProtocolError(**fields, detail=error.reason)
    return SshConfigurationError(location=location, detail=str(error))


def explain_missing_service(error: Exception, location: str, hop: SshHop) -> StorageError:
    """Return the error for a server that let us in and then had no SFTP."""
    fields = {"location": location, "host": hop.host, "port": hop.port, "command": hop.command}
    if isinstance(error, TimeoutError):
        return SshServerAwayError(**fields, detail=N_("its SFTP service does not answer"))
    if isinstance(error, asyncssh.DisconnectError):
        return SshServerAwayError(**fields, detail=error.reason or N_("the connection was lost"))
    return SshProtocolError(**fields, detail=Phrase(N_("it let {user!s} in, but has no SFTP service for this user"),
                                                    user=hop.user))


def _host_key(error: asyncssh.HostKeyNotVerifiable, location: str, hop: SshHop, watch: HostKeyWatch) -> StorageError:
    if watch.shown is None:
        return HostKeyRefusedError(location=location, host=hop.host, port=hop.port, detail=error.reason)
    shown = {"location": location, "host": hop.host, "port": hop.port, "kind": watch.shown.get_algorithm(),
             "fingerprint": watch.shown.get_fingerprint()}
    lines = hop.known_hosts.lines(hop.known_name, hop.port)
    if not lines:
        return HostKeyUnknownError(**shown, command=hop.command)
    plain = hop.port == asyncssh.DEFAULT_PORT
    return HostKeyChangedError(**shown, known=str(lines[0]), file=str(lines[0].file),
                               name=hop.known_name if plain else f"'[{hop.known_name}]:{hop.port}'")


def _login(watch: HostKeyWatch, keys: LoginKeys) -> tuple[Phrase, ...]:
    """Return why nobody was let in: what was tried, what the server would take, and what could not be tried."""
    why = [Phrase(N_("the key {path!s} has a passphrase and the agent does not hold it (ssh-add {path!s} gives it)"),
                  path=str(file)) for file in keys.locked]
    why += keys.problems
    if keys.names or keys.from_agent:
        tried = [*keys.names] + ([f"{keys.from_agent} × ssh-agent"] if keys.from_agent else [])
        why.append(Phrase(N_("keys that were tried: {keys!s}"), keys=", ".join(tried)))
    else:
        why.append(Phrase(N_("there is no key that could be tried")))
    if watch.methods:
        why.append(Phrase(N_("the server takes: {methods!s}"), methods=", ".join(dict.fromkeys(watch.methods))))
    return tuple(why)


def _system_text(error: OSError) -> str:
    # asyncio words these by itself, with the addresses that it tried.
    match = _NUMBER.search(str(error))
    number = error.errno or (int(match[1]) if match else 0)
    return os.strerror(number) if number else str(error)
