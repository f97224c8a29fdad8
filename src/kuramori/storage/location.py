"""Texts that name a backend, as restic writes them (format section 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from kuramori.errors import (
    N_,
    MissingExtraError,
    ObjectLockUnsupportedError,
    Phrase,
    StoreNotBuiltError,
    UnknownLocationError,
)
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.local import LocalBackend
from kuramori.storage.retention import RetainingStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_PATH_BEGINNINGS = ("/", "./", "../")

_Opener = Callable[[str, StoreAccess], Backend]


def _open_local(address: str, access: StoreAccess) -> Backend:
    return LocalBackend(address) if access.connections is None else LocalBackend(address,
                                                                                 connections=access.connections)


def _open_azure(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.azure import open_azure
    except ImportError as error:
        raise _missing(error, "obstore", "azure:", "azure", "urllib3") from error
    return open_azure(address, access)


def _open_gs(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.gs import open_gs
    except ImportError as error:
        raise _missing(error, "obstore", "gs:", "gs", "urllib3") from error
    return open_gs(address, access)


def _open_rest(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.rest import open_rest
    except ImportError as error:
        raise _missing(error, "urllib3", "rest:", "rest") from error
    return open_rest(address, access)


def _open_rclone(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.rclone import open_rclone
    except ImportError as error:
        raise _missing(error, "h2", "rclone:", "rclone", "urllib3") from error
    return open_rclone(address, access)


def _open_s3(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.s3 import open_s3
    except ImportError as error:
        raise _missing(error, "obstore", "s3:", "s3", "urllib3") from error
    return open_s3(address, access)


def _open_sftp(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.sftp import open_sftp
    except ImportError as error:
        raise _missing(error, "asyncssh", "sftp:", "sftp") from error
    return open_sftp(address, access)


def _open_webdav(address: str, access: StoreAccess) -> Backend:
    try:
        from kuramori.storage.webdav import open_webdav
    except ImportError as error:
        raise _missing(error, "urllib3", "webdav:", "webdav") from error
    return open_webdav(address, access)


def _missing(error: ImportError, package: str, feature: str, extra: str, *more: str) -> Exception:
    """Return what to raise where a store cannot be imported: the extra is named only if one of its packages
    (``package`` and ``more``) is what lacks."""
    lacks = (error.name or "").partition(".")[0]
    return MissingExtraError(feature=feature, package=lacks, extra=extra) if lacks in (package, *more) else error


_OPENERS: dict[str, _Opener] = {
    "azure": _open_azure,
    "gs": _open_gs,
    "local": _open_local,
    "rclone": _open_rclone,
    "rest": _open_rest,
    "s3": _open_s3,
    "sftp": _open_sftp,
    "webdav": _open_webdav,
}
"""Scheme -> what opens its addresses. A new store is one line here, and imports its module only when it is opened."""

_NOT_BUILT = frozenset({"s3", "sftp", "rest", "rclone", "gs", "azure", "webdav", "b2", "swift"}) - _OPENERS.keys()


class Location(NamedTuple):
    """A place for a repository. Not for showing: an address may hold a password."""

    scheme: str
    """A key of the table of stores, such as ``local``."""
    address: str
    """What comes after the scheme; for ``local`` a path."""


def parse_location(text: str) -> Location:
    """Return what a location means: ``/path``, a relative path or ``scheme:address``.

    A relative path with a colon in it is refused, because it may be a mistyped scheme: write
    ``local:`` before it.

    Raises:
        UnknownLocationError: it is empty or of no known kind.
        StoreNotBuiltError: this version has no such store.
    """
    if not text:
        raise UnknownLocationError(detail=N_("it is empty"))
    match = _SCHEME.fullmatch(text)
    if text.startswith(_PATH_BEGINNINGS) or ":" not in text:
        return Location("local", text)
    # The text itself is not shown from here on: it may hold a password.
    if match is None:
        raise UnknownLocationError(detail=N_("what stands before the colon is no kind of store"))
    scheme, address = match[1], match[2]
    if scheme in _NOT_BUILT:
        raise StoreNotBuiltError(scheme=scheme)
    if scheme not in _OPENERS:
        raise UnknownLocationError(
            detail=Phrase(N_("{scheme!r} before the colon is no known kind of store"), scheme=scheme[:40]))
    if not address:
        raise UnknownLocationError(detail=N_("nothing follows the colon"))
    return Location(scheme, address)


def open_backend(location: str, access: StoreAccess = NO_ACCESS) -> Backend:
    """Return the backend that a location names. Nothing is read or written yet.

    Args:
        location: see :func:`parse_location`; relative paths start at the working directory.
        access: what the store needs besides.

    Raises:
        UnknownLocationError, StoreNotBuiltError: see :func:`parse_location`.
        MissingExtraError: the store needs a package that is not installed.
        ObjectLockUnsupportedError: what is written shall be retained, and the store knows no such thing.
    """
    scheme, address = parse_location(location)
    backend = _OPENERS[scheme](address, access)
    if access.object_lock_days is not None and not isinstance(backend, RetainingStore):
        # Who asked for it relies on it.
        raise ObjectLockUnsupportedError(location=backend.location, operation="open", name="",
                                         detail=N_("only s3: has object lock"))
    return backend
