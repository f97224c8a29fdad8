"""What ``s3:`` locations mean: the server, the bucket and the prefix, and how the server wants them to be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from kuramori.errors import N_, StoreOptionError, UnknownLocationError
from kuramori.storage.http_address import HttpAddress, parse_http_address
from kuramori.storage.object_store import ObjectPlace, clean_prefix

_URL = re.compile(r"https?://", re.IGNORECASE)
_REGION_IN_HOST = re.compile(
    r"s3(?:[.-](?:fips|dualstack|external-1))*[.-]([a-z]{2,}(?:-[a-z0-9]+)*-?[0-9]+)\.[a-z0-9.-]+"
    r"|([a-z]{3}[0-9])\.digitaloceanspaces\.com|s3\.([a-z0-9-]+)\.(?:wasabisys|scw|io\.cloud\.ovh)\.[a-z]+")
_AMAZON = re.compile(r"s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?")
_ASKED_BY_NAME = re.compile(r".*\.amazonaws\.com(?:\.cn)?|storage\.googleapis\.com|.*\.aliyuncs\.com")
_IN_A_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
DEFAULT_REGION = "us-east-1"
"""Of servers that have no regions, too."""
GLOBAL_AMAZON = "s3.amazonaws.com"


@dataclass(frozen=True, slots=True)
class S3Location:
    """An S3 server, and the place of a repository there."""

    server: HttpAddress
    """Its path is a slash."""
    place: ObjectPlace

    @property
    def shown(self) -> str:
        """The location for people, as it can be given again."""
        path = "/".join(part for part in (self.place.bucket, self.place.prefix) if part)
        return f"s3:{self.server.origin}/{path}"


def parse_s3_address(address: str) -> S3Location:
    """Return what ``host/bucket/prefix``, ``//host/bucket/prefix`` or ``http(s)://host:port/bucket/prefix`` means.

    Without ``http://`` the server is spoken to over TLS. In an address with ``http://`` or ``https://`` the path is
    percent-encoded, in the others it is not; as in restic.

    Raises:
        UnknownLocationError: a part is missing or wrong, or there is a user or a password in it, which has no meaning
            here. The text is not shown.
    """
    whole = _URL.match(address) is not None
    text = address if whole else f"https://{address.removeprefix('//')}"
    scheme, _separator, rest = text.partition("://")
    host, _slash, path = rest.partition("/")
    server = parse_http_address(f"{scheme}://{host}/")
    if server.user or server.password is not None:
        raise UnknownLocationError(detail=N_("credentials for s3: are not written into the location, but into "
                                             "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))
    bucket, _slash, prefix = (unquote(path) if whole else path).partition("/")
    if not bucket:
        raise UnknownLocationError(detail=N_("the name of the bucket is missing: s3:host/bucket/path"))
    return S3Location(server, ObjectPlace(bucket, clean_prefix(prefix)))


def named_region(server: HttpAddress, variables: Mapping[str, str], options: Mapping[str, str]) -> str | None:
    """Return the region that options, variables or the name of the server say; None if nothing does."""
    found = options.get("s3.region") or variables.get("AWS_DEFAULT_REGION") or variables.get("AWS_REGION")
    if found:
        return found
    match = _REGION_IN_HOST.fullmatch(server.host)
    return next((group for group in match.groups() if group), None) if match is not None else None


def regional_server(server: HttpAddress, region: str) -> HttpAddress:
    """Return the server that has the buckets of a region: Amazon's common name leads only to one of them."""
    if server.host != GLOBAL_AMAZON or region == DEFAULT_REGION:
        return server
    suffix = ".cn" if region.startswith("cn-") else ""
    return replace(server, host=f"s3.{region}.amazonaws.com{suffix}")


def is_amazon(server: HttpAddress) -> bool:
    """Tell whether a server is Amazon's own."""
    return _AMAZON.fullmatch(server.host) is not None


def asks_by_host_name(location: S3Location, options: Mapping[str, str]) -> bool:
    """Tell whether the bucket stands in the name of the host (``bucket.host``) and not in the path.

    Raises:
        StoreOptionError: ``s3.bucket-lookup`` has a value without a meaning.
    """
    chosen = options.get("s3.bucket-lookup") or "auto"
    if chosen == "dns":
        return True
    if chosen == "path":
        return False
    if chosen != "auto":
        raise StoreOptionError(option="s3.bucket-lookup", value=chosen, detail=N_("it is auto, dns or path"))
    # A certificate for *.host is not good for names with more dots in them.
    return _ASKED_BY_NAME.fullmatch(location.server.host) is not None and \
        _IN_A_NAME.fullmatch(location.place.bucket) is not None
