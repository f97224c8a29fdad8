"""What all stores behind an HTTP server have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kuramori.storage.access import DEFAULT_CONNECTIONS
from kuramori.storage.backend import Buffer, Handle
from kuramori.storage.http_files import HttpFiles
from kuramori.storage.http_transport import HttpTransport
from kuramori.storage.spooled_file import SpooledFile


class HttpBackend:
    """The reading half of a :class:`~kuramori.storage.backend.Backend`. Stores derive from it, and say how they write,
    list and delete."""

    worker_location = None

    def __init__(self, transport: HttpTransport, path: Callable[[Handle], str], *,
                 connections: int = DEFAULT_CONNECTIONS) -> None:
        """Use a transport, which is closed with this.

        Args:
            transport: to the folder of the repository.
            path: tells where a file lies below it.
            connections: how many operations at once make sense.
        """
        self._transport = transport
        self._failures = transport.failures
        self._files = HttpFiles(transport)
        self._path = path
        self._connections = connections

    @property
    def location(self) -> str:
        """The address without password."""
        return self._failures.location

    @property
    def connections(self) -> int:
        """How many operations at once make sense."""
        return self._connections

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file (see :class:`~kuramori.storage.backend.Backend`)."""
        raise NotImplementedError

    def stage(self) -> SpooledFile:
        """Begin a pack: it waits in a temporary file of this machine until its name is known."""
        return SpooledFile(self.save, self.location)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file."""
        return self._files.load(self._path(handle), str(handle), offset, length)

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        return self._files.size(self._path(handle), str(handle))

    def close(self) -> None:
        """Close connections. May be called more than once."""
        self._transport.close()
