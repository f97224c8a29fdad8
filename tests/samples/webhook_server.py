"""Somebody who is told: a real server on this machine that writes down what it receives."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookServer:
    """Writes down every request. A path that begins with a status gets that status, /slow gets nothing."""

    def __init__(self) -> None:
        """Start it on a free port of this machine."""
        requests: list[tuple[str, str, bytes]] = []
        released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                requests.append((self.command, self.path, body))
                if self.path.startswith("/slow"):
                    released.wait(30)
                status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _answer

            def log_message(self, format: str, *arguments: Any) -> None:
                """Stay quiet."""

        self.requests = requests
        self.released = released
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def close(self) -> None:
        """End it."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
