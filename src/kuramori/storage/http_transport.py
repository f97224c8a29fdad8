"""Requests over HTTP for stores: what is sent and read, and in which cases it did not work.

urllib3 does the work. What it would do by itself and a store must not have is switched off: it neither tries again (the
``retry`` wrapper does, which knows budgets) nor follows redirects blindly nor unpacks answers.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urljoin

import urllib3

from kuramori.storage.backend import Buffer
from kuramori.storage.http_address import HttpAddress, basic_login
from kuramori.storage.http_failures import HttpFailures
from kuramori.storage.http_pools import HttpPool, HttpResponse
from kuramori.storage.spooled_file import total_size

_PIECE = 32 * 1024
"""Of an upload. A piece has the whole of ``stall_seconds`` to leave, so that a link of some hundred bytes per second is
slow and not dead."""
_MOST_REDIRECTS = 5
_MOST_OF_REFUSALS = 64 * 1024
MOST_BYTES = 1 << 32
"""Of one answer: no file of a repository is larger, and a server that never ends must not fill the memory."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes
    """As long as the server announced, or the beginning that was asked for."""


class HttpTransport:
    """Speaks with one server. All methods may be called from several threads at once."""

    def __init__(self, address: HttpAddress, pool: HttpPool, failures: HttpFailures) -> None:
        """Speak over the connections of a pool, which is closed with this.

        Args:
            address: the server; names of files are added to its path.
            pool: makes the connections, see :func:`~kuramori.storage.http_pools.open_pool`.
            failures: makes the errors.
        """
        self._address = address
        self._failures = failures
        self._headers = {"User-Agent": "kuramori", "Accept-Encoding": "identity"}
        if address.user or address.password is not None:
            password = address.password.reveal() if address.password is not None else ""
            self._headers["Authorization"] = basic_login(address.user, password)
        self._pool = pool

    @property
    def address(self) -> HttpAddress:
        """Whom it speaks with."""
        return self._address

    @property
    def failures(self) -> HttpFailures:
        """What makes its errors."""
        return self._failures

    def ask(self, method: str, path: str, *, operation: str, name: str, accept: Container[int] = (200,),
            headers: Mapping[str, str] | None = None, parts: Sequence[Buffer] | None = None,
            most: int = MOST_BYTES) -> HttpAnswer:
        """Send a request and return the answer.

        Args:
            path: below the address, percent-encoded; may be empty. One that begins with a slash is the whole path.
            operation, name: for errors: what is done, to what.
            accept: which statuses are returned; others are raised.
            headers: more of them.
            parts: what is sent as the body, without being copied as a whole; gone over once more after a redirect.
            most: of the body so many bytes are read at most, and then the connection is dropped.

        Raises:
            StorageError: see :class:`~kuramori.storage.http_failures.HttpFailures`.
        """
        target = path if path.startswith("/") else self._address.path + path
        answer = self._ask_once(method, target, operation, name, headers or {}, parts, most, accept)
        for _ in range(_MOST_REDIRECTS):
            following = None if answer.status in accept else self._redirect(method, target, answer)
            if following is None:
                break
            target = following
            answer = self._ask_once(method, target, operation, name, headers or {}, parts, most, accept)
        if answer.status not in accept:
            raise self._failures.of_status(answer.status, answer.headers, answer.body, operation, name)
        return answer

    def close(self) -> None:
        """Close what is idle. May be called more than once; later requests connect anew."""
        self._pool.close()

    def _ask_once(self, method: str, target: str, operation: str, name: str, headers: Mapping[str, str],
                  parts: Sequence[Buffer] | None, most: int, accept: Container[int]) -> HttpAnswer:
        sent = {**self._headers, **headers}
        if parts is not None:
            sent["Content-Length"] = str(total_size(parts))
        try:
            response = self._pool.send(method, target, sent, None if parts is None else _pieces(parts))
            try:
                body = _read(response, most if response.status in accept else min(most, _MOST_OF_REFUSALS))
            finally:
                response.release_conn()  # a connection with an unread rest was closed
        except (urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
            raise self._failures.of_connection(error, operation, name, host=self._address.place) from error
        return HttpAnswer(response.status, response.headers, body)

    def _redirect(self, method: str, target: str, answer: HttpAnswer) -> str | None:
        """Return where to ask instead, if that is on the same server and keeps the meaning of the request: our
        password is not carried to another one, and what was to be stored must not become a question."""
        if answer.status not in (301, 302, 307, 308) or "Location" not in answer.headers:
            return None
        if answer.status in (301, 302) and method not in ("GET", "HEAD", "PROPFIND"):
            return None
        url = urljoin(self._address.origin + target, answer.headers["Location"])
        origin = self._address.origin
        return url[len(origin):] if url.startswith(origin + "/") else None


def _read(response: HttpResponse, most: int) -> bytes:
    """Return the body, or its beginning if it is longer than ``most``; the connection is closed then."""
    announced = response.length_remaining
    if announced is not None and announced <= most:
        return response.read(decode_content=False)
    # Without a length the end is marked (chunked), or it is the end of the connection.
    pieces: list[bytes] = []
    left = most
    while left:
        piece = response.read(min(left, 1 << 20), decode_content=False)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        left -= len(piece)
    response.close()
    return b"".join(pieces)


def _pieces(parts: Sequence[Buffer]) -> Iterator[bytes]:
    """Yield the content in pieces of one size: neither thousands of small ones, nor one so large that a slow link
    looks like a dead one."""
    waiting = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        while len(waiting) + len(view) >= _PIECE:
            taken = _PIECE - len(waiting)
            yield bytes(waiting) + view[:taken] if waiting else bytes(view[:taken])
            waiting.clear()
            view = view[taken:]
        waiting += view
    if waiting:
        yield bytes(waiting)
