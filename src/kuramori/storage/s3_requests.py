"""Requests to S3 that are signed here, because obstore does not have them or not as a backup needs them.

That is: storing an object (obstore takes an upload that is slow for one that stalled, holds all of it in memory, and
cannot ask for retention), making a bucket, and everything about object lock.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kuramori.clock import Clock
from kuramori.errors import N_
from kuramori.storage.aws_credentials import AwsCredentialChain
from kuramori.storage.aws_signature import EMPTY_SHA256, SigningScope, UnsignedRequest, signed_headers
from kuramori.storage.backend import Buffer
from kuramori.storage.http_transport import HttpAnswer, HttpTransport
from kuramori.storage.spooled_file import content_of

_MOST = 1 << 20
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Retention:
    """How an object is to be protected."""

    mode: str
    """``GOVERNANCE`` (some may lift it) or ``COMPLIANCE`` (nobody may)."""
    until: datetime
    """Aware."""

    @property
    def until_text(self) -> str:
        """The end as S3 reads it."""
        return self.until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """The newest version of an object."""

    version: str | None
    """None where versions are not kept."""
    retained_until: datetime | None
    """Aware; None if it may be deleted."""
    held: bool
    """Whether a legal hold is on it, which has no end of its own."""


class S3Requests:
    """Signed requests to one bucket. May be used by several threads at once."""

    def __init__(self, transport: HttpTransport, credentials: AwsCredentialChain, clock: Clock, *, region: str,
                 bucket_path: str) -> None:
        """Speak through ``transport``, whose address has the path ``/``.

        Args:
            bucket_path: what stands before each key: ``/bucket/``, or ``/`` where the host's name says the bucket.
        """
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._scope = SigningScope(region)
        self._bucket_path = bucket_path

    def put(self, key: str, parts: Sequence[Buffer], name: str, *, storage_class: str = "",
            retention: Retention | None = None) -> None:
        """Store an object, in one request. The parts are gone over twice.

        Args:
            name: of the file, for errors.
        """
        headers = {"x-amz-storage-class": storage_class} if storage_class else {}
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False) if retention is not None else None
        for part in content_of(parts):
            sha256.update(part)
            if md5 is not None:
                md5.update(part)
        if retention is not None and md5 is not None:
            headers["x-amz-object-lock-mode"] = retention.mode
            headers["x-amz-object-lock-retain-until-date"] = retention.until_text
            headers["Content-MD5"] = base64.b64encode(md5.digest()).decode("ascii")
        answer = self._ask("PUT", key, "save", name, headers=headers, parts=parts, sha256=sha256.hexdigest())
        if "ETag" not in answer.headers:
            # Whoever else says yes to everything on the way, such as the login page of a hotel, has stored nothing.
            raise self._transport.failures.strange_answer(N_("it does not say what it has stored"), "save", name)

    def make_bucket(self, bucket: str, *, with_object_lock: bool, region: str) -> HttpAnswer:
        """Make the bucket; return the answer, which may also be a refusal (409: it is there).

        Args:
            region: where; empty for where the server makes buckets by itself.
        """
        body = (f'<CreateBucketConfiguration xmlns="{_NAMESPACE}"><LocationConstraint>{region}</LocationConstraint>'
                f"</CreateBucketConfiguration>").encode() if region else b""
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if with_object_lock else {}
        return self._ask("PUT", "", "create", bucket, headers=headers, parts=[body],
                         sha256=hashlib.sha256(body).hexdigest(), accept=range(200, 500))

    def bucket_is_there(self, bucket: str) -> bool:
        """Tell whether the bucket is there. One that others own is an error of permission."""
        return self._ask("HEAD", "", "look at", bucket, accept=(200, 404)).status == 200

    def bucket_can_retain(self, bucket: str) -> bool:
        """Tell whether object lock was switched on when the bucket was made. Where we may not ask it is believed."""
        answer = self._ask("GET", "", "look at", bucket, query={"object-lock": ""}, accept=(200, 400, 403, 404))
        return answer.status == 403 or b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>" in answer.body

    def extend(self, key: str, name: str, retention: Retention) -> bool:
        """Prolong the retention of an object; return whether it is there (405: what is newest is a mark that it was
        deleted)."""
        body = (f'<Retention xmlns="{_NAMESPACE}"><Mode>{retention.mode}</Mode><RetainUntilDate>{retention.until_text}'
                f"</RetainUntilDate></Retention>").encode()
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")
        answer = self._ask("PUT", key, "lock", name, query={"retention": ""}, headers={"Content-MD5": digest},
                           parts=[body], sha256=hashlib.sha256(body).hexdigest(), accept=(200, 204, 404, 405))
        return answer.status < 300

    def newest_version(self, key: str, name: str) -> ObjectVersion | None:
        """Return what is known of an object's newest version, None if it is not there (or deleted)."""
        answer = self._ask("HEAD", key, "look at", name, accept=(200, 404))
        if answer.status == 404:
            return None
        headers = answer.headers
        version = headers.get("x-amz-version-id", "")
        return ObjectVersion(version if version not in ("", "null") else None,
                             _moment(headers.get("x-amz-object-lock-retain-until-date", "")),
                             headers.get("x-amz-object-lock-legal-hold", "") == "ON")

    def remove_version(self, key: str, name: str, version: str | None) -> None:
        """Delete one version of an object for good."""
        query = {"versionId": version} if version is not None else {}
        self._ask("DELETE", key, "remove", name, query=query, accept=(200, 204, 404))

    def _ask(self, method: str, key: str, operation: str, name: str, *, query: Mapping[str, str] | None = None,
             headers: Mapping[str, str] | None = None, parts: Sequence[Buffer] | None = None,
             sha256: str = EMPTY_SHA256, accept: Container[int] = (200,)) -> HttpAnswer:
        path = self._bucket_path + key if key else self._bucket_path.rstrip("/") or "/"
        request = UnsignedRequest(method, self._transport.address.origin.partition("://")[2], path, query or {},
                                  headers or {}, sha256)
        signed = signed_headers(request, self._credentials.current(), self._scope, self._clock.now())
        return self._transport.ask(method, request.target.removeprefix("/"), operation=operation, name=name,
                                   headers=signed, parts=parts, accept=accept, most=_MOST)


def _moment(text: str) -> datetime | None:
    """Return what a header says of a time: by ISO 8601, as S3 should, or as HTTP writes dates."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
