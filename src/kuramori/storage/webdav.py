"""A repository in a folder of a WebDAV server (RFC 4918), laid out as in a folder of this machine.

A file is PUT under another name beside the folders of the repository, and gets its own by MOVE: nobody sees half of
it. The standard lets a server replace a file by deleting it first, so only the config is ever replaced: all others are
named by what they hold, and one that is there already is compared instead.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from kuramori.errors import N_, FileNotInStorageError, StorageError
from kuramori.ids import is_hex_id
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.backend import Buffer, FileInfo, FileType, Handle
from kuramori.storage.http_address import parse_http_address
from kuramori.storage.http_backend import HttpBackend
from kuramori.storage.http_failures import HttpFailures
from kuramori.storage.http_pools import open_pool
from kuramori.storage.http_transport import HttpAnswer, HttpTransport
from kuramori.storage.rest import with_login

_STORED = (200, 201, 204)
_NO_FOLDER = (403, 404, 409, 500)
"""What servers say to a MOVE into a folder that is not there; 409 is the standard's word."""
_SHARD = re.compile(r"[0-9a-f]{2}")
_LEFTOVER = re.compile(r"kuramori-tmp-[0-9a-f]{32}")
_QUESTION = (b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>'
             b"<getlastmodified/></prop></propfind>")


class _Entry(NamedTuple):
    """Of a folder."""

    name: str
    depth: int
    """Parts of its path."""
    is_folder: bool
    size: int | None
    modified: str


def open_webdav(address: str, access: StoreAccess) -> WebdavBackend:
    """Return the store at ``http(s)://user:password@host:port/path``.

    User and password may also be ``WEBDAV_USERNAME`` and ``WEBDAV_PASSWORD`` of the access, where the address has
    neither.

    Raises:
        UnknownLocationError: the address is none.
        CertificateFileError, UnusableProxyError: the access cannot be used.
    """
    server = with_login(parse_http_address(address), access, "WEBDAV_USERNAME", "WEBDAV_PASSWORD")
    connections = access.connections or DEFAULT_CONNECTIONS
    pool = open_pool(server, access, connections=connections)
    return WebdavBackend(HttpTransport(server, pool, HttpFailures(f"webdav:{server.shown}", "WebDAV")),
                         connections=connections)


class WebdavBackend(HttpBackend):
    """A :class:`~kuramori.storage.backend.Backend` in a folder of a server."""

    def __init__(self, transport: HttpTransport, *, connections: int = DEFAULT_CONNECTIONS) -> None:
        """Use a transport to the folder of the repository, which is closed with this."""
        super().__init__(transport, _path, connections=connections)

    def create(self) -> None:
        """Make the folders of a repository, and those above it. The 256 folders of packs are made when they are needed.

        Raises:
            NotARepositoryServerError: it is no server that could.
        """
        # Most of the folders above are there, and not ours to see: from below, up to the first that can be made.
        missing = []
        folder = self._transport.address.path
        while folder != "/" and not self._make_folder(folder):
            missing.append(folder)
            folder = folder[:-1].rpartition("/")[0] + "/"
        for folder in reversed(missing):
            self._make_folder(folder)
        for file_type in FileType:
            if file_type is not FileType.CONFIG:
                self._make_folder(f"{file_type.value}/")

    def _make_folder(self, folder: str) -> bool:
        """Make a folder, if it is not there; return False where the one above it is missing."""
        # 405: it is there. Redirects and 200 are what servers of other kinds say to all.
        answer = self._transport.ask("MKCOL", folder, operation="create", name=folder, accept=(200, 201, 405, 409))
        if answer.status == 200:
            raise self._failures.strange_answer(N_("it does not make folders"), "create", folder)
        if answer.status == 405:
            self._entries(folder)  # a server that knows no folders at all says the same
        return answer.status != 409

    # --- writing -----------------------------------------------------------------------------

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file (see :class:`~kuramori.storage.backend.Backend`)."""
        temporary = f"kuramori-tmp-{secrets.token_hex(16)}"
        moved = False
        try:
            self._transport.ask("PUT", temporary, operation="save", name=str(handle), parts=parts, accept=_STORED,
                                headers={"Content-Type": "application/octet-stream"})
            moved = self._rename(temporary, handle, parts)
        finally:
            if not moved:
                with suppress(StorageError):  # it is collected later, and the first error is told
                    self._transport.ask("DELETE", temporary, operation="remove", name=temporary,
                                        accept=(*_STORED, 404))

    def _rename(self, temporary: str, handle: Handle, parts: Sequence[Buffer]) -> bool:
        """Give a file its name; return False where it is there already."""
        overwrite = handle.type is FileType.CONFIG
        answer = self._move(temporary, handle, overwrite)
        if answer.status in _NO_FOLDER:
            # The folder of a pack that is the first with its beginning, or one that a copying tool has dropped.
            folders = _path(handle).split("/")[:-1]
            for depth in range(len(folders)):
                self._make_folder("/".join(folders[:depth + 1]) + "/")
            answer = self._move(temporary, handle, overwrite)
        if answer.status == 412:
            if self._files.holds(_path(handle), str(handle), parts):
                return False
            answer = self._move(temporary, handle, overwrite=True)
        if answer.status not in _STORED:
            raise self._failures.of_status(answer.status, answer.headers, answer.body, "save", str(handle))
        return True

    def _move(self, temporary: str, handle: Handle, overwrite: bool) -> HttpAnswer:
        address = self._transport.address
        headers = {"Destination": f"{address.origin}{address.path}{_path(handle)}", "Overwrite": "FT"[overwrite]}
        return self._transport.ask("MOVE", temporary, operation="save", name=str(handle), headers=headers,
                                   accept=(*_STORED, *_NO_FOLDER, 412))

    def remove(self, handle: Handle) -> None:
        """Delete a file."""
        answer = self._transport.ask("DELETE", _path(handle), operation="remove", name=str(handle),
                                     accept=(*_STORED, 404))
        if answer.status == 404:
            raise FileNotInStorageError(location=self.location, operation="remove", name=str(handle))

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete uploads that never got their name and are that old by the server's clock; return how many."""
        answer, entries = self._entries("")
        count = 0
        for entry in entries:
            if not _LEFTOVER.fullmatch(entry.name):
                continue
            age = _seconds_between(entry.modified, answer.headers.get("Date", ""))
            if age is None or age < older_than_seconds:
                continue
            self._transport.ask("DELETE", entry.name, operation="remove", name=entry.name, accept=(*_STORED, 404))
            count += 1
        return count

    # --- reading -----------------------------------------------------------------------------

    def _infos(self, folder: str) -> list[FileInfo]:
        found = []
        shard = folder.split("/")[1]
        for entry in self._entries(folder)[1]:
            if entry.is_folder or not is_hex_id(entry.name) or not entry.name.startswith(shard):
                continue
            size = entry.size
            if size is None:
                try:
                    size = self._files.size(folder + entry.name, folder + entry.name)
                except FileNotInStorageError:
                    continue  # it was deleted since
            found.append(FileInfo(entry.name, size))
        return found

    def _entries(self, folder: str) -> tuple[HttpAnswer, list[_Entry]]:
        """Return what is in a folder; nothing if it is not there."""
        answer = self._transport.ask(
            "PROPFIND", folder, operation="list", name=folder, accept=(200, 207, 404), parts=[_QUESTION],
            headers={"Depth": "1", "Content-Type": "application/xml; charset=utf-8"})
        if answer.status == 404:
            return answer, []
        try:
            if answer.status != 207 or b"<!DOCTYPE" in answer.body:  # entities could make much of little
                raise ValueError
            entries = [_entry(found) for found in ElementTree.fromstring(answer.body).iter("{DAV:}response")]
        except (ValueError, ElementTree.ParseError):
            raise self._failures.strange_answer(N_("its listing is none of that protocol"), "list", folder) from None
        self._failures.reached = True
        return answer, entries

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders at the location (see :class:`~kuramori.storage.prefixes.FolderLister`)."""
        answer, entries = self._entries("")
        if answer.status == 404:
            raise FileNotInStorageError(location=self.location, operation="list", name="/")
        own = min((entry.depth for entry in entries), default=0)  # the folder itself is among them
        for entry in entries:
            if entry.is_folder and entry.depth > own:
                yield entry.name

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. Packs lie in up to 256 folders, which are asked for several at once."""
        folder = f"{file_type.value}/"
        if file_type is not FileType.PACK:
            yield from self._infos(folder)
            return
        shards = [f"{folder}{entry.name}/" for entry in self._entries(folder)[1]
                  if entry.is_folder and _SHARD.fullmatch(entry.name)]
        with ThreadPoolExecutor(self._connections, "kuramori-listing") as pool:
            for infos in pool.map(self._infos, shards):
                yield from infos


def _entry(response: ElementTree.Element) -> _Entry:
    """Return one line of a listing.

    Raises:
        ValueError: it has no name.
    """
    href = response.findtext("{DAV:}href")
    if href is None:
        raise ValueError
    size = modified = None
    is_folder = False
    for found in response.iter("{DAV:}prop"):
        size = size or found.findtext("{DAV:}getcontentlength")
        modified = modified or found.findtext("{DAV:}getlastmodified")
        is_folder = is_folder or found.find("{DAV:}resourcetype/{DAV:}collection") is not None
    digits = (size or "").strip()
    path = urlsplit(href.strip()).path.rstrip("/")
    return _Entry(unquote(path.rpartition("/")[2]), path.count("/"), is_folder,
                  int(digits) if digits.isdigit() else None, modified or "")


def _seconds_between(earlier: str, later: str) -> float | None:
    try:
        return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None


def _path(handle: Handle) -> str:
    if handle.type is FileType.CONFIG:
        return "config"
    if not is_hex_id(handle.name):
        raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
    shard = f"{handle.name[:2]}/" if handle.type is FileType.PACK else ""
    return f"{handle.type.value}/{shard}{handle.name}"
