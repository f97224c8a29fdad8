"""A proxy on this machine, which leads every name to one server."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress


class ForwardProxy:
    """Takes requests for any host, and tunnels (CONNECT), and asks for a password if it is given one."""

    def __init__(self, target_port: int, login: str = "") -> None:
        """Lead everybody to a port of this machine.

        Args:
            login: ``user:password``.
        """
        self._target = ("127.0.0.1", target_port)
        self._login = f"basic {base64.b64encode(login.encode()).decode()}".lower() if login else ""
        self.asked: list[str] = []
        """The first line of each connection."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        self.asked.append(lines[0])
        with client, suppress(OSError):
            logins = [line.partition(":")[2].strip().lower() for line in lines
                      if line.lower().startswith("proxy-authorization:")]
            if self._login and self._login not in logins:
                client.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(self._target) as server:
                if lines[0].startswith("CONNECT "):
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(head)  # servers understand whole URLs as well (RFC 9112, 3.2.2)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
