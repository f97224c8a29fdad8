"""What a store needs besides its location: credentials, certificates, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How to reach a store. The command line and the settings make it; a store takes what concerns it.

    Its ``repr`` shows neither ``variables`` nor ``options``: they hold passwords and keys.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By the names of restic's environment variables (format section 7): ``AWS_ACCESS_KEY_ID``,
    ``RESTIC_REST_USERNAME``, ``AZURE_ACCOUNT_KEY``, and what the store's own tools read, such as
    ``RCLONE_CONFIG``, ``SSH_AUTH_SOCK`` and ``HOME``. Stores look here and never in the environment."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What ``-o`` says, by restic's names: ``s3.storage-class``, ``rclone.program``, ``sftp.args``."""
    connections: int | None = None
    """How many operations at once; None for the store's own number."""
    limit_upload: int | None = None
    """Bytes per second; None for no limit."""
    limit_download: int | None = None
    ca_certificates: Path | None = None
    """A PEM file with the certificates that servers are judged by, in place of the system's."""
    client_certificate: Path | None = None
    """A PEM file with a certificate and its key, shown to servers that ask for one."""
    insecure_tls: bool = False
    """Servers' certificates are not judged."""
    object_lock_days: int | None = None
    """Days for which an object store shall refuse to delete or change what is written; None for none."""
    stall_seconds: float = 120.0
    """A transfer in which nothing moves for so long has failed, and is tried again."""


_CREDENTIAL_WORDS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "USERNAME", "SAS", "PROFILE", "CREDENTIALS", "ACCOUNT",
                     "ROLE")


def looks_secret(name: str) -> bool:
    """Tell whether a variable or an option of such a name is, or belongs to, what opens a store."""
    return any(word in name.upper() for word in _CREDENTIAL_WORDS)


def lay_over(variables: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return ``variables`` with those that are given for one store in front.

    Where ``own`` has credentials of a kind (``AWS_``, ``AZURE_``, ``RESTIC_REST_`` ...), all others of that kind go:
    the keys of one account with the session of another open nothing.
    """
    kinds = {_kind(name) for name in own if looks_secret(name)}
    kept = {name: value for name, value in variables.items() if not (looks_secret(name) and _kind(name) in kinds)}
    return kept | dict(own)


def _kind(name: str) -> str:
    return name.removeprefix("RESTIC_").partition("_")[0].upper()


NO_ACCESS = StoreAccess()
"""For stores that need nothing."""
DEFAULT_CONNECTIONS = 5
"""Of a store beyond the network, as in restic."""
