"""Google Cloud Storage for tests, in so far as its XML interface is that of S3: with a bearer token in place of a
signature. What it is asked it asks SeaweedFS."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import urllib3

from kuramori.secret import Secret
from kuramori.storage.aws_signature import AwsCredentials, SigningScope, UnsignedRequest, signed_headers
from samples.seaweedfs import ADMIN, SeaweedServer

TOKEN = "ya29.a-token-for-tests"
_LOGIN = AwsCredentials(ADMIN.access_key, Secret(ADMIN.secret_key))
_PASSED_ON = ("Range", "Content-Type")


class GoogleGateway:
    """A server on loopback, ended by :meth:`close`."""

    def __init__(self, server: SeaweedServer) -> None:
        """Begin to answer."""
        host = server.endpoint.partition("://")[2]
        pool = urllib3.HTTPConnectionPool(*host.split(":"), maxsize=10, retries=False)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._send(401, {}, b"<Error><Code>AuthenticationRequired</Code></Error>", None)
                    return
                url = urlsplit(self.path)
                request = UnsignedRequest(
                    self.command, host, unquote(url.path), dict(parse_qsl(url.query, keep_blank_values=True)),
                    {name: self.headers[name] for name in _PASSED_ON if name in self.headers},
                    hashlib.sha256(body).hexdigest())
                headers = signed_headers(request, _LOGIN, SigningScope("us-east-1"), datetime.now(UTC))
                found = pool.urlopen(self.command, request.target, body, headers, preload_content=False,
                                     decode_content=False)
                content = found.read()
                self._send(found.status, dict(found.headers), content, found.headers.get("Content-Length"))

            def _send(self, status: int, headers: dict[str, str], content: bytes, length: str | None) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
