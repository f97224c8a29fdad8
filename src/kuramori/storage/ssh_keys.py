"""The keys that a user can show to a server: files, and those that the agent holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from kuramori.errors import N_, Phrase
from kuramori.storage.ssh_configuration import DEFAULT_KEYS, SshHop, SshUser


@dataclass(slots=True)
class LoginKeys:
    """What can be shown, in the order of trying."""

    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Of the files that were read, for people."""
    from_agent: int = 0
    locked: list[Path] = field(default_factory=list)
    """Files that have a passphrase, where the agent does not hold the key either."""
    problems: list[Phrase] = field(default_factory=list)
    agent: asyncssh.SSHAgentClient | None = None
    """Signs with its keys, so it is closed only after the login."""

    def close(self) -> None:
        """Let go of the agent. May be called more than once."""
        if self.agent is not None:
            self.agent.close()
            self.agent = None


async def collect_keys(user: SshUser, hop: SshHop) -> LoginKeys:
    """Return the keys for a server as OpenSSH chooses them: ``IdentityFile`` or the usual names, ``IdentityAgent`` or
    the user's agent, ``IdentitiesOnly``, ``CertificateFile``. Keys that the agent holds come first.

    A key with a passphrase is used through the agent only: nobody is asked.
    """
    found = LoginKeys()
    named = _names(hop, "IdentityFile")
    files = [user.file(name) for name in named] or [
        file for file in (user.home / ".ssh" / name for name in DEFAULT_KEYS) if file.exists()]
    wanted = [data for file in files if (data := _public_data(file)) is not None]
    only = bool(hop.configuration.get("IdentitiesOnly"))
    held: list[asyncssh.SSHKeyPair] = []
    if wanted or not only:
        held = await _ask_agent(user, hop, found, wanted if only else None)
    held.sort(key=lambda pair: pair.public_data not in wanted)
    found.from_agent = len(held)
    found.pairs += held
    known = {pair.public_data for pair in held}
    certificates = [str(user.file(name)) for name in _names(hop, "CertificateFile")]
    for file in files:
        if _public_data(file) not in known:
            _load(file, certificates, found, missing_matters=bool(named))
    return found


def _names(hop: SshHop, setting: str) -> Sequence[str]:
    value = hop.configuration.get(setting)
    return [str(name) for name in value] if isinstance(value, list) else []


def _public_data(file: Path) -> bytes | None:
    """Return the public half of a key; OpenSSH's files show it without the passphrase."""
    for candidate in (file.with_name(file.name + ".pub"), file):
        try:
            return asyncssh.read_public_key(candidate).public_data
        except (OSError, ValueError):
            continue
    return None


async def _ask_agent(user: SshUser, hop: SshHop, found: LoginKeys,
                     wanted: list[bytes] | None) -> list[asyncssh.SSHKeyPair]:
    said = hop.configuration.get("IdentityAgent", "SSH_AUTH_SOCK")
    path = user.agent if said == "SSH_AUTH_SOCK" else None if said is None else str(user.file(str(said)))
    if not path:
        return []
    try:
        found.agent = await asyncssh.connect_agent(path)
        return [*await found.agent.get_keys(wanted)]
    except (OSError, ValueError, asyncssh.Error):
        found.problems.append(Phrase(N_("the agent at {path!s} does not answer"), path=path))
        return []


def _load(file: Path, certificates: list[str], found: LoginKeys, *, missing_matters: bool) -> None:
    try:
        found.pairs += asyncssh.load_keypairs(str(file), certlist=certificates)
        found.names.append(str(file))
    except OSError as error:
        if missing_matters or not isinstance(error, FileNotFoundError):
            found.problems.append(Phrase(N_("the key {path!s} cannot be read: {detail}"), path=str(file),
                                         detail=error.strerror or type(error).__name__))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if isinstance(error, asyncssh.KeyEncryptionError) or str(error).startswith("Passphrase"):
            found.locked.append(file)
        else:
            found.problems.append(Phrase(N_("the key {path!s} cannot be read: {detail}"), path=str(file),
                                         detail=str(error)))
