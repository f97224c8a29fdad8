"""What lies below a location: the folders in which the repositories of a fleet may be.

A protocol of its own beside :class:`~kuramori.storage.backend.Backend`, which knows one repository only: a store that
can tell has :meth:`FolderLister.folders` as well. Nothing here decides what a folder holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote, unquote

from kuramori.errors import PrefixListingError
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.location import open_backend, parse_location

_URL = re.compile(r"https?://", re.IGNORECASE)


@runtime_checkable
class FolderLister(Protocol):
    """What a store also is that knows what lies below its location."""

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders directly below the location, each once and in any order, without slashes. The
        location need not be a repository.

        Stores that know no folders (object stores) give what stands before the next slash in their names.

        Raises:
            FileNotInStorageError: there is nothing at the location, as far as the store can tell.
            StorageError: the store failed.
        """
        ...


class Prefix(NamedTuple):
    """A folder below a location."""

    name: str
    """Its own, without a slash."""
    location: str
    """As :func:`~kuramori.storage.location.open_backend` takes it. It may hold a password: never shown."""


def list_prefixes(location: str, access: StoreAccess = NO_ACCESS) -> Iterator[Prefix]:
    """Yield the folders that lie directly below a location, in any order.

    Args:
        location: as :func:`open_backend` takes it, of a folder, or what one is for the store. It may end with a slash.
        access: what the store needs besides.

    Raises:
        PrefixListingError: this kind of store has no such listing.
        FileNotInStorageError, StorageError: as :meth:`FolderLister.folders`.
        UnknownLocationError, StoreNotBuiltError, MissingExtraError: as :func:`open_backend`.
    """
    backend = open_backend(location, access)
    try:
        if not isinstance(backend, FolderLister):
            raise PrefixListingError(scheme=parse_location(location).scheme)
        for name in backend.folders():
            if name not in ("", ".", "..") and "/" not in name:  # what a server says is not to be trusted
                yield Prefix(name, location_below(location, name))
    finally:
        backend.close()


def location_below(location: str, name: str) -> str:
    """Return the location of what is called ``name`` in the folder at ``location``."""
    written = quote(os.fsencode(name), safe="") if _is_encoded(location) else name
    return f"{location}{written}" if location.endswith(("/", ":")) else f"{location}/{written}"


def last_part(location: str) -> str:
    """Return what the folder at a location is called: the last part of its path; never empty."""
    plain = location.rstrip("/")
    if _is_encoded(location):
        return unquote(plain.rpartition("/")[2])
    return plain[max(plain.rfind("/"), plain.rfind(":")) + 1:] or location


def _is_encoded(location: str) -> bool:
    """Tell whether the path of a location is percent-encoded: where it is an address as in a browser, or
    ``sftp://host/path``."""
    scheme, address = parse_location(location)
    return _URL.match(address) is not None or (scheme == "sftp" and address.startswith("//"))
