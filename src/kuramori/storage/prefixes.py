"""What lies below a location: the folders in which the repositories of a fleet may be.

A protocol of its own beside :class:`~kuramori.storage.backend.Backend`, which knows one repository only. Each kind of
store needs one request for a listing, and none of them reads a file. Nothing here decides what a folder holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kuramori.errors import FileNotInStorageError, PrefixListingError, StorageError, StoragePermissionError
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.location import parse_location


class Prefix(NamedTuple):
    """A folder below a location."""

    name: str
    """Its own, without a slash."""
    location: str
    """As :func:`~kuramori.storage.location.open_backend` takes it. It may hold a password: never shown."""


_Lister = Callable[[str, StoreAccess], Iterator[str]]


def list_prefixes(location: str, access: StoreAccess = NO_ACCESS) -> Iterator[Prefix]:
    """Yield the folders that lie directly below a location, in any order.

    Stores that know no folders (object stores) give what stands before the next slash in their names.

    Args:
        location: a folder, or what one is for the store: not a repository. It may end with a slash.
        access: what the store needs besides.

    Raises:
        PrefixListingError: this kind of store has no such listing.
        FileNotInStorageError: there is nothing there, as far as the store can tell.
        UnknownLocationError, StoreNotBuiltError, MissingExtraError: as :func:`open_backend`.
        StorageError: the store failed.
    """
    scheme, address = parse_location(location)
    lister = _LISTERS.get(scheme)
    if lister is None:
        raise PrefixListingError(scheme=scheme)
    for name in lister(address, access):
        if name and "/" not in name:
            yield Prefix(name, location_below(location, name))


def location_below(location: str, name: str) -> str:
    """Return the location of what is called ``name`` in the folder at ``location``."""
    return f"{location}{name}" if location.endswith(("/", ":")) else f"{location}/{name}"


def _list_local(address: str, access: StoreAccess) -> Iterator[str]:
    try:
        with os.scandir(address) as entries:
            for entry in entries:
                if _is_folder(entry):
                    yield entry.name
    except OSError as error:
        kind = {FileNotFoundError: FileNotInStorageError, PermissionError: StoragePermissionError}.get(
            type(error), StorageError)
        raise kind(location=address, operation="list", name=address, detail=error.strerror or "") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle


_LISTERS: dict[str, _Lister] = {
    "local": _list_local,
}
"""Scheme -> what lists its addresses. A lister imports its store's module only when it is used."""
