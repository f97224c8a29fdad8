"""One connection of a client to the fault proxy: requests and their answers, with what goes wrong in them."""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from kuramori.testing.http_wire import Framing, Head, Stream, WireError
from kuramori.testing.proxied_listings import empty_listing, stale_listing, write_of
from kuramori.testing.proxy_faults import (
    Answer,
    Call,
    EmptyListing,
    FlipBit,
    LateDuplicate,
    Moment,
    ProxiedRequest,
    RangeLie,
    Reset,
    ShortenAnswer,
    StaleListing,
    Stall,
    TruncateAnswer,
    WrongRange,
)

if TYPE_CHECKING:
    from kuramori.testing.fault_proxy import FaultProxy

_UPLOADS = frozenset({"PUT", "POST"})
_BODY_FAULTS = (TruncateAnswer, ShortenAnswer, FlipBit, WrongRange, EmptyListing, StaleListing)
_Kind = TypeVar("_Kind")
_Piece = bytes | memoryview


class _CutError(Exception):
    """The connection ends here."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset


class ProxiedConnection:
    """Serves one client until one of the three has had enough."""

    def __init__(self, proxy: FaultProxy, client: Stream) -> None:
        """Nothing is read yet."""
        self._proxy = proxy
        self._client = client
        self._server: Stream | None = None

    def shut(self) -> None:
        """End it, from another thread."""
        self._client.shut()
        server = self._server
        if server is not None:
            server.shut()

    def serve(self) -> None:
        """Pass requests and answers on until the connection ends."""
        reset = False
        try:
            while self._serve_request():
                pass
        except _CutError as cut:
            reset = cut.reset
        except (OSError, WireError):
            reset = True  # the client, or the server, went away in the middle: the other one sees it break
        finally:
            self._client.close(reset=reset)
            if self._server is not None:
                self._server.close(reset=reset)
            self._proxy.leave(self)

    def _serve_request(self) -> bool:
        """Serve one request; tell whether another one may follow."""
        head = self._client.read_head()
        if head is None:
            return False
        method, target, *_ = [*head.first_line.split(" "), "", ""]
        request = self._proxy.enter(method, target, head.get("Range") or "")
        if (head.get("Expect") or "").lower() == "100-continue":
            self._client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._proxy.delay_seconds:
            self._proxy.clock.sleep(self._proxy.delay_seconds)
        canned = _first(request, Answer)
        if canned is not None:
            self._answer_alone(request, head, canned)
            return not head.ends_connection
        self._reach(request, Moment.BEFORE)
        server = self._connect()
        self._forward_request(request, head, server)
        answer = self._read_answer(server)
        request.status = answer.status
        self._remember(request)
        self._reach(request, Moment.AFTER)
        self._forward_answer(request, answer, server)
        if answer.ends_connection or Framing.of_answer(answer, method) == Framing(None):
            return False
        return not head.ends_connection

    def _answer_alone(self, request: ProxiedRequest, head: Head, canned: Answer) -> None:
        for piece in self._client.pieces(Framing.of_request(head)):
            request.uploaded += len(piece)
        request.status = canned.status
        body = b"" if request.method == "HEAD" else canned.body
        answer = Head(f"HTTP/1.1 {canned.status} Injected", [("Content-Length", str(len(canned.body)))])
        if canned.retry_after is not None:
            answer.fields.append(("Retry-After", str(canned.retry_after)))
        self._client.send(answer.encode() + body)

    # --- to the server --------------------------------------------------------------------------

    def _connect(self) -> Stream:
        """Return a connection to the server that it has not ended since the last request."""
        if self._server is not None and _has_something_to_say(self._server):
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = self._proxy.open_target()
        return self._server

    def _forward_request(self, request: ProxiedRequest, head: Head, server: Stream) -> None:
        framing = Framing.of_request(head)
        duplicate = _first(request, LateDuplicate)
        copy = bytearray()

        def reach() -> None:
            self._reach(request, Moment.IN_REQUEST)

        if framing.length == 0:
            reach()
        server.send(head.encode())
        for piece in _with_action(self._client.pieces(framing), framing.length, reach):
            request.uploaded += len(piece)
            server.send_piece(framing, piece)
            if duplicate is not None:
                copy += piece
        server.send_end(framing)
        if duplicate is not None:
            whole = head.without("Transfer-Encoding", "Content-Length", "Connection", "Expect")
            whole.fields += [("Content-Length", str(len(copy))), ("Connection", "close")]
            self._proxy.repeat_later(duplicate, whole.encode() + bytes(copy))

    def _read_answer(self, server: Stream) -> Head:
        while True:
            answer = server.read_head()
            if answer is None:
                raise WireError("the server ended the connection")
            if answer.status >= 200:
                return answer

    def _remember(self, request: ProxiedRequest) -> None:
        if request.status is None or not 200 <= request.status < 300 or not request.kind:
            return
        if request.method in _UPLOADS or request.method == "DELETE":
            size = None if request.method == "DELETE" else request.uploaded
            self._proxy.remember_write(write_of(request.target, request.kind, request.name, size))

    # --- to the client --------------------------------------------------------------------------

    def _forward_answer(self, request: ProxiedRequest, answer: Head, server: Stream) -> None:
        framing = Framing.of_answer(answer, request.method)
        if request.method != "HEAD" and any(isinstance(fault, _BODY_FAULTS) for fault in request.faults):
            body = b"".join(bytes(piece) for piece in server.pieces(framing))
            request.downloaded = len(body)
            self._send_spoiled(request, answer, body)
            return
        def reach() -> None:
            self._reach(request, Moment.IN_ANSWER)

        if framing.length == 0:
            reach()
        self._client.send(answer.encode())
        for piece in _with_action(server.pieces(framing), framing.length, reach):
            request.downloaded += len(piece)
            self._client.send_piece(framing, piece)
        self._client.send_end(framing)

    def _send_spoiled(self, request: ProxiedRequest, answer: Head, body: bytes) -> None:
        head = answer.without("Transfer-Encoding", "Content-Length")
        promised: int | None = None
        for fault in request.faults:
            if isinstance(fault, TruncateAnswer):
                promised, body = len(body), body[: len(body) // 2]
            elif isinstance(fault, ShortenAnswer):
                body = body[: len(body) // 2]
            elif isinstance(fault, FlipBit):
                body = self._flipped(request, body)
            elif isinstance(fault, WrongRange):
                head, body = _lie_about_range(fault.lie, head, body)
                request.status = head.status
            elif isinstance(fault, EmptyListing) and request.listing:
                body = empty_listing(body)
            elif isinstance(fault, StaleListing) and request.listing:
                body = stale_listing(body, request.kind, self._proxy.writes, fault.writes)
        head.fields.append(("Content-Length", str(len(body) if promised is None else promised)))
        self._client.send(head.encode() + body)
        if promised is not None and promised > len(body):
            raise _CutError(reset=False)

    def _flipped(self, request: ProxiedRequest, body: bytes) -> bytes:
        if not body:
            return body
        spoiled = bytearray(body)
        chance = self._proxy.chance(request)
        spoiled[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        return bytes(spoiled)

    # --- what happens at a moment ---------------------------------------------------------------

    def _reach(self, request: ProxiedRequest, moment: Moment) -> None:
        for fault in request.faults:
            if isinstance(fault, Call) and fault.moment is moment:
                fault.action()
            elif isinstance(fault, Stall) and fault.moment is moment:
                self._wait_until_given_up()
                raise _CutError(reset=True)
            elif isinstance(fault, Reset) and fault.moment is moment:
                raise _CutError(reset=True)

    def _wait_until_given_up(self) -> None:
        """Return when the client has closed the connection, or the proxy ends."""
        waiting = select.poll()
        waiting.register(self._client.socket, select.POLLRDHUP)
        waiting.poll()


def send_again(proxy: FaultProxy, message: bytes) -> int:
    """Send a whole request on a connection of its own; return the status of the answer, 0 where there is none."""
    try:
        server = proxy.open_target()
    except OSError:
        return 0
    try:
        server.send(message)
        answer = server.read_head()
        if answer is None:
            return 0
        for _ in server.pieces(Framing.of_answer(answer, message[:16].split(b" ")[0].decode("latin-1"))):
            pass
        return answer.status
    except (OSError, WireError):
        return 0
    finally:
        server.close()


def _with_action(pieces: Iterable[_Piece], total: int | None, action: Callable[[], None]) -> Iterator[_Piece]:
    """Yield what is in the pieces, and call ``action`` after half of ``total``; where that is not known after the
    first byte, and at the end at the latest. A ``total`` of nothing calls it never."""
    left = 1 if total is None else total // 2 if total else None
    for piece in pieces:
        if left is None or len(piece) < left:
            left = None if left is None else left - len(piece)
            yield piece
            continue
        if left:
            yield piece[:left]
        action()
        if len(piece) > left:
            yield piece[left:]
        left = None
    if left is not None:
        action()


def _lie_about_range(lie: RangeLie, head: Head, body: bytes) -> tuple[Head, bytes]:
    said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", head.get("Content-Range") or "")
    if said is None or not body:
        return head, body
    first, last, total = (int(number) for number in said.groups())
    spoiled = body[1:] + bytes([body[-1] ^ 1])
    if lie is RangeLie.SHIFTED:
        return head, spoiled
    other = head.without("Content-Range")
    if lie is RangeLie.ANOTHER:
        other.fields.append(("Content-Range", f"bytes {first + 1}-{last + 1}/{max(total, last + 2)}"))
        return other, spoiled
    other.first_line = "HTTP/1.1 200 OK"
    return other, b"\xa5" * first + body + b"\xa5" * (total - last - 1)


def _first(request: ProxiedRequest, kind: type[_Kind]) -> _Kind | None:
    return next((fault for fault in request.faults if isinstance(fault, kind)), None)


def _has_something_to_say(idle: Stream) -> bool:
    """Whether a connection on which nothing is due can be read: it was ended."""
    poll = select.poll()  # select() itself cannot take descriptors beyond 1023
    poll.register(idle.socket, select.POLLIN)
    return bool(poll.poll(0))
