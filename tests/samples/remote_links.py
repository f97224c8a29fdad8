"""Repositories on a real server behind the fault proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.storage.location import open_backend
from kuramori.storage.retry import RetryBackend, RetryOptions
from kuramori.testing.fault_proxy import FaultProxy
from samples.broken_runs import Files, files_of
from samples.rclone_server import RcloneServer
from samples.seaweedfs import ADMIN, BUCKET, SeaweedServer

_PATIENCE = RetryOptions(first_wait=0.5, longest_wait=60.0)
_numbers = count(1)


@dataclass
class Link:
    """One server, and the proxy on the way to it."""

    proxy: FaultProxy
    _pattern: str
    """Location with ``{port}`` and ``{name}``."""
    _port: int
    variables: Mapping[str, str] = field(default_factory=dict)
    """What kuramori and restic read from the environment to reach it."""
    every: int = 1
    """How far apart the requests are that are disturbed where everything is tried."""
    stall_seconds: float = 60.0
    """After which a transfer is given up in which nothing moves."""
    folder: Path | None = None
    """Where the server keeps its files, if it is a folder on this machine."""

    def location(self, name: str, *, direct: bool = False) -> str:
        """Return the location of a repository, as kuramori and restic write it: through the proxy, or past it."""
        return self._pattern.format(port=self._port if direct else self.proxy.port, name=name)

    @contextmanager
    def reach(self, name: str, clock: Clock, *, direct: bool = False, connections: int = 1,
              notice: Callable[[str, StorageError, float], None] | None = None) -> Iterator[Backend]:
        """Open a store as a command does, with waits that pass at once.

        Args:
            notice: told of every attempt that failed and is followed by another.
        """
        access = StoreAccess(variables=self.variables, connections=connections,
                             stall_seconds=60.0 if direct else self.stall_seconds)
        backend = RetryBackend(open_backend(self.location(name, direct=direct), access), clock=clock,
                               options=_PATIENCE, notice=notice)
        try:
            yield backend
        finally:
            backend.close()

    @contextmanager
    def place(self, files: Files, clock: Clock) -> Iterator[Place]:
        """Put a whole repository into a place of its own, past the proxy, or past the server where that has a folder:
        nothing goes wrong there, and it need not be asked file by file."""
        name = f"place-{next(_numbers)}"
        with self.reach(name, clock, direct=True) as direct:
            direct.create()
            place = Place(name, direct, None if self.folder is None else self.folder / name)
            for handle, content in files.items():
                place.put(handle, content)
            yield place

    def plant(self, files: Files, clock: Clock) -> str:
        """Put a whole repository into a place of its own; return the name of that."""
        with self.place(files, clock) as place:
            return place.name


@dataclass(frozen=True)
class Place:
    """A repository on the server."""

    name: str
    direct: Backend
    """Reaches it past the proxy."""
    _folder: Path | None

    def put(self, handle: Handle, content: bytes) -> None:
        """Store a file. In a folder it is one that the server may replace and remove, whoever the server is."""
        if self._folder is None:
            self.direct.save(handle, [content])
            return
        shard = [handle.name[:2]] if handle.type is FileType.PACK else []
        path = self._folder.joinpath(handle.type.value, *shard, handle.name)
        if not path.parent.exists():
            path.parent.mkdir()
            path.parent.chmod(0o777)
        path.write_bytes(content)
        path.chmod(0o666)

    def files(self) -> Files:
        """Return all files that the server keeps."""
        if self._folder is None:
            return files_of(self.direct)
        with closing(LocalBackend(str(self._folder))) as folder:
            return files_of(folder)


@contextmanager
def rest_link(server: RcloneServer) -> Iterator[Link]:
    """A server of restic's REST protocol behind a proxy."""
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        pattern = server.url("{name}/").replace(f":{server.port}/", ":{port}/")
        folder = server.files if server.files.is_dir() else None
        yield Link(proxy, f"rest:{pattern}", server.port, folder=folder)


@contextmanager
def s3_link(server: SeaweedServer) -> Iterator[Link]:
    """A server that speaks S3 behind a proxy."""
    port = int(server.endpoint.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        yield Link(proxy, f"s3:http://127.0.0.1:{{port}}/{BUCKET}/{{name}}", port, ADMIN.variables(), every=2)
