"""A server could not be reached by SSH, or is not the one it should be."""

from __future__ import annotations

from kuramori.errors.root import N_
from kuramori.errors.storage import StorageError, StoragePermissionError, StorageRetryableError


class SshServerAwayError(StorageRetryableError):
    """No connection to the server could be made, or it was lost."""

    message = N_("storage {location!s}: the SSH server {host!s} port {port} cannot be reached: {detail}")
    advice = N_("check the name, the port and that the server runs: ssh {command!s}")


class NoSuchSshHostError(StorageError):
    """The name of the server does not exist."""

    message = N_("storage {location!s}: there is no host with the name {host!s}")
    advice = N_("check the name; names that only you use belong into ~/.ssh/config (Host, HostName)")


class SshProtocolError(StorageError):
    """What answers is no SSH server with an SFTP service that we could talk to."""

    message = N_("storage {location!s}: {host!s} port {port} cannot be used as an SFTP server: {detail}")
    advice = N_("check that an SSH server with SFTP runs there: ssh {command!s} -s sftp")


class HostKeyUnknownError(StorageError):
    """Nobody has said yet that this key belongs to the server."""

    message = N_("storage {location!s}: the key of {host!s} port {port} is not in known_hosts: {kind} {fingerprint}")
    advice = N_("compare it with what the server's administrator says (ssh-keygen -lf shows it there), "
                "then let ssh add it: ssh {command!s}")


class HostKeyChangedError(StorageError):
    """The server shows another key than it should: it is another one, or somebody stands between."""

    message = N_("storage {location!s}: THE KEY OF {host!s} PORT {port} HAS CHANGED, so nothing was sent: it shows "
                 "{kind} {fingerprint}, and {known!s} says otherwise; somebody may pretend to be this server")
    advice = N_("ask the server's administrator; only if the change was meant, forget the old key with: "
                "ssh-keygen -R {name!s} -f {file!s}")


class HostKeyRefusedError(StorageError):
    """The key that the server shows is revoked or not valid."""

    message = N_("storage {location!s}: the key of {host!s} port {port} cannot be trusted: {detail}")
    advice = N_("ask the server's administrator")


class SshLoginError(StoragePermissionError):
    """The server does not let this user in."""

    message = N_("storage {location!s}: {user!s} is not let in at {host!s} port {port}: {detail}")
    advice = N_("check that this works without a question: ssh {command!s}")


class SshConfigurationError(StorageError):
    """The user's configuration of SSH cannot be used."""

    message = N_("storage {location!s}: the configuration of SSH cannot be used: {detail}")


class NoFolderForStoreError(StorageError):
    """The folder of the repository is gone."""

    message = N_("storage {location!s}: the folders of the repository are gone, so {name!s} was not written")
    advice = N_("check that its disk is mounted on the server and that the path is right")
