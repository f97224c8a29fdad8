"""The store failed."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError

_OPERATIONS = (
    N_("create"), N_("get"), N_("list"), N_("load"), N_("look at"), N_("open"), N_("prepare"), N_("reach"), N_("read"),
    N_("read back"), N_("remove"), N_("save"), N_("start"), N_("write"), N_("write into"),
)
"""What stores call that which failed (the field ``operation``), for the catalogues."""


class StorageError(KuramoriError):
    """The backend failed, for good as far as it can tell."""

    message = N_("storage {location!s}: {operation} {name!s} failed: {detail}")


class StorageRetryableError(StorageError):
    """The backend failed in a way that may pass: network, busy, a time-out.

    Args:
        retry_after: seconds that the store asks to be left alone for; may be left out.
    """

    retryable = True

    @property
    def retry_after(self) -> float:
        """Seconds before the store wants to be asked again; 0 where it did not say."""
        found = self.fields.get("retry_after", 0.0)
        return max(float(found), 0.0) if isinstance(found, (int, float)) else 0.0


class FileNotInStorageError(StorageError):
    """The file is not there."""

    message = N_("storage {location!s}: there is no {name!s}")


class ShortReadError(StorageError):
    """The file is shorter than the range that was asked for."""

    message = N_("storage {location!s}: {name!s} is too short: {detail}")


class StorageFullError(StorageError):
    """No space is left."""

    message = N_("no space is left in {location!s} ({operation} {name!s})")
    advice = N_("free some space there, then run the command again; "
                "what was complete before is not affected")


class StoragePermissionError(StorageError):
    """The store refuses."""

    message = N_("storage {location!s}: not allowed to {operation} {name!s}: {detail}")
    advice = N_("check the rights on it, or run as the user who owns it")


class WrongLoginError(StoragePermissionError):
    """The server does not know us."""

    message = N_("storage {location!s} does not accept the user and password (or asks for one): {detail}")
    advice = N_("check user and password of the store; they stand in the location or in variables of the environment, "
                "such as RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD")


class AppendOnlyError(StoragePermissionError):
    """The store takes new files and lets go of none."""

    message = N_("storage {location!s} does not allow to {operation} {name!s}: it may be append-only ({detail})")
    advice = N_("backups work all the same; remove old ones with credentials that may delete, or on the server")


class HalfFileError(StoragePermissionError):
    """A file that is not whole cannot be replaced."""

    message = N_("storage {location!s} holds something else under the name {name!s} and does not allow to replace it: "
                 "{detail}")
    advice = N_("an upload was cut off there, as it seems: remove that file on the server, then run the command again")


class UnknownHostError(StorageError):
    """No such host."""

    message = N_("storage {location!s}: there is no host {host!s}")
    advice = N_("check how it is spelled in the location, and whether this machine is connected")


class StoreUnreachableError(StorageRetryableError):
    """Nobody answers there, or not yet."""

    message = N_("storage {location!s}: {host!s} cannot be reached: {detail}")
    advice = N_("check that the server runs, and host and port of the location")


class UntrustedServerError(StorageError):
    """The server's certificate proves nothing."""

    message = N_("storage {location!s}: the certificate of {host!s} is not trusted: {detail}")
    advice = N_("if the server has a certificate of its own making, give that (or its authority's) with --cacert")


class NotARepositoryServerError(StorageError):
    """Something else answers there."""

    message = N_("storage {location!s}: what answers is no {kind} server: {detail}")
    advice = N_("check scheme, host, port and path of the location")


class MovedLocationError(StorageError):
    """The server sends us elsewhere, where a password may not go."""

    message = N_("storage {location!s}: the server sends us on to {target!s}")
    advice = N_("if that is right, write it into the location")


class FileTooLargeForServerError(StorageError):
    """The server, or something before it, limits the size of requests."""

    message = N_("storage {location!s}: {name!s} is larger than the server takes: {detail}")
    advice = N_("raise the limit of the server or of the proxy before it, or make smaller packs (--pack-size)")


class ProxyAwayError(StorageRetryableError):
    """The way to the store leads through a proxy that does not answer."""

    message = N_("storage {location!s}: the proxy on the way there does not let us through: {detail}")
    advice = N_("check the variables https_proxy, http_proxy and no_proxy")


class ProxyLoginError(StoragePermissionError):
    """The proxy asks for a password."""

    message = N_("storage {location!s}: the proxy on the way there does not accept the user and password (or asks for "
                 "one): {detail}")
    advice = N_("check the variables https_proxy, http_proxy and no_proxy")


class RcloneMissingError(StorageError):
    """There is no rclone."""

    message = N_("storage {location!s}: the program {program!s} cannot be started: {detail}")
    advice = N_("install rclone (https://rclone.org), or say where it is: -o rclone.program=/path/to/rclone")


class RcloneFailedError(StorageError):
    """rclone ended before it could serve anything."""

    message = N_("storage {location!s}: rclone ended: {detail}")
    advice = N_("check name and path of the remote (rclone listremotes), and rclone's own settings")


class RcloneAwayError(StorageRetryableError):
    """rclone ended in the middle; it is started again."""

    message = N_("storage {location!s}: rclone ended: {detail}")


class UnusableProxyError(KuramoriError):
    """A proxy of a kind that is not spoken here."""

    message = N_("the proxy {proxy!s} cannot be used: only http:// and https:// are known")
    advice = N_("check the variables https_proxy, http_proxy, all_proxy and no_proxy")


class CertificateFileError(KuramoriError):
    """A file of certificates is not what it should be."""

    message = N_("the file of certificates {path!s} cannot be used: {detail}")
    advice = N_("it must be a PEM file; one that is shown to the server holds its certificate and its key without a "
                "password")
class DeletionRefusedError(StoragePermissionError):
    """Something was to be cleaned up, and the store lets nobody delete who comes with these credentials."""

    message = N_("storage {location!s} does not let these credentials delete anything, so nothing was removed")
    advice = N_("backups go on all the same; to clean up, name credentials that may delete in the section "
                "[repositories.NAME.maintenance] of the settings, or run this with them")


class ReadOnlyStorageError(StorageError):
    """A change was asked of a backend that was opened for reading only."""

    message = N_("storage {location!s} was opened for reading only: {operation} {name!s} was refused")


class PrefixListingError(StorageError):
    """This kind of store does not tell what lies below an address."""

    message = N_("a {scheme} store does not say which repositories lie below a location")
    advice = N_("name the repository of each device: kuramori fleet LOCATION LOCATION ...")


class MissingExtraError(KuramoriError):
    """An optional part is not installed."""

    message = N_("{feature} needs the package {package!s}, which is not installed")
    advice = N_("install it with: pip install 'kuramori[{extra}]'")
