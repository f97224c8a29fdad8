"""The store failed."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError


class StorageError(KuramoriError):
    """The backend failed, for good as far as it can tell."""

    message = N_("storage {location!s}: {operation} {name!s} failed: {detail}")


class StorageRetryableError(StorageError):
    """The backend failed in a way that may pass: network, busy, a time-out."""

    retryable = True


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


class ReadOnlyStorageError(StorageError):
    """A change was asked of a backend that was opened for reading only."""

    message = N_("storage {location!s} was opened for reading only: {operation} {name!s} was refused")


class MissingExtraError(KuramoriError):
    """An optional part is not installed."""

    message = N_("{feature} needs the package {package!s}, which is not installed")
    advice = N_("install it with: pip install 'kuramori[{extra}]'")
