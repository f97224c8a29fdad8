"""As much of HTTP/1.1 as a proxy needs that forwards messages byte by byte: heads, and bodies of every framing."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_LARGEST_HEAD = 256 * 1024
_PIECE = 1024 * 1024
_BODILESS = frozenset({204, 304})


class WireError(Exception):
    """The other side ended in the middle of a message, or what it says is no HTTP."""


@dataclass(slots=True)
class Head:
    """The first line and the fields of a request or an answer."""

    first_line: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    """In their order, as they were written."""

    def get(self, name: str) -> str | None:
        """Return a field, or None; the case of its name does not matter."""
        return next((value for each, value in self.fields if each.lower() == name.lower()), None)

    def without(self, *names: str) -> Head:
        """Return a head that lacks the fields ``names``."""
        dropped = {name.lower() for name in names}
        return Head(self.first_line, [(name, value) for name, value in self.fields if name.lower() not in dropped])

    def encode(self) -> bytes:
        """Return the bytes on the wire, with the empty line."""
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def status(self) -> int:
        """Of an answer."""
        try:
            return int(self.first_line.split(" ", 2)[1])
        except (IndexError, ValueError):
            raise WireError("the first line of an answer has no status") from None

    @property
    def ends_connection(self) -> bool:
        """Whether its sender will not use the connection again."""
        said = (self.get("Connection") or "").lower()
        return "close" in said or (self.first_line.startswith("HTTP/1.0") and "keep-alive" not in said)


@dataclass(frozen=True, slots=True)
class Framing:
    """How long a body is."""

    length: int | None = 0
    """Bytes; None where it comes in chunks or ends with the connection."""
    chunked: bool = False

    @classmethod
    def of_request(cls, head: Head) -> Framing:
        """Return that of a request's body."""
        if "chunked" in (head.get("Transfer-Encoding") or "").lower():
            return cls(None, chunked=True)
        return cls(_length(head) or 0)

    @classmethod
    def of_answer(cls, head: Head, method: str) -> Framing:
        """Return that of the body of an answer to a request with ``method``."""
        if method == "HEAD" or head.status in _BODILESS or head.status < 200:
            return cls(0)
        if "chunked" in (head.get("Transfer-Encoding") or "").lower():
            return cls(None, chunked=True)
        return cls(_length(head))


def _length(head: Head) -> int | None:
    said = head.get("Content-Length")
    if said is None:
        return None
    if not said.strip().isdecimal():
        raise WireError("Content-Length is no number")
    return int(said)


class Stream:
    """A connection whose messages are read one after the other. Used by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected socket."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._ahead = bytearray()
        self._buffer = bytearray(_PIECE)

    def read_head(self) -> Head | None:
        """Return the next head, or None where the connection ended before it.

        Raises:
            WireError: it ended within it, or it is no head.
            OSError: the connection broke.
        """
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            if len(self._ahead) > _LARGEST_HEAD:
                raise WireError("a head without an end")
            received = self.socket.recv(65536)
            if not received:
                if self._ahead.strip():
                    raise WireError("the connection ended within a head")
                return None
            self._ahead += received
        text = bytes(self._ahead[:end]).decode("latin-1").lstrip("\r\n")
        del self._ahead[: end + 4]
        first_line, *lines = text.split("\r\n")
        split = [line.partition(":") for line in lines]
        return Head(first_line, [(name, value.strip()) for name, _, value in split])

    def pieces(self, framing: Framing) -> Iterator[bytes | memoryview]:
        """Yield the content of a body as it arrives. A piece is valid until the next one is asked for.

        Raises:
            WireError, OSError: it did not arrive whole.
        """
        if framing.chunked:
            yield from self._chunks()
            return
        left = framing.length
        while left is None or left:
            piece = self._some(_PIECE if left is None else min(left, _PIECE))
            if not piece:
                if left is None:
                    return
                raise WireError("the connection ended within a body")
            left = None if left is None else left - len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            said = self._line().split(b";")[0].strip()
            try:
                size = int(said, 16)
            except ValueError:
                raise WireError("a chunk without a size") from None
            if size == 0:
                while self._line():
                    pass  # fields after the body
                return
            yield b"".join(bytes(piece) for piece in self.pieces(Framing(size)))
            if self._line():
                raise WireError("a chunk is longer than it says")

    def _line(self) -> bytes:
        while (end := self._ahead.find(b"\r\n")) < 0:
            received = self.socket.recv(65536)
            if not received or len(self._ahead) > _LARGEST_HEAD:
                raise WireError("the connection ended within a body")
            self._ahead += received
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 2]
        return line

    def _some(self, most: int) -> bytes | memoryview:
        if self._ahead:
            taken = bytes(self._ahead[:most])
            del self._ahead[: len(taken)]
            return taken
        count = self.socket.recv_into(self._buffer, min(most, len(self._buffer)))
        return memoryview(self._buffer)[:count]

    def send(self, *parts: bytes | memoryview) -> None:
        """Send the parts in order."""
        for part in parts:
            if part:
                self.socket.sendall(part)

    def send_piece(self, framing: Framing, piece: bytes | memoryview) -> None:
        """Send a piece of a body in its framing."""
        if framing.chunked:
            self.send(b"%x\r\n" % len(piece) + bytes(piece) + b"\r\n")
        else:
            self.send(piece)

    def send_end(self, framing: Framing) -> None:
        """Send what ends a body in its framing."""
        if framing.chunked:
            self.send(b"0\r\n\r\n")

    def shut(self) -> None:
        """End both directions, so that whoever waits on the connection wakes. From any thread, at any time."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self, *, reset: bool = False) -> None:
        """Close it; with ``reset`` the other side sees it break, not end."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
