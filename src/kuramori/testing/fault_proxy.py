"""A proxy in front of a real HTTP server that counts requests, delays them, and lets things go wrong.

It listens on the loopback address and passes HTTP/1.1 on to one server, whole and unchanged: signed requests stay
valid. Each connection of a client has a thread and a connection to the server of its own.
"""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter

from kuramori.clock import Clock, SystemClock
from kuramori.testing.http_wire import Stream
from kuramori.testing.proxied_exchange import ProxiedConnection, send_again
from kuramori.testing.proxied_listings import Write
from kuramori.testing.proxy_faults import Fault, LateDuplicate, ProxiedRequest, Which, describe_request


class FaultProxy:
    """A server on a free port of the loopback address; a context manager that starts and ends it.

    What goes wrong depends on the order of the requests and on the seed alone.

    Attributes:
        target: host and port of the server; may be changed at any time, for a server that was started anew.
        delay_seconds: how long each request waits before it is passed on, as on a link with such a round trip.
    """

    def __init__(self, target: tuple[str, int], *, delay_seconds: float = 0.0, seed: int = 0,
                 clock: Clock | None = None) -> None:
        """Nothing listens yet.

        Args:
            target: host and port of the server.
            delay_seconds: see the attribute.
            seed: chooses the bits that are flipped.
            clock: what the delay sleeps by.
        """
        self.target = target
        self.delay_seconds = delay_seconds
        self.clock = clock or SystemClock()
        self._seed = seed
        self._guard = threading.Lock()
        self._requests: list[ProxiedRequest] = []
        self._writes: list[Write] = []
        self._faults: list[_Injected] = []
        self._late: list[_Late] = []
        self._connections: set[ProxiedConnection] = set()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self.late_answers: list[int] = []
        """What the server said to late duplicates: their status; 0 for no answer."""

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen from now on."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """End all connections, and listen no more. May be called more than once."""
        with self._guard:
            listener, self._listener = self._listener, None
        if listener is None or self._acceptor is None:
            return
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
        self._acceptor.join()
        listener.close()
        with self._guard:
            connections = list(self._connections)
        for connection in connections:
            connection.shut()
        for thread in self._threads:
            thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._listener is not None, "it was not started"
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    # --- what the tests see and ask for ---------------------------------------------------------

    @property
    def requests(self) -> list[ProxiedRequest]:
        """All requests since the beginning or :meth:`forget_requests`, in the order in which they came."""
        with self._guard:
            return list(self._requests)

    def counts(self) -> Counter[str]:
        """Return how many requests there were, by :attr:`ProxiedRequest.what`."""
        return Counter(request.what for request in self.requests)

    def forget_requests(self) -> None:
        """Count from zero again. What listings were like is remembered."""
        with self._guard:
            self._requests.clear()

    def inject(self, fault: Fault, which: Which | None = None) -> None:
        """Let something go wrong: with the next request, or with those that ``which`` names, counted from now."""
        with self._guard:
            self._faults.append(_Injected(fault, which or Which()))

    def heal(self) -> None:
        """Let nothing go wrong from now on. What stalls goes on stalling."""
        with self._guard:
            self._faults.clear()

    @property
    def injured(self) -> list[ProxiedRequest]:
        """The requests that a fault met."""
        return [request for request in self.requests if request.faults]

    def deliver_late(self) -> None:
        """Let all late duplicates arrive now."""
        with self._guard:
            late, self._late = self._late, []
        self._deliver(late)

    # --- what its connections ask for -----------------------------------------------------------

    def enter(self, method: str, target: str, byte_range: str) -> ProxiedRequest:
        """Number a request, and decide what goes wrong with it. Late duplicates that are due arrive before it."""
        with self._guard:
            request = describe_request(len(self._requests) + 1, method, target, byte_range)
            self._requests.append(request)
            request.faults = tuple(each.fault for each in self._faults if each.meets(request))
            due = [late for late in self._late if late.passes()]
            self._late = [late for late in self._late if late not in due]
        self._deliver(due)
        return request

    def chance(self, request: ProxiedRequest) -> random.Random:
        """Return what decides by chance about a request; the same in each run."""
        return random.Random(f"{self._seed} {request.number}")

    def remember_write(self, write: Write) -> None:
        """Note what an upload or a removal changed."""
        with self._guard:
            self._writes.append(write)

    @property
    def writes(self) -> list[Write]:
        """All uploads and removals that the server carried out, in their order."""
        with self._guard:
            return list(self._writes)

    def repeat_later(self, fault: LateDuplicate, message: bytes) -> None:
        """Keep a request that shall arrive once more."""
        with self._guard:
            self._late.append(_Late(fault.requests, message))

    def open_target(self) -> Stream:
        """Connect to the server.

        Raises:
            OSError: it is not there.
        """
        return Stream(socket.create_connection(self.target))

    def leave(self, connection: ProxiedConnection) -> None:
        """Forget a connection that has ended."""
        with self._guard:
            self._connections.discard(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return  # it was closed
            connection = ProxiedConnection(self, Stream(accepted))
            with self._guard:
                self._connections.add(connection)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=connection.serve, daemon=True))
            self._threads[-1].start()

    def _deliver(self, late: list[_Late]) -> None:
        for each in late:
            self.late_answers.append(send_again(self, each.message))


class _Injected:
    """A fault and how many requests it has seen."""

    def __init__(self, fault: Fault, which: Which) -> None:
        self.fault = fault
        self._which = which
        self._seen = 0

    def meets(self, request: ProxiedRequest) -> bool:
        if not self._which.matches(request):
            return False
        self._seen += 1
        return self._which.meets(self._seen)


class _Late:
    """A request that will arrive again."""

    def __init__(self, requests: int, message: bytes) -> None:
        self._left = requests
        self.message = message

    def passes(self) -> bool:
        """Count one more request; tell whether it is the one to come before."""
        self._left -= 1
        return self._left <= 0
