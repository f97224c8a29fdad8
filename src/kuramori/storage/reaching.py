"""A store as everything above uses it: tried again where that may help, and not faster than is allowed."""

from __future__ import annotations

from collections.abc import Callable

from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.backend import Backend
from kuramori.storage.location import open_backend
from kuramori.storage.retry import RetryBackend


def reach_store(location: str, access: StoreAccess = NO_ACCESS, *, clock: Clock,
                notice: Callable[[str, StorageError, float], None] | None = None) -> Backend:
    """Return the store that a location names, with the patience that a network asks for and the limits of ``access``.

    Args:
        location: as :func:`~kuramori.storage.location.open_backend` takes it.
        access: what the store needs besides.
        clock: measures waits.
        notice: told before each wait (see :class:`~kuramori.storage.retry.RetryBackend`).

    Raises:
        UnknownLocationError, StoreNotBuiltError, MissingExtraError: as :func:`open_backend`.
    """
    backend = open_backend(location, access)
    if access.limit_upload or access.limit_download:
        from kuramori.storage.limits import limited  # not needed by those who set none

        backend = limited(backend, access.limit_upload, access.limit_download, clock)
    return RetryBackend(backend, clock=clock, notice=notice)
