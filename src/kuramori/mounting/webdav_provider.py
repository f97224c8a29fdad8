"""A virtual tree as WsgiDAV wants it. Importing this loads WsgiDAV, so others do that when they serve.

WebDAV has no links, no modes and no owners. ``latest`` leads where it leads; a symlink in a snapshot is
a small text with its target; devices, FIFOs and sockets are left out.
"""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from wsgidav.dav_error import HTTP_INTERNAL_ERROR, DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider

from kuramori.errors import KuramoriError, NoSuchEntryError, NotAFolderError
from kuramori.mounting.entries import Entry
from kuramori.mounting.file_reader import FileReader
from kuramori.mounting.virtual_tree import VirtualTree
from kuramori.mounting.web_names import name_of_url, url_name

_LINK_TYPE = "text/plain; charset=utf-8"


class TreeProvider(DAVProvider):  # type: ignore[misc]
    """Resources by their URLs."""

    def __init__(self, tree: VirtualTree) -> None:
        """Show ``tree``."""
        super().__init__()
        self.tree = tree

    def is_readonly(self) -> bool:
        """Nothing can be changed."""
        return True

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> _Folder | _File | None:
        """Return what a URL means, or None if there is nothing."""
        try:
            names = [name_of_url(part) for part in path.split("/") if part]
            where = b""
            for name in names:
                where = self._followed(where + b"/" + name)
            return _resource("/" + path.strip("/"), where, self.tree.find(where).entry, self, environ)
        except (NoSuchEntryError, NotAFolderError, ValueError):
            return None
        except KuramoriError as error:
            raise _refused(error) from None

    def _followed(self, path: bytes) -> bytes:
        """Return where a path leads that may be a ``latest``. Those have names of their own folder as
        their targets, and lead to no other link."""
        entry = self.tree.find_entry(path)
        if entry.is_symlink and entry.leads_to_snapshot:
            return path.rpartition(b"/")[0] + b"/" + entry.target
        return path


class _Folder(DAVCollection):  # type: ignore[misc]
    def __init__(self, url: str, where: bytes, entry: Entry, provider: TreeProvider, environ: dict[str, Any]) -> None:
        super().__init__(url, environ)
        self.provider = provider
        self._where = where
        self._entry = entry

    def get_last_modified(self) -> float:
        return self._entry.modified // 1_000_000_000

    def get_creation_date(self) -> float:
        return self.get_last_modified()

    def get_etag(self) -> None:
        return None

    def get_member_names(self) -> list[str]:
        return [resource.name for resource in self.get_member_list()]

    def get_member(self, name: str) -> _Folder | _File | None:
        found: _Folder | _File | None = self.provider.get_resource_inst(self._url_of(name), self.environ)
        return found

    def get_member_list(self) -> list[_Folder | _File]:
        try:
            return list(self._members())
        except KuramoriError as error:
            raise _refused(error) from None

    def _members(self) -> Iterator[_Folder | _File]:
        for located in self.provider.tree.list_folder(self._where):
            entry, name = located.entry, located.entry.name
            where = self._where + b"/" + name
            if entry.is_symlink and entry.leads_to_snapshot:
                where = self._where + b"/" + entry.target
                entry = self.provider.tree.find_entry(where)
            resource = _resource(self._url_of(url_name(name)), where, entry, self.provider, self.environ)
            if resource is not None:
                yield resource

    def _url_of(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"


class _File(DAVNonCollection):  # type: ignore[misc]
    def __init__(self, url: str, where: bytes, entry: Entry, provider: TreeProvider, environ: dict[str, Any]) -> None:
        super().__init__(url, environ)
        self.provider = provider
        self._where = where
        self._entry = entry

    def get_content_length(self) -> int:
        return self._entry.size

    def get_content_type(self) -> str:
        if self._entry.is_symlink:
            return _LINK_TYPE
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def get_last_modified(self) -> float:
        return self._entry.modified // 1_000_000_000

    def get_creation_date(self) -> float:
        return self._entry.changed // 1_000_000_000

    def get_etag(self) -> str:
        return sha256(self._entry.content + self._entry.target).hexdigest()[:40]

    def support_etag(self) -> bool:
        return True

    def support_ranges(self) -> bool:
        return True

    def get_content(self) -> io.RawIOBase | io.BytesIO:
        if self._entry.is_symlink:
            return io.BytesIO(self._entry.target)
        try:
            return _Content(self.provider.tree, self._where, self.provider.tree.open_file(self._where))
        except KuramoriError as error:
            raise _refused(error) from None


class _Content(io.RawIOBase):
    """The content of a file as a stream that seeks."""

    def __init__(self, tree: VirtualTree, where: bytes, reader: FileReader) -> None:
        self._tree = tree
        self._where = where
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._reader.size}[whence]
        self._position = max(0, begin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._reader.read(self._position, self._reader.size if size < 0 else size)
        except KuramoriError as error:
            raise _refused(self._tree.report(self._where, error)) from None
        self._position += len(data)
        return data


def _resource(url: str, where: bytes, entry: Entry, provider: TreeProvider,
              environ: dict[str, Any]) -> _Folder | _File | None:
    if entry.is_folder:
        return _Folder(url, where, entry, provider, environ)
    if entry.is_file or entry.is_symlink:
        return _File(url, where, entry, provider, environ)
    return None


def _refused(error: KuramoriError) -> DAVError:
    return DAVError(HTTP_INTERNAL_ERROR, error.text())
