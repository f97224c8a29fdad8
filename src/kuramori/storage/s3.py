"""Repositories in S3: Amazon's, and every server that speaks as it does (format section 7).

Reading, listing and deleting go through obstore; what is written is signed and sent by
:mod:`~kuramori.storage.s3_requests`, see there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from obstore.store import S3Store

from kuramori.clock import Clock, SystemClock
from kuramori.errors import (
    N_,
    BucketNameError,
    ObjectLockedError,
    ObjectLockUnsupportedError,
    Phrase,
    StorageError,
    StoreOptionError,
)
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.aws_credentials import KEY_VARIABLES, AwsCredentialChain
from kuramori.storage.backend import Buffer, Handle
from kuramori.storage.http_pools import open_pool, proxy_for
from kuramori.storage.http_transport import HttpTransport
from kuramori.storage.object_failures import ObjectFailures
from kuramori.storage.object_store import ObjectStoreBackend, client_options, no_patience
from kuramori.storage.retention import RETAINED_TYPES
from kuramori.storage.s3_location import (
    DEFAULT_REGION,
    GLOBAL_AMAZON,
    S3Location,
    asks_by_host_name,
    is_amazon,
    named_region,
    parse_s3_address,
    regional_server,
)
from kuramori.storage.s3_requests import ObjectVersion, Retention, S3Requests

if TYPE_CHECKING:
    from obstore.store import S3Credential

_REGION = r"[a-z0-9-]{1,40}"
_STORAGE_CLASS = re.compile(r"[A-Z0-9_-]{1,64}")
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_OWNED = b"BucketAlreadyOwnedByYou"
_NO_LOCK = ("InvalidRequest", "ObjectLockConfigurationNotFound", "InvalidBucketState")
"""Codes of servers that are asked to lock an object in a bucket without it."""
_MODES = ("governance", "compliance")
_MOST_VERSIONS = 100
_MOST_DAYS = 36_500


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
        region = named_region(location.server, access.variables, access.options)
        self._storage_class = _storage_class(access)
        self._retention_days = access.object_lock_days or _lock_days(access)
        self._lock_mode = _lock_mode(access)
        self._clock = clock or SystemClock()
        self._location, self._access = location, access
        self._guard = threading.Lock()
        self._region_is_open = region is None and location.server.host == GLOBAL_AMAZON
        failures = ObjectFailures(
            location.shown, "S3", location.place.bucket, host=location.server.place, variables=KEY_VARIABLES,
            proxied=proxy_for(location.server, access.variables) is not None)
        link = _Link(location, access, self._clock, failures, region or DEFAULT_REGION)
        self._link = link
        super().__init__(link.client, location.place, failures, uploads=link.client, piece_size=0,
                         connections=access.connections or DEFAULT_CONNECTIONS)

    def create(self) -> None:
        """Make the bucket where it is missing.

        Raises:
            BucketNameError: it cannot have this name.
            ObjectLockUnsupportedError: it is there and cannot retain anything, as it was asked to.
        """
        bucket = self._place.bucket
        if not self._requests.bucket_is_there(bucket):
            self._make_bucket(bucket)
        if self._retention_days is not None and not self._requests.bucket_can_retain(bucket):
            raise self._lock_unsupported("create", bucket)

    def _make_bucket(self, bucket: str) -> None:
        region = self._link.region
        region = region if is_amazon(self._location.server) and region != DEFAULT_REGION else ""
        answer = self._requests.make_bucket(bucket, with_object_lock=self._retention_days is not None, region=region)
        if answer.status < 300 or _OWNED in answer.body:
            return
        error = self._failures.of_status(answer.status, answer.headers, answer.body, "create", bucket)
        if answer.status in (400, 409):
            raise BucketNameError(location=self.location, operation="create", name=bucket, bucket=bucket,
                                  detail=error.fields.get("detail", answer.status))
        raise error

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file in one request, from wherever its parts are: it is not held in memory."""
        retention = None
        if self._retention_days is not None and handle.type in RETAINED_TYPES:
            retention = Retention(self._lock_mode, self._clock.now() + timedelta(days=self._retention_days))
        try:
            self._requests.put(self._place.key(handle), parts, str(handle), storage_class=self._storage_class,
                               retention=retention)
        except StorageError as error:
            if retention is not None and str(error.fields.get("detail", "")).startswith(_NO_LOCK):
                raise self._lock_unsupported("save", str(handle)) from error
            raise
        self._failures.reached = True

    def remove(self, handle: Handle) -> None:
        """Delete a file, if it is there. Where files are retained their bucket keeps versions: those go, and not only
        the name.

        Raises:
            ObjectLockedError: it may not be deleted yet.
        """
        if self._retention_days is None:
            super().remove(handle)
            return
        key, name = self._place.key(handle), str(handle)
        for _ in range(_MOST_VERSIONS):
            newest = self._requests.newest_version(key, name)
            if newest is None:
                break
            until = self._still_retained(newest)
            if until is not None and handle.type in RETAINED_TYPES:
                raise ObjectLockedError(location=self.location, operation="remove", name=name, until=until)
            if until is not None:
                break  # the bucket retains everything by itself: what matters is that the name is gone
            self._requests.remove_version(key, name, newest.version)
        else:
            return
        super().remove(handle)

    # --- retention ---------------------------------------------------------------------------

    @property
    def retention_days(self) -> int | None:
        """For how long what is written is retained; None for not at all."""
        return self._retention_days

    def retained_until(self, handle: Handle) -> datetime | None:
        """Return until when a file may not be deleted."""
        newest = self._requests.newest_version(self._place.key(handle), str(handle))
        return newest.retained_until if newest is not None and self._still_retained(newest) is not None else None

    def extend_retention(self, handle: Handle, until: datetime) -> None:
        """Retain a file until an instant that is later than before."""
        self._requests.extend(self._place.key(handle), str(handle), Retention(self._lock_mode, until))

    def _still_retained(self, version: ObjectVersion) -> str | Phrase | None:
        """Return until when a version is retained, for people; None if it is not."""
        if version.held:
            return Phrase(N_("the legal hold on it is lifted"))
        if version.retained_until is None or version.retained_until <= self._clock.now():
            return None
        return version.retained_until.astimezone(self._clock.now().tzinfo).strftime("%Y-%m-%d %H:%M")

    def _lock_unsupported(self, operation: str, name: str) -> ObjectLockUnsupportedError:
        return ObjectLockUnsupportedError(location=self.location, operation=operation, name=name,
                                          detail=N_("the bucket was made without it"))

    @property
    def _requests(self) -> S3Requests:
        """What signs requests of ours, for the region in which the bucket is."""
        self._prepare()
        return self._link.requests

    def _prepare(self) -> None:
        if self._region_is_open:
            self._find_region()
        # Asked for by obstore itself, what goes wrong here would come back as a text without a class.
        self._link.credentials.current()

    def _find_region(self) -> None:
        """Ask Amazon where the bucket is, as restic does where nothing says it. What it answers says it, though it is a
        refusal."""
        with self._guard:
            if not self._region_is_open:
                return
            answer = self._link.transport.ask("HEAD", self._link.bucket_path.strip("/"), operation="look at",
                                              name=self._place.bucket, accept=range(200, 500))
            region = answer.headers.get("x-amz-bucket-region", "")
            if re.fullmatch(_REGION, region) and region != self._link.region:
                self._link.transport.close()
                self._link = _Link(self._location, self._access, self._clock, self._failures, region)
                self._client = self._uploads = self._link.client
            self._region_is_open = False

    def close(self) -> None:
        """Close idle connections."""
        self._link.transport.close()
        super().close()


class _Link:
    """The ways to the server of one region: obstore's, and that of our own requests."""

    def __init__(self, location: S3Location, access: StoreAccess, clock: Clock, failures: ObjectFailures,
                 region: str) -> None:
        self.region = region
        bucket = location.place.bucket
        by_name = asks_by_host_name(location, access.options)
        server = regional_server(location.server, region)
        server = replace(server, host=f"{bucket}.{server.host}") if by_name else server
        self.bucket_path = "/" if by_name else f"/{bucket}/"
        self.credentials = AwsCredentialChain(access, location.shown, clock, region=region)
        pool = open_pool(server, access, connections=access.connections or DEFAULT_CONNECTIONS)
        self.transport = HttpTransport(server, pool, failures)
        self.requests = S3Requests(self.transport, self.credentials, clock, region=region,
                                   bucket_path=self.bucket_path)
        self.client = S3Store(
            bucket, endpoint=server.origin, region=region, virtual_hosted_style_request=by_name,
            # Not a method of ours: that would hold the client, which holds it, where no collector looks, and with it
            # the connections of every store that was ever opened.
            credential_provider=partial(_provide, self.credentials),
            disable_bulk_delete=True, retry_config=no_patience(),
            client_options=client_options(server, access, silence_seconds=access.stall_seconds))


def _provide(credentials: AwsCredentialChain) -> S3Credential:
    found = credentials.current()
    token = found.session_token
    return {"access_key_id": found.access_key, "secret_access_key": found.secret_key.reveal(),
            "token": token.reveal() if token is not None else None, "expires_at": found.expires_at}


def _lock_days(access: StoreAccess) -> int | None:
    text = access.options.get("s3.object-lock-days", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_DAYS):
        raise StoreOptionError(option="s3.object-lock-days", value=text,
                               detail=N_("it is a number of days, 1 to 36500"))
    return int(text)


def _lock_mode(access: StoreAccess) -> str:
    chosen = access.options.get("s3.object-lock-mode") or _MODES[0]
    if chosen.lower() not in _MODES:
        raise StoreOptionError(option="s3.object-lock-mode", value=chosen,
                               detail=N_("it is governance or compliance"))
    return chosen.upper()


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
