"""Listings of a store, with a second look where the first would have grave consequences.

A listing may be empty or out of date for a moment: behind a gateway that has lost its own store, or where a store
answers from a copy. What it leaves out is then taken for lost. So nobody believes in a loss that only one listing tells
of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from kuramori.errors import FileNotInStorageError
from kuramori.ids import Id, parse_id
from kuramori.repository.transfers import begin
from kuramori.storage.backend import Backend, FileInfo, FileType, Handle

_ASKED_BY_NAME = 8
"""So many of the files that two listings leave out are asked for by name; if none of them is there, the others are not
asked for: each costs a request."""


class PackListing(NamedTuple):
    """The packs of a repository."""

    sizes: dict[Id, int]
    """Each pack that is there, and its size in bytes."""
    unlisted: set[Id]
    """Those of them that a listing left out."""


def list_files(backend: Backend, file_type: FileType) -> list[FileInfo]:
    """Return the files of a type, sorted by name. Where none is listed, the store is asked once more.

    Raises:
        StorageError: the listing failed.
    """
    return _sorted(backend, file_type) or _sorted(backend, file_type)


def _sorted(backend: Backend, file_type: FileType) -> list[FileInfo]:
    return sorted(backend.list(file_type), key=lambda info: info.name)


def list_packs(backend: Backend, expected: Collection[Id],
               begun: Callable[[], dict[Id, int]] | None = None) -> PackListing:
    """Return the packs that are there. Where some of the ``expected`` ones are not listed, the store is asked once
    more, and then for some of them by name.

    Args:
        begun: gives the first listing, where it was begun before (:func:`begin_listing_packs`).

    Raises:
        StorageError: the listing failed, or a question.
    """
    sizes = _sizes(backend) if begun is None else begun()
    missing = [pack for pack in expected if pack not in sizes]
    if not missing:
        return PackListing(sizes, set())
    again = _sizes(backend)
    unlisted = {pack for pack in missing if pack in again}
    missing = [pack for pack in missing if pack not in again]
    for number, pack in enumerate(missing):
        if number == _ASKED_BY_NAME and not unlisted:
            break
        try:
            again[pack] = backend.size(Handle(FileType.PACK, pack.hex()))
            unlisted.add(pack)
        except FileNotInStorageError:
            continue
    # What only the first one showed is not there, or nobody expects it.
    return PackListing({pack: size for pack, size in sizes.items() if pack in expected} | again, unlisted)


def begin_listing_packs(backend: Backend) -> Callable[[], dict[Id, int]]:
    """Return what gives each pack that the store lists and its size in bytes, or raises the error of the listing."""
    return begin(backend, partial(_sizes, backend))


def _sizes(backend: Backend) -> dict[Id, int]:
    return {parse_id(info.name): info.size for info in backend.list(FileType.PACK)}
