"""Ways to an S3 server: slow, stalled, encrypted, through a proxy that is not there."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.errors import NotARepositoryServerError, ProxyAwayError, StorageRetryableError, UntrustedServerError
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, FileType
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import handle_of, noise
from samples.rclone_server import make_certificates
from samples.seaweedfs import ADMIN, BUCKET, SeaweedServer, free_ports

_ACCESS = StoreAccess(variables=ADMIN.variables())
_STORED = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n'


def _serve(answer: Callable[[socket.socket], None]) -> tuple[socket.socket, int]:
    """Answer every connection in a thread of its own, until the socket is closed."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def accept() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener, int(listener.getsockname()[1])


def _read_head(connection: socket.socket) -> int:
    """Read the head of a request; return how long its body is."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(length.partition(b":")[2])


@pytest.mark.exhaustive
def test_a_slow_upload_is_no_stalled_one() -> None:
    """It takes longer as a whole than anything may stand still."""
    patience = 8.0

    def read_slowly(connection: socket.socket) -> None:
        left = _read_head(connection)
        piece = left // 100
        while left > 0:
            time.sleep((patience + 2) / 100)
            wanted = min(piece, left)
            while wanted > 0:
                arrived = len(connection.recv(wanted))
                wanted, left = wanted - arrived, left - arrived
        connection.sendall(_STORED)

    listener, port = _serve(read_slowly)
    with listener:
        store = open_backend(f"s3:http://127.0.0.1:{port}/{BUCKET}", replace(_ACCESS, stall_seconds=patience))
        content = noise(8_000_000)
        started = time.monotonic()
        store.save(handle_of(FileType.PACK, content), [content])
        assert time.monotonic() - started > patience


def test_a_stalled_upload_is_noticed() -> None:
    held = []

    def stand_still(connection: socket.socket) -> None:
        _read_head(connection)
        held.append(connection)

    listener, port = _serve(stand_still)
    with listener:
        store = open_backend(f"s3:http://127.0.0.1:{port}/{BUCKET}", replace(_ACCESS, stall_seconds=1))
        with pytest.raises(StorageRetryableError):
            store.save(handle_of(FileType.PACK, noise(8_000_000)), [noise(8_000_000)])
        with pytest.raises(StorageRetryableError):
            store.save(CONFIG_HANDLE, [b"config"])


def test_who_says_yes_to_everything_has_stored_nothing() -> None:
    def agree(connection: socket.socket) -> None:
        connection.recv(100_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\nwelcome")

    listener, port = _serve(agree)
    with listener:
        store = open_backend(f"s3:http://127.0.0.1:{port}/{BUCKET}", _ACCESS)
        with pytest.raises(NotARepositoryServerError):
            store.save(CONFIG_HANDLE, [b"config"])
        with pytest.raises(NotARepositoryServerError):
            store.load(CONFIG_HANDLE)


def test_a_stalled_download_is_noticed() -> None:
    held = []

    def stand_still(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nLast-Modified: Thu, 26 Nov 2026 10:00:00 GMT\r\n'
                           b"Content-Length: 1000\r\n\r\nbeginning")
        held.append(connection)

    listener, port = _serve(stand_still)
    with listener:
        store = open_backend(f"s3:http://127.0.0.1:{port}/{BUCKET}", replace(_ACCESS, stall_seconds=1))
        with pytest.raises(StorageRetryableError):
            store.load(CONFIG_HANDLE)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def encrypted(seaweed: SeaweedServer, certificates: Path) -> Iterator[str]:
    """A location at the end of an encrypted tunnel."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    gateway = ("127.0.0.1", seaweed.ports[6])

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass
        finally:
            target.close()

    def answer(connection: socket.socket) -> None:
        try:
            outer = context.wrap_socket(connection, server_side=True)
        except (ssl.SSLError, OSError):
            return  # it does not trust us
        inner = socket.create_connection(gateway)
        threading.Thread(target=carry, args=(outer, inner), daemon=True).start()
        carry(inner, outer)

    listener, port = _serve(answer)
    with listener:
        yield f"s3:https://127.0.0.1:{port}/{BUCKET}/{uuid.uuid4().hex}"


def test_certificates(encrypted: str, certificates: Path) -> None:
    trusting = replace(_ACCESS, ca_certificates=certificates / "authority.pem")
    for access in (trusting, replace(_ACCESS, insecure_tls=True)):
        store = open_backend(encrypted, access)
        store.create()
        store.save(CONFIG_HANDLE, [b"config"])
        assert store.load(CONFIG_HANDLE, 1, 3) == b"onf"
        store.close()
    store = open_backend(encrypted, _ACCESS)
    with pytest.raises(UntrustedServerError):
        store.load(CONFIG_HANDLE)
    with pytest.raises(UntrustedServerError):
        store.save(CONFIG_HANDLE, [b"config"])


def test_a_proxy_that_is_not_there(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://127.0.0.1:{free_ports(1)[0]}"
    access = replace(_ACCESS, variables={**ADMIN.variables(), "http_proxy": proxy, "https_proxy": proxy})
    store = open_backend("s3:http://example.invalid/bucket", access)
    with pytest.raises(ProxyAwayError):
        store.load(CONFIG_HANDLE)
    with pytest.raises(ProxyAwayError):
        store.save(CONFIG_HANDLE, [b"config"])
    # This machine is reached without it, also by what reads the environment by itself.
    monkeypatch.setenv("http_proxy", proxy)
    store = open_backend(seaweed.location(uuid.uuid4().hex), access)
    store.save(CONFIG_HANDLE, [b"config"])
    assert store.load(CONFIG_HANDLE) == b"config"
