"""A repository behind restic's REST protocol (format section 7): rest-server, ``rclone serve restic`` and their like.

The protocol cannot replace a file, and a server may keep half of one when an upload is cut off. So a file whose upload
failed is deleted, at once if the server can be reached, else when the store is closed; and where a server says that
a name is taken, what lies there is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec

from kuramori.errors import (
    N_,
    AppendOnlyError,
    FileNotInStorageError,
    HalfFileError,
    StorageError,
    StoragePermissionError,
    StorageRetryableError,
    StoreUnreachableError,
)
from kuramori.ids import is_hex_id
from kuramori.secret import Secret
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.backend import Buffer, FileInfo, FileType, Handle
from kuramori.storage.http_address import HttpAddress, parse_http_address
from kuramori.storage.http_backend import HttpBackend
from kuramori.storage.http_failures import HttpFailures
from kuramori.storage.http_pools import open_pool
from kuramori.storage.http_transport import HttpAnswer, HttpTransport
from kuramori.storage.spooled_file import total_size

_VERSION_2 = "application/vnd.x.restic.rest.v2"
_OCTETS = "application/octet-stream"
_DONE = (200, 201, 204)
_TAKEN = (403, 409)


class _Line(msgspec.Struct):
    """Of a listing, version 2."""

    name: str
    size: int


def open_rest(address: str, access: StoreAccess) -> RestBackend:
    """Return the store at ``http(s)://user:password@host:port/path/`` or ``http+unix:///socket:/path/``.

    User and password may also be ``RESTIC_REST_USERNAME`` and ``RESTIC_REST_PASSWORD`` of the access, where the address
    has neither.

    Raises:
        UnknownLocationError: the address is none.
        CertificateFileError, UnusableProxyError: the access cannot be used.
    """
    server = with_login(parse_http_address(address, sockets=True), access, "RESTIC_REST_USERNAME",
                        "RESTIC_REST_PASSWORD")
    connections = access.connections or DEFAULT_CONNECTIONS
    failures = HttpFailures(f"rest:{server.shown}", "restic REST")
    pool = open_pool(server, access, connections=connections)
    return RestBackend(HttpTransport(server, pool, failures), connections=connections)


def with_login(address: HttpAddress, access: StoreAccess, user: str, password: str) -> HttpAddress:
    """Return an address with user and password of two variables, where it has neither."""
    if address.user or address.password is not None:
        return address
    secret = access.variables.get(password)
    return replace(address, user=access.variables.get(user, ""), password=Secret(secret) if secret else None)


class RestBackend(HttpBackend):
    """A :class:`~kuramori.storage.backend.Backend` that asks a server."""

    def __init__(self, transport: HttpTransport, *, connections: int = DEFAULT_CONNECTIONS) -> None:
        """Use a transport to the folder of the repository, which is closed with this."""
        super().__init__(transport, _path, connections=connections)
        self._doubtful: set[Handle] = set()

    def create(self) -> None:
        """Let the server make the folders of a repository.

        Raises:
            NotARepositoryServerError: it is none that could.
        """
        answer = self._transport.ask("POST", "?create=true", operation="create", name="the repository's folders",
                                     accept=(*_DONE, 404))
        if answer.status == 404:
            raise self._failures.strange_answer(N_("it knows no such place (HTTP 404)"), "create", "the folders")

    # --- writing -----------------------------------------------------------------------------

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file (see :class:`~kuramori.storage.backend.Backend`)."""
        try:
            answer = self._post(handle, parts)
        except (StoreUnreachableError, StoragePermissionError):
            raise  # nothing was stored
        except BaseException:
            self._retract(handle)  # whatever it was (the parts may have failed as well): half a file may be there
            raise
        if answer.status in _TAKEN:
            self._settle(handle, parts, answer)
        self._doubtful.discard(handle)

    def _post(self, handle: Handle, parts: Sequence[Buffer]) -> HttpAnswer:
        answer = self._transport.ask("POST", _path(handle), operation="save", name=str(handle), parts=parts,
                                     accept=(*_DONE, *_TAKEN, 400), headers={"Content-Type": _OCTETS})
        if answer.status != 400:
            return answer
        refusal = self._failures.of_status(400, answer.headers, answer.body, "save", str(handle))
        if not self._failures.reached or total_size(parts) == 0:
            raise refusal
        # Servers compare what arrived with the name, which is its hash: it was damaged on the way.
        raise StorageRetryableError(**refusal.fields)

    def _retract(self, handle: Handle) -> None:
        """Delete what a failed upload may have left, as far as that works now. Never the config: there is no other."""
        if handle.type is FileType.CONFIG:
            return
        self._doubtful.add(handle)
        try:
            self._transport.ask("DELETE", _path(handle), operation="remove", name=str(handle), accept=(*_DONE, 404))
            self._doubtful.discard(handle)
        except StorageError:
            return  # the first error is told; the next attempt, or close, sees to it

    def _settle(self, handle: Handle, parts: Sequence[Buffer], answer: HttpAnswer) -> None:
        """Find out why a name cannot be had: an earlier attempt may have got through unheard."""
        refusal = self._failures.of_status(answer.status, answer.headers, answer.body, "save", str(handle))
        try:
            if self._files.holds(_path(handle), str(handle), parts):
                return
        except FileNotInStorageError:
            raise refusal from None
        answer = self._transport.ask("DELETE", _path(handle), operation="remove", name=str(handle),
                                     accept=(*_DONE, 404, *_TAKEN))
        if answer.status not in _TAKEN:
            answer = self._post(handle, parts)
        if answer.status in _TAKEN:
            raise HalfFileError(**refusal.fields) from None

    def remove(self, handle: Handle) -> None:
        """Delete a file. Most servers do not say whether it was there.

        Raises:
            AppendOnlyError: the server lets go of nothing.
        """
        answer = self._transport.ask("DELETE", _path(handle), operation="remove", name=str(handle),
                                     accept=(*_DONE, 403, 404))
        fields = {"location": self.location, "operation": "remove", "name": str(handle)}
        if answer.status == 404:
            raise FileNotInStorageError(**fields)
        if answer.status == 403:
            raise AppendOnlyError(**fields, detail="HTTP 403")

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Nothing: what a server keeps of half uploads is its own affair."""
        return 0

    def close(self) -> None:
        """Delete what failed uploads may have left, where that could not be done at once, and close connections."""
        for handle in list(self._doubtful):
            self._retract(handle)
            if handle in self._doubtful:
                break
        self._doubtful.clear()
        super().close()

    # --- reading -----------------------------------------------------------------------------

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. A server that knows only names (version 1) is asked for each size."""
        name = file_type.value
        answer = self._transport.ask("GET", f"{name}/", operation="list", name=name, accept=(200, 404),
                                     headers={"Accept": _VERSION_2})
        if answer.status == 404:
            if answer.headers.get("Server", "").startswith("rclone/"):
                # It says so of a missing remote only; an empty listing would look like a repository that lost all.
                raise StorageError(location=self.location, operation="list", name=name, detail="HTTP 404")
            return
        try:
            lines = msgspec.json.decode(answer.body, type=list[_Line | str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._failures.strange_answer(N_("its listing is none of that protocol"), "list", name) from None
        self._failures.reached = True
        unsized = [line for line in lines if isinstance(line, str) and is_hex_id(line)]
        for line in lines:
            if isinstance(line, _Line) and is_hex_id(line.name):
                yield FileInfo(line.name, line.size)
        yield from self._sizes(file_type, unsized)

    def _sizes(self, file_type: FileType, names: Sequence[str]) -> Iterator[FileInfo]:
        if not names:
            return

        def look(name: str) -> FileInfo | None:
            try:
                return FileInfo(name, self.size(Handle(file_type, name)))
            except FileNotInStorageError:
                return None  # it was deleted since

        with ThreadPoolExecutor(self._connections, "kuramori-sizes") as pool:
            found = list(pool.map(look, names))
        yield from (info for info in found if info is not None)


def _path(handle: Handle) -> str:
    if handle.type is FileType.CONFIG:
        return "config"
    if not is_hex_id(handle.name):
        raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
    return f"{handle.type.value}/{handle.name}"
