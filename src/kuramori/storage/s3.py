"""Repositories in S3: Amazon's, and every server that speaks as it does (format section 7).

Reading, listing and deleting go through obstore; what is written is signed and sent by
:mod:`~kuramori.storage.s3_requests`, see there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from obstore.store import S3Store

from kuramori.clock import Clock, SystemClock
from kuramori.errors import N_, BucketNameError, StoreOptionError
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.aws_credentials import KEY_VARIABLES, AwsCredentialChain
from kuramori.storage.backend import Buffer, Handle
from kuramori.storage.http_address import HttpAddress
from kuramori.storage.http_pools import open_pool
from kuramori.storage.http_transport import HttpTransport
from kuramori.storage.object_failures import ObjectFailures
from kuramori.storage.object_store import ObjectStoreBackend, client_options, no_patience
from kuramori.storage.s3_location import (
    DEFAULT_REGION,
    S3Location,
    asks_by_host_name,
    is_amazon,
    named_region,
    parse_s3_address,
    regional_server,
)
from kuramori.storage.s3_requests import S3Requests

if TYPE_CHECKING:
    from obstore.store import S3Credential

_STORAGE_CLASS = re.compile(r"[A-Z0-9_-]{1,64}")
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_PIECE_SIZE = 1 << 40
_OWNED = "BucketAlreadyOwnedByYou"


def open_s3(address: str, access: StoreAccess) -> S3Backend:
    """Return the store at ``host/bucket/prefix`` or ``http(s)://host:port/bucket/prefix``. Nothing is asked yet.

    Raises:
        UnknownLocationError, StoreOptionError: the address or an option cannot be used.
        CertificateFileError, UnusableProxyError: the access cannot be used.
    """
    return S3Backend(parse_s3_address(address), access)


class S3Backend(ObjectStoreBackend):
    """A :class:`~kuramori.storage.backend.Backend` in a bucket."""

    def __init__(self, location: S3Location, access: StoreAccess, clock: Clock | None = None) -> None:
        """Prepare connections; none is made yet.

        Args:
            clock: signatures bear its time.
        """
        clock = clock or SystemClock()
        connections = access.connections or DEFAULT_CONNECTIONS
        options = access.options
        region = named_region(location.server, access.variables, options) or DEFAULT_REGION
        server = regional_server(location.server, region)
        by_name = asks_by_host_name(location, options)
        server = replace(server, host=f"{location.place.bucket}.{server.host}") if by_name else server
        failures = ObjectFailures(location.shown, "S3", location.place.bucket, host=server.place,
                                  variables=KEY_VARIABLES)
        self._storage_class = _storage_class(access)
        self._region = region
        self._amazon = is_amazon(location.server)
        self._credentials = AwsCredentialChain(access, location.shown, clock, region=region)
        self._transport = HttpTransport(server, open_pool(server, access, connections=connections), failures)
        self._requests = S3Requests(self._transport, self._credentials, clock, region=region,
                                    bucket_path="/" if by_name else f"/{location.place.bucket}/")
        super().__init__(_client(location, server, access, self._credentials, region, by_name=by_name),
                         location.place, failures, connections=connections, piece_size=_PIECE_SIZE)

    def create(self) -> None:
        """Make the bucket where it is missing."""
        bucket = self._place.bucket
        if self._requests.bucket_is_there(bucket):
            return
        region = self._region if self._amazon and self._region != DEFAULT_REGION else ""
        answer = self._requests.make_bucket(bucket, with_object_lock=False, region=region)
        text = answer.body.decode("utf-8", "replace")
        if answer.status < 300 or _OWNED in text:
            return
        error = self._failures.of_status(answer.status, answer.headers, answer.body, "create", bucket)
        if answer.status in (400, 409):
            raise BucketNameError(location=self.location, operation="create", name=bucket, bucket=bucket,
                                  detail=error.fields.get("detail", answer.status))
        raise error

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file in one request, from wherever its parts are: it is not held in memory."""
        self._requests.put(self._place.key(handle), parts, str(handle), storage_class=self._storage_class)
        self._failures.reached = True

    def _prepare(self) -> None:
        # Asked for by obstore itself, what goes wrong here would come back as a text without a class.
        self._credentials.current()

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()
        super().close()


def _client(location: S3Location, server: HttpAddress, access: StoreAccess, credentials: AwsCredentialChain,
            region: str, *, by_name: bool) -> S3Store:
    def provide() -> S3Credential:
        found = credentials.current()
        token = found.session_token
        return {"access_key_id": found.access_key, "secret_access_key": found.secret_key.reveal(),
                "token": token.reveal() if token is not None else None, "expires_at": found.expires_at}

    return S3Store(location.place.bucket, endpoint=server.origin, region=region, virtual_hosted_style_request=by_name,
                   disable_bulk_delete=True, client_options=client_options(server, access),
                   retry_config=no_patience(), credential_provider=provide)


def _storage_class(access: StoreAccess) -> str:
    chosen = access.options.get("s3.storage-class", "")
    if chosen in _ARCHIVES:
        raise StoreOptionError(option="s3.storage-class", value=chosen,
                               detail=N_("what is in it cannot be read at once, as a repository must be; GLACIER_IR "
                                         "is cheap and can"))
    if chosen and not _STORAGE_CLASS.fullmatch(chosen):
        raise StoreOptionError(option="s3.storage-class", value=chosen, detail=N_("it is no class of storage"))
    if access.options.get("s3.list-objects-v1", "false").lower() not in ("", "false", "0"):
        raise StoreOptionError(option="s3.list-objects-v1", value=access.options["s3.list-objects-v1"],
                               detail=N_("only the newer kind of listing (version 2) is spoken here"))
    return chosen
