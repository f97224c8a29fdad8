"""A repository in an object store: S3, Google Cloud Storage and Azure, through the library obstore.

An object is there whole or not at all, so nothing needs a temporary name. The library's own patience is switched off:
the ``retry`` wrapper has it. Its time limit for a whole request is taken off too, because a slow link is no dead one;
what counts is that something moves.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError

from kuramori.errors import (
    N_,
    CertificateFileError,
    Phrase,
    ShortReadError,
    StorageRetryableError,
    UnknownLocationError,
)
from kuramori.ids import is_hex_id
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import Buffer, FileInfo, FileType, Handle
from kuramori.storage.http_address import HttpAddress
from kuramori.storage.http_pools import proxy_for
from kuramori.storage.object_failures import ObjectFailures
from kuramori.storage.spooled_file import SpooledFile, total_size

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    ObjectClient = AzureStore | GCSStore | S3Store

_LISTED_AT_ONCE = 1000
_CONNECT_SECONDS = 15.0
_ELSEWHERE = "elsewhere.invalid"
_NO_LIMIT = timedelta(days=365)
_ERRORS = (BaseError, FileNotFoundError, ValueError)


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Where a repository lies in an object store."""

    bucket: str
    prefix: str
    """Of all keys, without slashes at its ends; may be empty."""

    def key(self, handle: Handle) -> str:
        """Return the key of a file (format section 1.1)."""
        if handle.type is FileType.CONFIG:
            return posixpath.join(self.prefix, "config")
        return posixpath.join(self.folder(handle.type), *((handle.name[:2],) if handle.type is FileType.PACK else ()),
                              handle.name)

    def folder(self, file_type: FileType) -> str:
        """Return what the keys of all files of a type begin with, without a slash behind it."""
        return posixpath.join(self.prefix, file_type.value)


class ObjectStoreBackend:
    """A :class:`~kuramori.storage.backend.Backend` over a client of obstore. May be used by several threads at once.

    Removing what is not there is a success, as the stores see it.
    """

    worker_location = None

    def __init__(self, client: ObjectClient, place: ObjectPlace, failures: ObjectFailures, *, connections: int,
                 uploads: ObjectClient, piece_size: int) -> None:
        """Use ``client``, which has no prefix of its own.

        Args:
            failures: makes the errors.
            connections: how many operations at once make sense.
            uploads: a client whose limit of time is meant for the request of a whole piece.
            piece_size: bytes that are sent in one request of an upload; a store joins them.
        """
        self._client = client
        self._uploads = uploads
        self._place = place
        self._failures = failures
        self._connections = connections
        self._piece_size = piece_size

    @property
    def location(self) -> str:
        """The location without credentials."""
        return self._failures.location

    @property
    def connections(self) -> int:
        """How many operations at once make sense."""
        return self._connections

    def create(self) -> None:
        """Nothing is made: there are no folders, and a bucket or container is made with the provider's tools."""

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file. It has its name when all of it has arrived."""
        size = total_size(parts)
        content: Any = b"".join(parts) if size <= self._piece_size else parts
        with self._mapped("save", str(handle)):
            obstore.put(self._uploads, self._place.key(handle), content, use_multipart=size > self._piece_size,
                        chunk_size=self._piece_size, max_concurrency=1)

    def stage(self) -> SpooledFile:
        """Begin a pack, which waits in a temporary file."""
        return SpooledFile(self.save, self.location)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, in one request."""
        if length == 0 or (length is None and offset):
            # What lies behind the end of a file is asked for in words that not every store understands.
            size = self.size(handle)
            if offset > size:
                raise self._short(handle, offset, size)
            length = size - offset if length is None else 0
            if not length:
                return b""
        options: GetOptions = {"range": (offset, offset + length)} if length is not None else {}
        try:
            with self._mapped("load", str(handle)):
                answer = self._client.get(self._place.key(handle), options=options)
                content = bytes(answer.bytes())
                self._refuse_strange(answer, handle)
        except _RangeError as error:
            size = self.size(handle)
            if offset + (length or 0) > size:
                raise self._short(handle, offset + (length or 0), size) from error
            raise self._passing(handle, N_("the server does not find a range that is there")) from error
        size = answer.meta["size"]
        if offset + (length or 0) > size:
            raise self._short(handle, offset + (length or 0), size)
        wanted = size - offset if length is None else length
        if len(content) != wanted or tuple(answer.range) != (offset, offset + wanted):
            raise self._passing(handle, N_("the answer is damaged or cut off"))
        return content

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        with self._mapped("look at", str(handle)):
            return self._client.head(self._place.key(handle))["size"]

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. A thousand come with one request."""
        folder = self._place.folder(file_type)
        inner = len(folder) + 1
        with self._mapped("list", file_type.value):
            pages = iter(self._client.list(folder, chunk_size=_LISTED_AT_ONCE))
        while True:
            with self._mapped("list", file_type.value):
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                shard, _slash, name = found["path"][inner:].rpartition("/")
                if is_hex_id(name) and shard == (name[:2] if file_type is FileType.PACK else ""):
                    yield FileInfo(name, found["size"])

    def folders(self) -> Iterator[str]:
        """Yield what stands before the next slash of keys below the location (see
        :class:`~kuramori.storage.prefixes.FolderLister`). Nothing there and nothing below are the same."""
        inner = len(self._place.prefix) + 1 if self._place.prefix else 0
        with self._mapped("list", self._place.prefix or "/"):
            found = self._client.list_with_delimiter(self._place.prefix or None)
        for prefix in found["common_prefixes"]:
            yield prefix[inner:].strip("/")

    def remove(self, handle: Handle) -> None:
        """Delete a file, if it is there."""
        with self._mapped("remove", str(handle)):
            self._client.delete(self._place.key(handle))

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete nothing: an upload that was cut off leaves nothing under our prefix."""
        return 0

    def close(self) -> None:
        """Nothing is kept but idle connections, which end with this object."""

    def _prepare(self) -> None:
        """Do what a request needs; called before each one. What it raises is seen by the caller as it is."""

    # --- errors ------------------------------------------------------------------------------

    @contextmanager
    def _mapped(self, operation: str, name: str) -> Iterator[None]:
        """Raise what obstore raises as errors of our own."""
        self._prepare()
        try:
            yield
        except _ERRORS as error:
            if "status code: 416" in str(error) or "InvalidRangeRequest" in str(error):
                raise _RangeError from error
            raise self._failures.of_obstore(error, operation, name) from error
        self._failures.reached = True

    def _refuse_strange(self, answer: GetResult, handle: Handle) -> None:
        """Raise if whoever answers is no object store, such as the login page of a hotel, which says yes to all."""
        if answer.meta["e_tag"] is None:
            raise self._failures.strange_answer(N_("its answers lack what must be in them"), "load", str(handle))

    def _short(self, handle: Handle, wanted: int, size: int) -> ShortReadError:
        return ShortReadError(location=self.location, operation="load", name=str(handle),
                              detail=Phrase(N_("{wanted} bytes were expected and it has {size}"), wanted=wanted,
                                            size=size))

    def _passing(self, handle: Handle, detail: str) -> StorageRetryableError:
        return StorageRetryableError(location=self.location, operation="load", name=str(handle), detail=detail)


class _RangeError(Exception):
    """The server says that a file has no such bytes."""


def parse_bucket_address(address: str) -> ObjectPlace:
    """Return what ``bucket:/prefix`` means, as ``gs:`` and ``azure:`` write it; the slash may be missing.

    Raises:
        UnknownLocationError: there is no bucket, or no colon behind it.
    """
    bucket, colon, prefix = address.partition(":")
    if not bucket or not colon or "/" in bucket:
        raise UnknownLocationError(detail=N_("a bucket and a path are expected after the kind of store, as in "
                                             "bucket:/path"))
    return ObjectPlace(bucket, clean_prefix(prefix))


def clean_prefix(text: str) -> str:
    """Return a prefix as restic makes it of what is typed: no slashes at the ends, none twice.

    Raises:
        UnknownLocationError: it leads out of the bucket.
    """
    prefix = posixpath.normpath("/" + text.strip("/")).strip("/")
    if any(part in ("..", ".") for part in text.split("/")):
        raise UnknownLocationError(detail=N_("the path in a bucket cannot have parts that are . or .."))
    return prefix


def client_options(server: HttpAddress, access: StoreAccess, *, silence_seconds: float) -> ClientConfig:
    """Return how obstore connects: certificates, proxies and limits of time.

    Args:
        silence_seconds: for how long nothing may come. While a request is sent nothing comes, so the whole of it must
            be sent within that time.

    Raises:
        CertificateFileError: the file of certificates cannot be read, or a client certificate is asked for, which
            obstore does not have.
    """
    options: ClientConfig = {
        "user_agent": "kuramori", "allow_http": server.scheme == "http", "timeout": _NO_LIMIT,
        "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, access.stall_seconds)),
        "read_timeout": timedelta(seconds=silence_seconds)}
    if access.insecure_tls:
        options["allow_invalid_certificates"] = True
    if access.ca_certificates is not None:
        options["root_certificate"] = _read_certificates(access)
    if access.client_certificate is not None:
        raise CertificateFileError(path=str(access.client_certificate),
                                   detail=N_("object stores cannot be shown a certificate of ours"))
    proxy = proxy_for(server, access.variables)
    named = proxy or proxy_for(replace(server, host=_ELSEWHERE), access.variables)
    if named is not None:
        # Said in any case: by itself obstore goes by the environment of the process, and takes its proxy for this
        # machine, too. Servers that give tokens may be reached through it though the store is not.
        options["proxy_url"] = named
        excluded = access.variables.get("no_proxy") or access.variables.get("NO_PROXY") or ""
        options["proxy_excludes"] = excluded if proxy is not None else f"{excluded},{server.host.strip('[]')}"
    return options


def no_patience() -> RetryConfig:
    """Return the option of obstore that nothing is tried twice."""
    return {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


def _read_certificates(access: StoreAccess) -> bytes:
    path = access.ca_certificates
    assert path is not None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CertificateFileError(path=str(path), detail=error.strerror or str(error)) from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise CertificateFileError(path=str(path), detail=N_("it holds no certificate"))
    return content
