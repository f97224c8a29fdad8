"""Not a REST server: a small program that shows the edges of restic's protocol which real servers show only sometimes.

It keeps files in memory. ``quirks`` turns on what some servers do; ``canned`` gives answers of which the protocol knows
nothing.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Canned(NamedTuple):
    """An answer as it is sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    stores: bool = False
    """Whether the request is carried out all the same."""
    cut: int | None = None
    """After so many bytes of the body the connection is closed."""


class EdgeServer:
    """Listens on a free port. May be looked into while it runs.

    Quirks: ``names only`` (listings of version 1), ``no ranges``, ``refuses existing`` (403 for a name that is there),
    ``append-only``, ``half files`` (the first upload of a file is kept half, then the connection is cut).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.quirks: set[str] = set()
        self.canned: dict[str, list[Canned]] = {}
        """``GET /config`` -> what is answered to the next ones, in order."""
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self._halved: set[str] = set()
        edges = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                edges._serve(self)

            do_GET = do_HEAD = do_POST = do_DELETE = _serve

            def log_message(self, format: str, *arguments: Any) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.location = f"rest:http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, beginning: str) -> int:
        """Return how many requests began so, such as ``HEAD /keys/``."""
        return sum(request.startswith(beginning) for request in self.requests)

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        size = int(request.headers.get("Content-Length", "0"))
        body = b""
        name = request.path.lstrip("/")
        if request.command == "POST" and "half files" in self.quirks and size and name not in self._halved:
            self._halved.add(name)
            self.files[name] = request.rfile.read(size // 2)
            self.requests.append(f"{request.command} {request.path}")
            request.close_connection = True
            request.connection.close()
            return
        body = request.rfile.read(size)
        self.requests.append(f"{request.command} {request.path}")
        self.headers.append(dict(request.headers))
        canned = self.canned.get(f"{request.command} {request.path}", [])
        answer = canned.pop(0) if canned else None
        if answer is None or answer.stores:
            found = self._answer(request, name, body)
            answer = answer or found
        self._send(request, answer)

    def _send(self, request: BaseHTTPRequestHandler, answer: Canned) -> None:
        request.send_response(answer.status)
        for key, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            if value:
                request.send_header(key, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(answer.body[:answer.cut])
        if answer.cut is not None or not answer.headers.get("Content-Length", "0"):
            request.close_connection = True

    def _answer(self, request: BaseHTTPRequestHandler, name: str, body: bytes) -> Canned:
        if request.command == "POST":
            if "?" not in request.path:
                if name in self.files and self.quirks & {"refuses existing", "append-only"}:
                    return Canned(403)
                self.files[name] = body
            return Canned(200)
        if request.command == "DELETE":
            if "append-only" in self.quirks and not name.startswith("locks/"):
                return Canned(403)
            self.files.pop(name, None)
            return Canned(200)
        if name.endswith("/"):
            return self._list(name, request.headers.get("Accept", ""))
        if name not in self.files:
            return Canned(404)
        return self._read(self.files[name], request.headers.get("Range"))

    def _list(self, folder: str, accepted: str) -> Canned:
        found = {name.removeprefix(folder): content for name, content in self.files.items() if name.startswith(folder)}
        if "names only" in self.quirks or not accepted.endswith("rest.v2"):
            return Canned(200, json.dumps([*found]).encode(), {"Content-Type": "application/vnd.x.restic.rest.v1"})
        lines = [{"name": name, "size": len(content)} for name, content in found.items()]
        return Canned(200, json.dumps(lines).encode(), {"Content-Type": "application/vnd.x.restic.rest.v2"})

    def _read(self, content: bytes, wanted: str | None) -> Canned:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if match is None or "no ranges" in self.quirks:
            return Canned(200, content)
        first = int(match[1])
        last = min(int(match[2] or len(content)), len(content) - 1)
        if first > last:
            return Canned(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        return Canned(206, content[first:last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})
