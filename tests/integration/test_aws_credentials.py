"""Where credentials for S3 come from, in restic's order: variables, profiles, and servers that give them for a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from kuramori.errors import (
    ExpiredCredentialsError,
    MissingCredentialsError,
    StorageRetryableError,
    WrongCredentialsError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.aws_credentials import AwsCredentialChain
from kuramori.storage.aws_signature import AwsCredentials
from kuramori.testing.clock import FakeClock

_STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>the secret of {key}</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>{expires}</Expiration></Credentials></{action}Result></{action}Response>"""
_REFUSAL = "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"


class CredentialServer:
    """The metadata service of a machine, that of a container, and a token service, at one address."""

    def __init__(self, clock: FakeClock) -> None:
        """Begin to answer."""
        self.asked: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.authorizations: list[str] = []
        self.refusal = ""
        self.garbage = False
        self._clock = clock
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                ours.asked.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, text = ours._answer(f"{self.command} {self.path}", dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = answer

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, question: str, headers: dict[str, str], body: str) -> tuple[int, str]:
        metadata = "GET /latest/meta-data/iam/security-credentials/"
        allowed = headers.get("X-aws-ec2-metadata-token") == "metadata token"
        if question == "PUT /latest/api/token":
            return 200, "metadata token"
        if question == metadata and allowed:
            return 200, "role of the machine\n"
        if question == f"{metadata}role%20of%20the%20machine" and allowed:
            return 200, self._document("MACHINE")
        if question == "GET /container" and headers.get("Authorization") == "container token":
            return 200, self._document("CONTAINER")
        if question == "POST /sts/":
            return self._give_role(headers, body)
        return 403, ""

    def _document(self, key: str) -> str:
        if self.garbage:
            return "<html>"
        return json.dumps({"Code": "Success", "AccessKeyId": key, "SecretAccessKey": f"the secret of {key}",
                           "Token": "token", "Expiration": self._in_an_hour()})

    def _give_role(self, headers: dict[str, str], body: str) -> tuple[int, str]:
        if self.refusal:
            return 403, _REFUSAL.format(code=self.refusal)
        form = parse_qs(body)
        self.forms.append(form)
        self.authorizations.append(headers.get("Authorization", ""))
        action = form["Action"][0]
        key = {"AssumeRole": "ROLE", "AssumeRoleWithWebIdentity": "SERVICE"}[action]
        return 200, _STS.format(action=action, key=key, expires=self._in_an_hour())

    def _in_an_hour(self) -> str:
        return (self._clock.now().astimezone(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Iterator[CredentialServer]:
    found = CredentialServer(clock)
    yield found
    found.close()


def _chain(clock: FakeClock, **variables: str) -> AwsCredentialChain:
    quiet = {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", **variables}
    return AwsCredentialChain(StoreAccess(variables=quiet, stall_seconds=10), "s3:here", clock, region="eu-central-1")


def _texts(found: AwsCredentials) -> tuple[str, str, str | None]:
    token = found.session_token.reveal() if found.session_token is not None else None
    return found.access_key, found.secret_key.reveal(), token


def test_variables(clock: FakeClock) -> None:
    both = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert _texts(_chain(clock, **both).current()) == ("key", "secret", None)
    assert _texts(_chain(clock, **both, AWS_SESSION_TOKEN="token").current()) == ("key", "secret", "token")


def test_profiles(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = one\naws_secret_access_key = se%cret\n"
        "[other]\naws_access_key_id=two\naws_secret_access_key=hidden\naws_session_token=token\n[empty]\n")
    home = str(tmp_path)
    assert _texts(_chain(clock, HOME=home).current()) == ("one", "se%cret", None)
    assert _texts(_chain(clock, HOME=home, AWS_PROFILE="other").current()) == ("two", "hidden", "token")
    file = str(tmp_path / ".aws" / "credentials")
    assert _texts(_chain(clock, AWS_SHARED_CREDENTIALS_FILE=file).current())[0] == "one"
    for profile in ("empty", "nobody"):
        with pytest.raises(MissingCredentialsError, match=profile):
            _chain(clock, HOME=home, AWS_PROFILE=profile).current()
    (tmp_path / ".aws" / "credentials").write_text("no section = hidden")
    with pytest.raises(MissingCredentialsError) as caught:
        _chain(clock, HOME=home).current()
    assert "hidden" not in str(caught.value)


def test_the_machine_gives_them_for_an_hour(clock: FakeClock, server: CredentialServer) -> None:
    chain = _chain(clock, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url)
    assert _texts(chain.current()) == ("MACHINE", "the secret of MACHINE", "token")
    asked = len(server.asked)
    clock.advance(50 * 60)
    chain.current()
    assert len(server.asked) == asked
    clock.advance(6 * 60)
    found = chain.current()
    assert len(server.asked) == 2 * asked
    assert found.expires_at is not None
    assert found.expires_at > clock.now() + timedelta(minutes=50)


def test_who_gave_them_is_away_for_a_while(clock: FakeClock, server: CredentialServer) -> None:
    chain = _chain(clock, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url)
    first = chain.current()
    server.garbage = True
    clock.advance(58 * 60)
    assert chain.current() == first
    clock.advance(3 * 60)
    with pytest.raises(StorageRetryableError):
        chain.current()
    server.garbage = False
    assert chain.current() != first


def test_a_machine_without_a_service(clock: FakeClock, server: CredentialServer) -> None:
    chain = _chain(clock, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{server.url}/elsewhere")
    with pytest.raises(MissingCredentialsError, match="AWS_ACCESS_KEY_ID"):
        chain.current()


def test_a_container_is_told_an_address(clock: FakeClock, server: CredentialServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("container token\n")
    chain = _chain(clock, AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{server.url}/container",
                   AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    assert _texts(chain.current())[0] == "CONTAINER"
    server.garbage = True
    clock.advance(3600)
    with pytest.raises(StorageRetryableError):
        chain.current()


def test_a_role_is_taken_on(clock: FakeClock, server: CredentialServer) -> None:
    role = {"RESTIC_AWS_ASSUME_ROLE_ARN": "arn:aws:iam::1:role/backup", "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "us",
            "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT": f"{server.url}/sts"}
    chain = _chain(clock, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", **role)
    assert _texts(chain.current()) == ("ROLE", "the secret of ROLE", "token")
    assert server.forms[0]["RoleArn"] == ["arn:aws:iam::1:role/backup"]
    assert server.forms[0]["ExternalId"] == ["us"]
    assert "Credential=key/20261123/eu-central-1/sts/aws4_request" in server.authorizations[0]
    for refusal, kind in (("AccessDenied", WrongCredentialsError), ("ExpiredToken", ExpiredCredentialsError)):
        server.refusal = refusal
        with pytest.raises(kind, match=refusal):
            _chain(clock, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", **role).current()


def test_a_service_account(clock: FakeClock, server: CredentialServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("ey.web.identity")
    chain = _chain(clock, AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN="arn:aws:iam::1:role/pod",
                   RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT=f"{server.url}/sts")
    assert _texts(chain.current())[0] == "SERVICE"
    assert server.forms[0]["WebIdentityToken"] == ["ey.web.identity"]
    assert server.authorizations == [""]


def test_times_are_read(clock: FakeClock, server: CredentialServer) -> None:
    chain = _chain(clock, AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url)
    assert chain.current().expires_at == datetime(2026, 11, 23, 1, tzinfo=UTC)
