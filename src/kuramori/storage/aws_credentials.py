"""Who we are to S3, found as restic finds it.

In this order: the variables ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``; the profile ``AWS_PROFILE`` of the
file of shared credentials; a token of a service account (``AWS_WEB_IDENTITY_TOKEN_FILE``); the address that a container
is told (``AWS_CONTAINER_CREDENTIALS_*``); the machine's own metadata service. With ``RESTIC_AWS_ASSUME_ROLE_ARN`` what
was found is used to take on a role.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from kuramori.clock import Clock
from kuramori.errors import (
    N_,
    ExpiredCredentialsError,
    MissingCredentialsError,
    Phrase,
    StorageError,
    StorageRetryableError,
    WrongCredentialsError,
)
from kuramori.secret import Secret
from kuramori.storage.access import StoreAccess
from kuramori.storage.aws_signature import AwsCredentials, SigningScope, UnsignedRequest, signed_headers
from kuramori.storage.http_address import HttpAddress, parse_http_address
from kuramori.storage.http_failures import HttpFailures
from kuramori.storage.http_pools import open_pool
from kuramori.storage.http_transport import HttpAnswer, HttpTransport

KEY_VARIABLES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
"""For advice."""
_METADATA = "http://169.254.169.254"
_CONTAINERS = "http://169.254.170.2"
_METADATA_SECONDS = 2.0
"""Where there is such a service it is in the machine itself; elsewhere nobody answers at all."""
_EARLY = timedelta(minutes=5)
"""Before they end, credentials are renewed."""
_TEXTS = "latest/meta-data/iam/security-credentials/"
_MOST = 64 * 1024


class AwsCredentialChain:
    """Finds credentials when they are asked for first, and renews those that end. May be used by several threads."""

    def __init__(self, access: StoreAccess, location: str, clock: Clock, *, region: str) -> None:
        """Nothing is looked for yet.

        Args:
            access: holds the variables, and how the servers that give credentials are reached.
            location: of the store, for errors.
            region: of the bucket; a role is taken on there unless ``RESTIC_AWS_ASSUME_ROLE_REGION`` says otherwise.
        """
        self._access = access
        self._location = location
        self._clock = clock
        self._region = region
        self._guard = threading.Lock()
        self._found: AwsCredentials | None = None

    def current(self) -> AwsCredentials:
        """Return credentials that are good for some minutes at least.

        Raises:
            MissingCredentialsError: there are none.
            StorageError: whoever gives them does not.
        """
        with self._guard:
            if self._found is None:
                self._found = self._find()
            elif self._ends_within(self._found, _EARLY):
                self._found = self._renew(self._found)
            return self._found

    def _ends_within(self, credentials: AwsCredentials, time: timedelta) -> bool:
        return credentials.expires_at is not None and self._clock.now() >= credentials.expires_at - time

    def _renew(self, old: AwsCredentials) -> AwsCredentials:
        """Return new credentials, or the old ones as long as they are good: who gave them once is away for a while."""
        try:
            return self._find()
        except StorageError as error:
            if not self._ends_within(old, timedelta()):
                return old
            if isinstance(error, MissingCredentialsError):
                raise StorageRetryableError(location=self._location, operation="get", name="credentials",
                                            detail=N_("this machine's metadata service does not answer")) from error
            raise

    def _find(self) -> AwsCredentials:
        variables = self._access.variables
        found = (_of_variables(variables) or _of_profile(variables, self._location) or self._of_service_account()
                 or self._of_container() or self._of_machine())
        role = variables.get("RESTIC_AWS_ASSUME_ROLE_ARN", "")
        return self._in_role(found, role) if role else found

    # --- given by servers --------------------------------------------------------------------

    def _of_service_account(self) -> AwsCredentials | None:
        variables = self._access.variables
        path, role = variables.get("AWS_WEB_IDENTITY_TOKEN_FILE", ""), variables.get("AWS_ROLE_ARN", "")
        if not path or not role:
            return None
        form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role,
                "RoleSessionName": variables.get("AWS_ROLE_SESSION_NAME") or "kuramori",
                "WebIdentityToken": _read_text(Path(path), self._location)}
        return self._of_token_service(form, None, self._region)

    def _in_role(self, own: AwsCredentials, role: str) -> AwsCredentials:
        variables = self._access.variables
        form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role,
                "RoleSessionName": variables.get("RESTIC_AWS_ASSUME_ROLE_SESSION_NAME") or "kuramori"}
        for name, field in (("EXTERNAL_ID", "ExternalId"), ("POLICY", "Policy")):
            if value := variables.get(f"RESTIC_AWS_ASSUME_ROLE_{name}"):
                form[field] = value
        return self._of_token_service(form, own, variables.get("RESTIC_AWS_ASSUME_ROLE_REGION") or self._region)

    def _of_token_service(self, form: Mapping[str, str], own: AwsCredentials | None, region: str) -> AwsCredentials:
        """Ask Amazon's Security Token Service; its answer is XML of one level that matters."""
        address = self._access.variables.get("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT") or f"sts.{region}.amazonaws.com"
        server = parse_http_address(address if "://" in address else f"https://{address}")
        body = urlencode(form, quote_via=quote).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if own is not None:
            request = UnsignedRequest("POST", server.origin.partition("://")[2], server.path, headers=headers,
                                      content_sha256=hashlib.sha256(body).hexdigest())
            headers = signed_headers(request, own, SigningScope(region, "sts"), self._clock.now())
        transport = self._transport(server, self._access, "AWS STS")
        try:
            answer = transport.ask("POST", "", operation="get", name="credentials", headers=headers, parts=[body],
                                   accept=range(200, 500), most=_MOST)
        finally:
            transport.close()
        text = answer.body.decode("utf-8", "replace")
        if answer.status != 200:
            detail = f"{_tag(text, 'Code') or answer.status}: {_tag(text, 'Message')}"
            kind = ExpiredCredentialsError if "Expired" in detail else WrongCredentialsError
            raise kind(location=self._location, operation="get", name="credentials", detail=detail,
                       variables=KEY_VARIABLES)
        return self._checked(_tag(text, "AccessKeyId"), _tag(text, "SecretAccessKey"), _tag(text, "SessionToken"),
                             _tag(text, "Expiration"))

    def _of_container(self) -> AwsCredentials | None:
        variables = self._access.variables
        relative = variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
        url = f"{_CONTAINERS}{relative}" if relative else variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        if not url:
            return None
        token = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if path := variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""):
            token = _read_text(Path(path), self._location)
        answer = self._ask_metadata("GET", url, {"Authorization": token} if token else {})
        return self._of_json(answer)

    def _of_machine(self) -> AwsCredentials:
        base = self._access.variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA
        if self._access.variables.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise self._missing()
        base = base.rstrip("/") + "/"
        try:
            token = self._ask_metadata("PUT", f"{base}latest/api/token",
                                       {"X-aws-ec2-metadata-token-ttl-seconds": "600"}).body.decode("ascii", "replace")
            headers = {"X-aws-ec2-metadata-token": token}
            role = self._ask_metadata("GET", f"{base}{_TEXTS}", headers).body.decode("utf-8", "replace").split("\n")[0]
            return self._of_json(self._ask_metadata("GET", f"{base}{_TEXTS}{quote(role)}", headers))
        except StorageError as error:
            raise self._missing() from error

    def _ask_metadata(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        """Ask a service of the machine itself: never through a proxy, and not for long."""
        origin, slash, path = url.partition("://")[2].partition("/")
        server = parse_http_address(f"{url.partition('://')[0]}://{origin}/")
        direct = replace(self._access, variables={}, stall_seconds=_METADATA_SECONDS)
        transport = self._transport(server, direct, "metadata")
        try:
            parts = [b""] if method == "PUT" else None
            return transport.ask(method, path if slash else "", operation="get", name="credentials", headers=headers,
                                 parts=parts, most=_MOST)
        finally:
            transport.close()

    def _transport(self, server: HttpAddress, access: StoreAccess, kind: str) -> HttpTransport:
        return HttpTransport(server, open_pool(server, access, connections=1), HttpFailures(self._location, kind))

    def _of_json(self, answer: HttpAnswer) -> AwsCredentials:
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, str | None])
        except msgspec.MsgspecError:
            found = {}
        return self._checked(found.get("AccessKeyId"), found.get("SecretAccessKey"), found.get("Token"),
                             found.get("Expiration"))

    def _checked(self, key: str | None, secret: str | None, token: str | None, expires: str | None) -> AwsCredentials:
        try:
            ends = datetime.fromisoformat(expires).astimezone(UTC) if expires else None
        except ValueError:
            ends = None
        if not key or not secret:
            raise StorageRetryableError(location=self._location, operation="get", name="credentials",
                                        detail=N_("the answer of the server that gives them cannot be read"))
        return AwsCredentials(key, Secret(secret), Secret(token) if token else None, ends)

    def _missing(self) -> MissingCredentialsError:
        return MissingCredentialsError(
            location=self._location, operation="get", name="credentials", variables=KEY_VARIABLES,
            detail=N_("neither variables nor ~/.aws/credentials nor this machine's metadata service give any"))


def _of_variables(variables: Mapping[str, str]) -> AwsCredentials | None:
    key = variables.get("AWS_ACCESS_KEY_ID") or variables.get("AWS_ACCESS_KEY")
    secret = variables.get("AWS_SECRET_ACCESS_KEY") or variables.get("AWS_SECRET_KEY")
    if not key or not secret:
        return None
    token = variables.get("AWS_SESSION_TOKEN")
    return AwsCredentials(key, Secret(secret), Secret(token) if token else None)


def _of_profile(variables: Mapping[str, str], location: str) -> AwsCredentials | None:
    """Return what the file of shared credentials says. That a profile is missing is an error only if it was named."""
    named = variables.get("AWS_SHARED_CREDENTIALS_FILE", "")
    path = Path(named) if named else Path(variables.get("HOME", "/"), ".aws", "credentials")
    profile = variables.get("AWS_PROFILE") or variables.get("AWS_DEFAULT_PROFILE") or ""
    if not path.exists() and not profile:
        return None
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_read_text(path, location) if path.exists() else "")
    except configparser.Error as error:
        raise MissingCredentialsError(
            location=location, operation="get", name="credentials", variables=KEY_VARIABLES,
            detail=Phrase(N_("{path!s} is no file of credentials"), path=str(path))) from error
    section = parser[profile or "default"] if parser.has_section(profile or "default") else {}
    key, secret = section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", "")
    if key and secret:
        token = section.get("aws_session_token", "")
        return AwsCredentials(key, Secret(secret), Secret(token) if token else None)
    if not profile:
        return None
    raise MissingCredentialsError(
        location=location, operation="get", name="credentials", variables=KEY_VARIABLES,
        detail=Phrase(N_("{path!s} has no keys for the profile {profile!r}"), path=str(path), profile=profile))


def _read_text(path: Path, location: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingCredentialsError(
            location=location, operation="get", name="credentials", variables=KEY_VARIABLES,
            detail=Phrase(N_("{path!s} cannot be read: {reason!s}"), path=str(path),
                          reason=getattr(error, "strerror", None) or "UTF-8")) from error


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return found[1].strip() if found is not None else ""
