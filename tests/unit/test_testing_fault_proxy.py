"""The proxy passes everything on unchanged, and the faults happen where they are asked for."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from kuramori.testing.clock import FakeClock
from kuramori.testing.fault_proxy import FaultProxy
from kuramori.testing.http_wire import Framing, Head, WireError
from kuramori.testing.proxied_listings import empty_listing, stale_listing, write_of
from kuramori.testing.proxy_faults import (
    Answer,
    Call,
    EmptyListing,
    FlipBit,
    LateDuplicate,
    Moment,
    RangeLie,
    Reset,
    ShortenAnswer,
    StaleListing,
    Stall,
    TruncateAnswer,
    WrongRange,
    describe_request,
    requests_of,
)

NAME, OTHER = "a" * 64, "b" * 64
CONTENT = bytes(range(256)) * 8


class Shelf(ThreadingHTTPServer):
    """A server that keeps what it is given and counts what reaches it whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ShelfHandler)
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []

    def handle_error(self, *_: object) -> None:
        """Connections that break are what is tested."""


class ShelfHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shelf

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        wanted = int(self.headers["Content-Length"])
        body = self.rfile.read(wanted)
        if len(body) < wanted:
            self.close_connection = True
            return
        self.server.seen.append(f"{self.command} {self.path}")
        self.server.files[self.path] = body
        self._answer(200)

    do_PUT = do_POST

    def do_DELETE(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        self._answer(404 if self.server.files.pop(self.path, None) is None else 200)

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        elif self.path.endswith("/"):
            names = [{"name": path.rpartition("/")[2], "size": len(body)} for path, body in self.server.files.items()
                     if path.startswith(self.path)]
            self._answer(200, json.dumps(names).encode())
        elif self.path not in self.server.files:
            self._answer(404)
        elif said := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""):
            body = self.server.files[self.path]
            self._answer(206, body[int(said[1]):int(said[2]) + 1],
                         Content_Range=f"bytes {said[1]}-{said[2]}/{len(body)}")
        else:
            self._answer(200, self.server.files[self.path])

    do_HEAD = do_GET


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as server:
        server.files[f"/data/{NAME}"] = CONTENT
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(shelf: Shelf) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", shelf.server_port)) as started:
        yield started


class Client:
    """Asks one request after the other on one connection, as long as that is open."""

    def __init__(self, proxy: FaultProxy, timeout_seconds: float = 60) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout_seconds)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        status, _, content = self.ask_all(method, path, body, **headers)
        return status, content

    def ask_all(self, method: str, path: str, body: bytes | None = None, **headers: str
                ) -> tuple[int, dict[str, str], bytes]:
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def names(self, path: str) -> list[str]:
        return [each["name"] for each in json.loads(self.ask("GET", path)[1])]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Client]:
    asking = Client(proxy)
    yield asking
    asking.close()


def test_what_passes_is_unchanged_and_noted(proxy: FaultProxy, shelf: Shelf, client: Client) -> None:
    large = bytes(range(251)) * 20_000
    assert client.ask("POST", f"/locks/{OTHER}", large) == (200, b"")
    assert client.ask("GET", f"/locks/{OTHER}") == (200, large)
    assert client.ask("GET", f"/data/{NAME}", Range="bytes=3-5") == (206, CONTENT[3:6])
    assert client.ask("HEAD", f"/data/{NAME}") == (200, b"")
    assert client.names("/locks/") == [OTHER]
    assert client.ask("DELETE", f"/locks/{OTHER}") == (200, b"")
    assert client.ask("DELETE", f"/locks/{OTHER}") == (404, b"")
    assert client.ask("GET", "/chunks") == (200, b"hello world")
    assert proxy.counts() == {"POST locks": 1, "GET locks": 1, "GET data": 1, "HEAD data": 1, "GET locks/": 1,
                              "DELETE locks": 2, "GET other": 1}
    first, second, third = proxy.requests[:3]
    assert (first.number, first.uploaded, first.downloaded, first.status) == (1, len(large), 0, 200)
    assert (second.uploaded, second.downloaded, second.name) == (0, len(large), OTHER)
    assert third.range == "bytes=3-5"
    assert not proxy.injured
    assert len(shelf.seen) == 8
    proxy.forget_requests()
    assert not proxy.requests


@pytest.mark.parametrize(("method", "target", "what", "name"), [
    ("HEAD", "/repo/config", "HEAD config", "config"),
    ("POST", f"/user/repo/keys/{NAME}", "POST keys", NAME),
    ("GET", "/repo/data/", "GET data/", ""),
    ("POST", "/repo/?create=true", "POST other", ""),
    ("PUT", f"/bucket/data/prefix/data/aa/{NAME}", "PUT data", NAME),
    ("GET", "/bucket?list-type=2&prefix=deep%2Fdata%2F", "GET data/", ""),
    ("GET", "/bucket?list-type=2&prefix=deep%2Fsnapshots", "GET snapshots/", ""),
    ("GET", "/bucket?location", "GET other", "bucket"),
    ("PROPFIND", "/repo/locks/", "PROPFIND locks/", ""),
    ("DELETE", f"/snapshots/{NAME}", "DELETE snapshots", NAME),
])
def test_requests_are_told_apart(method: str, target: str, what: str, name: str) -> None:
    request = describe_request(1, method, target, "")
    assert (request.what, request.name) == (what, name)


def test_faults_meet_the_requests_they_are_meant_for(proxy: FaultProxy, client: Client) -> None:
    proxy.inject(Answer(500), requests_of("GET HEAD", "data", first=2, times=2))
    statuses = []
    for method, path in (("GET", f"/data/{NAME}"), ("GET", "/index/"), ("HEAD", f"/data/{NAME}"),
                         ("GET", f"/data/{NAME}"), ("GET", f"/data/{NAME}")):
        statuses.append(client.ask(method, path)[0])
    assert statuses == [200, 200, 500, 500, 200]
    assert [request.number for request in proxy.injured] == [3, 4]


def test_an_answer_of_the_proxy_itself(proxy: FaultProxy, shelf: Shelf, client: Client) -> None:
    proxy.inject(Answer(429, retry_after=7), requests_of(times=None))
    for _ in range(2):
        status, fields, body = client.ask_all("POST", f"/data/{OTHER}", b"x" * 100_000)
        assert (status, fields["Retry-After"]) == (429, "7")
        assert body
    assert not shelf.seen
    proxy.heal()
    assert client.ask("POST", f"/data/{OTHER}", b"x") == (200, b"")


@pytest.mark.parametrize("moment", Moment)
def test_a_connection_breaks(proxy: FaultProxy, shelf: Shelf, client: Client, moment: Moment) -> None:
    proxy.inject(Reset(moment), requests_of("POST" if moment is Moment.IN_REQUEST else ""))
    method, path, body = (("GET", f"/data/{NAME}", None) if moment is Moment.IN_ANSWER
                          else ("POST", f"/data/{OTHER}", b"x" * 100_000))
    with pytest.raises((OSError, http.client.HTTPException)):
        client.ask(method, path, body)
    assert len(shelf.seen) == (moment in (Moment.IN_ANSWER, Moment.AFTER))
    assert (f"/data/{OTHER}" in shelf.files) == (moment is Moment.AFTER)
    assert client.ask("GET", f"/data/{NAME}") == (200, CONTENT)


@pytest.mark.parametrize("moment", Moment)
def test_nothing_moves_until_the_client_gives_up(proxy: FaultProxy, moment: Moment) -> None:
    impatient = Client(proxy, timeout_seconds=0.2)
    proxy.inject(Stall(moment))
    with pytest.raises(TimeoutError):
        impatient.ask("POST" if moment is Moment.IN_REQUEST else "GET", f"/data/{NAME}", b"x" * 100)
    impatient.close()
    patient = Client(proxy)
    assert patient.ask("GET", f"/data/{NAME}")[0] == 200
    patient.close()


def test_a_stall_does_not_keep_the_proxy_from_ending(shelf: Shelf) -> None:
    arrived = threading.Event()
    with FaultProxy(("127.0.0.1", shelf.server_port)) as proxy:
        proxy.inject(Call(arrived.set))
        proxy.inject(Stall())
        waiting = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
        waiting.sendall(b"GET /index/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert arrived.wait(60)
    with waiting, suppress(ConnectionResetError):
        assert waiting.recv(100) == b""


def test_half_an_answer(proxy: FaultProxy, client: Client) -> None:
    proxy.inject(TruncateAnswer())
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", f"/data/{NAME}")
    assert caught.value.partial == CONTENT[:1024]
    proxy.heal()
    proxy.inject(ShortenAnswer())
    assert client.ask("GET", f"/data/{NAME}") == (200, CONTENT[:1024])


def test_a_flipped_bit_is_the_same_one_each_time(shelf: Shelf) -> None:
    bodies = []
    for seed in (1, 1, 2):
        with FaultProxy(("127.0.0.1", shelf.server_port), seed=seed) as proxy:
            client = Client(proxy)
            proxy.inject(FlipBit())
            bodies.append(client.ask("GET", f"/data/{NAME}")[1])
            assert client.ask("GET", f"/data/{NAME}")[1] == CONTENT
            client.close()
    assert bodies[0] == bodies[1] != bodies[2]
    wrong = [(mine ^ right).bit_count() for mine, right in zip(bodies[0], CONTENT, strict=True)]
    assert sum(wrong) == 1


@pytest.mark.parametrize(("lie", "status", "said"), [
    (RangeLie.ANOTHER, 206, "bytes 11-20/2048"), (RangeLie.WHOLE, 200, None),
    (RangeLie.SHIFTED, 206, "bytes 10-19/2048"),
])
def test_another_range_than_was_asked_for(proxy: FaultProxy, client: Client, lie: RangeLie, status: int,
                                          said: str | None) -> None:
    proxy.inject(WrongRange(lie))
    answered, fields, body = client.ask_all("GET", f"/data/{NAME}", Range="bytes=10-19")
    assert (answered, fields.get("Content-Range")) == (status, said)
    if lie is RangeLie.WHOLE:
        assert len(body) == len(CONTENT)
        assert body[10:20] == CONTENT[10:20]
    else:
        assert len(body) == 10
        assert body != CONTENT[10:20]
        assert body[:9] == CONTENT[11:20]


def test_listings_that_are_empty_or_old(proxy: FaultProxy, client: Client) -> None:
    client.ask("POST", f"/locks/{NAME}", b"123")
    client.ask("POST", f"/keys/{OTHER}", b"456")
    client.ask("DELETE", f"/locks/{NAME}")
    client.ask("POST", f"/locks/{OTHER}", b"7")
    assert client.names("/locks/") == [OTHER]
    for fault, names in ((EmptyListing(), []), (StaleListing(0), [OTHER]), (StaleListing(1), []),
                         (StaleListing(2), [NAME]), (StaleListing(3), []), (StaleListing(9), [])):
        proxy.inject(fault, requests_of(listing=True))
        assert client.ask("GET", f"/locks/{OTHER}") == (200, b"7")
        assert client.names("/locks/") == names, fault
        proxy.heal()
    assert client.names("/locks/") == [OTHER]


def test_listings_of_an_s3_store() -> None:
    body = (b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b"<KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>deep/locks/%s</Key><Size>3</Size>"
            b"</Contents></ListBucketResult>" % NAME.encode())
    writes = [write_of(f"/bucket/deep/locks/{NAME}", "locks", NAME, 3),
              write_of(f"/bucket/deep/locks/{OTHER}", "locks", OTHER, 4),
              write_of(f"/bucket/deep/locks/{OTHER}", "locks", OTHER, None)]
    nothing = empty_listing(body)
    assert b"<KeyCount>0</KeyCount>" in nothing
    assert b"<Contents>" not in nothing
    before = stale_listing(body, "locks", writes, 1)
    assert re.findall(b"<Key>(.*?)</Key>.*?<Size>(.*?)</Size>", before) == [
        (b"deep/locks/" + NAME.encode(), b"3"), (b"deep/locks/" + OTHER.encode(), b"4")]
    assert b"<KeyCount>2</KeyCount>" in before
    assert b"<Key>" not in stale_listing(body, "locks", writes, 3)
    assert NAME.encode() in stale_listing(body, "keys", writes, 3)


def test_a_duplicate_comes_late(proxy: FaultProxy, shelf: Shelf, client: Client) -> None:
    proxy.inject(LateDuplicate(2), requests_of("POST"))
    path = f"/locks/{OTHER}"
    assert client.ask("POST", path, b"123") == (200, b"")
    assert client.ask("DELETE", path) == (200, b"")
    assert client.ask("GET", path) == (200, b"123")
    assert shelf.seen == [f"POST {path}", f"DELETE {path}", f"POST {path}", f"GET {path}"]
    proxy.heal()
    proxy.inject(LateDuplicate(100))
    client.ask("DELETE", path)
    proxy.deliver_late()
    proxy.deliver_late()
    assert proxy.late_answers == [200, 404]


@pytest.mark.parametrize("moment", Moment)
def test_something_else_happens_in_between(proxy: FaultProxy, shelf: Shelf, client: Client, moment: Moment) -> None:
    seen: list[int] = []
    proxy.inject(Call(lambda: seen.append(len(shelf.seen)), moment))
    assert client.ask("POST", f"/locks/{OTHER}", b"1234") == (200, b"")
    assert seen == [moment in (Moment.IN_ANSWER, Moment.AFTER)]


def test_each_request_waits(shelf: Shelf) -> None:
    clock = FakeClock()
    with FaultProxy(("127.0.0.1", shelf.server_port), delay_seconds=0.05, clock=clock) as proxy:
        client = Client(proxy)
        for _ in range(3):
            client.ask("GET", "/index/")
        client.close()
    assert clock.slept == [0.05] * 3


def test_a_server_that_is_not_there_breaks_the_connection_and_a_new_one_is_taken(proxy: FaultProxy, shelf: Shelf,
                                                                                client: Client) -> None:
    there = proxy.target
    with socket.create_server(("127.0.0.1", 0)) as closed:
        proxy.target = closed.getsockname()
    with pytest.raises((OSError, http.client.HTTPException)):
        client.ask("GET", "/index/")
    proxy.target = there
    assert client.ask("GET", "/index/") == (200, b"[]")


def test_a_client_that_goes_away_in_the_middle_of_an_upload_leaves_nothing(proxy: FaultProxy, shelf: Shelf) -> None:
    arrived = threading.Event()
    proxy.inject(Call(arrived.set, Moment.IN_REQUEST))
    with socket.create_connection(("127.0.0.1", proxy.port)) as leaving:
        leaving.sendall(b"POST /locks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 60)
        assert arrived.wait(60)
    proxy.close()
    assert "/locks/x" not in shelf.files


def test_what_is_no_http_ends_the_connection(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as strange:
        strange.settimeout(60)
        with pytest.raises(ConnectionError):
            strange.sendall(b"x" * 300_000)
            assert strange.recv(100)
    assert not proxy.requests


def test_a_bad_length_is_refused() -> None:
    with pytest.raises(WireError):
        Framing.of_request(Head("PUT / HTTP/1.1", [("content-length", "many")]))


def test_several_clients_at_once(proxy: FaultProxy) -> None:
    failures: list[object] = []

    def ask(number: int) -> None:
        client = Client(proxy)
        for turn in range(10):
            path = f"/locks/{number}{turn}"
            client.ask("POST", path, path.encode() * 1000)
            if client.ask("GET", path) != (200, path.encode() * 1000):
                failures.append(path)
        client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert proxy.counts() == {"POST locks": 40, "GET locks": 40}
    assert sorted(request.number for request in proxy.requests) == list(range(1, 81))


def test_query_of_the_shelf_is_kept(proxy: FaultProxy, shelf: Shelf, client: Client) -> None:
    client.ask("GET", "/x?prefix=a%2Fkeys%2F&list-type=2")
    assert parse_qs(urlsplit(shelf.seen[0].split(" ")[1]).query)["prefix"] == ["a/keys/"]
