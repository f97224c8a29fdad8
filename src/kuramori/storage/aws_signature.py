"""Signing requests for Amazon's services and for everything that speaks S3: AWS Signature Version 4.

After "Create a signed AWS API request" and "Authenticating Requests (AWS Signature Version 4)" in Amazon's
documentation, whose worked examples are the tests. The HMAC is the standard library's; nothing else of it is
cryptography.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from kuramori.secret import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Who we are, to a service that speaks as Amazon's do."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None
    """Belongs to credentials that end by themselves."""
    expires_at: datetime | None = None
    """Aware; None for never."""


@dataclass(frozen=True, slots=True)
class UnsignedRequest:
    """What is signed."""

    method: str
    host: str
    """As in the header ``Host``: with the port unless it is the usual one."""
    path: str
    """Not encoded, with a slash in front."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Not encoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them that are to be signed. All that begin with ``x-amz-`` must be."""
    content_sha256: str = EMPTY_SHA256
    """Of the body, in hexadecimal."""

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        encoded = quote(self.path, safe="/-_.~")
        return f"{encoded}?{self.encoded_query}" if self.query else encoded

    @property
    def encoded_query(self) -> str:
        """The query as it is sent and signed: sorted, and encoded to the letter."""
        return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                               for name, value in self.query.items()))


class SigningScope(NamedTuple):
    """For what a signature is good."""

    region: str
    service: str = "s3"


def signed_headers(request: UnsignedRequest, credentials: AwsCredentials, scope: SigningScope,
                   now: datetime) -> dict[str, str]:
    """Return all headers of a request, ``Authorization`` among them, but for ``Host``.

    Args:
        now: aware. Servers refuse requests that are more than 15 minutes old or early.
    """
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {**request.headers, "x-amz-date": moment, "x-amz-content-sha256": request.content_sha256}
    if credentials.session_token is not None:
        headers["x-amz-security-token"] = credentials.session_token.reveal()
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in
                    [*headers.items(), ("host", request.host)])
    names = ";".join(name for name, _ in signed)
    canonical = "\n".join([
        request.method, quote(request.path, safe="/-_.~"), request.encoded_query,
        *(f"{name}:{value}" for name, value in signed), "", names, request.content_sha256])
    reach = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, reach, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = _keyed(_signing_key(credentials, reach), to_sign).hex()
    headers["Authorization"] = (f"{_ALGORITHM} Credential={credentials.access_key}/{reach}, SignedHeaders={names}, "
                                f"Signature={signature}")
    return headers


def _signing_key(credentials: AwsCredentials, reach: str) -> bytes:
    key = f"AWS4{credentials.secret_key.reveal()}".encode()
    for part in reach.split("/"):
        key = _keyed(key, part)
    return key


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
