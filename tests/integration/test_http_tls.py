"""Servers with certificates, passwords and sockets, and proxies on the way: the real rclone and its own TLS."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.errors import (
    CertificateFileError,
    FileNotInStorageError,
    NotARepositoryServerError,
    ProxyAwayError,
    ProxyLoginError,
    StorageError,
    UntrustedServerError,
    UnusableProxyError,
    WrongLoginError,
)
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, FileType
from kuramori.storage.location import open_backend
from kuramori.testing.backend_contract import handle_of
from samples.forward_proxy import ForwardProxy
from samples.rclone_server import RcloneServer, make_certificates
from samples.server_process import free_port


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A folder that the server's user can read."""
    folder = Path(tempfile.mkdtemp(prefix="kuramori-certificates-"))
    make_certificates(folder)
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tls_server(rclone: str, certificates: Path) -> Iterator[RcloneServer]:
    """One that asks for a certificate of clients."""
    server = RcloneServer(rclone, "restic", "--cert", str(certificates / "server.pem"), "--key",
                          str(certificates / "server.key"), "--client-ca", str(certificates / "authority.pem"))
    yield server
    server.remove()


def _try(location: str, access: StoreAccess = NO_ACCESS) -> None:
    """Use a store a little."""
    store = open_backend(location, access)
    try:
        store.create()
        with pytest.raises(FileNotInStorageError):
            store.load(CONFIG_HANDLE)
        handle = handle_of(FileType.SNAPSHOT, b"content")
        store.save(handle, [b"content"])
        assert store.load(handle, 2, 3) == b"nte"
    finally:
        store.close()


def test_a_server_and_a_client_with_certificates(tls_server: RcloneServer, certificates: Path) -> None:
    _try("rest:" + tls_server.url("one", scheme="https"),
         StoreAccess(ca_certificates=certificates / "authority.pem", client_certificate=certificates / "client.pem"))


def test_a_server_that_is_not_judged(tls_server: RcloneServer, certificates: Path) -> None:
    _try("rest:" + tls_server.url("two", scheme="https"),
         StoreAccess(insecure_tls=True, client_certificate=certificates / "client.pem"))


def test_a_certificate_of_an_unknown_authority(tls_server: RcloneServer) -> None:
    with pytest.raises(UntrustedServerError) as caught:
        _try("rest:" + tls_server.url(scheme="https"))
    assert not caught.value.retryable
    assert "issuer" in str(caught.value)
    assert "--cacert" in caught.value.advice_text()


def test_a_certificate_of_another_host(tls_server: RcloneServer, certificates: Path) -> None:
    with pytest.raises(UntrustedServerError) as caught:
        _try("rest:" + tls_server.url(scheme="https").replace("127.0.0.1", "localhost"),
             StoreAccess(ca_certificates=certificates / "authority.pem"))
    assert "localhost" in str(caught.value)


def test_a_server_that_misses_the_client_certificate_refuses(tls_server: RcloneServer, certificates: Path) -> None:
    with pytest.raises(StorageError) as caught:
        _try("rest:" + tls_server.url(scheme="https"), StoreAccess(ca_certificates=certificates / "authority.pem"))
    assert "certificate" in str(caught.value)


@pytest.mark.parametrize("access", [
    StoreAccess(ca_certificates=Path("/nowhere")), StoreAccess(client_certificate=Path("/nowhere")),
    StoreAccess(ca_certificates=Path(__file__)), StoreAccess(client_certificate=Path(__file__)),
], ids=range(4))
def test_files_that_hold_no_certificates(access: StoreAccess) -> None:
    with pytest.raises(CertificateFileError) as caught:
        open_backend("rest:https://127.0.0.1/", access)
    assert str(access.ca_certificates or access.client_certificate) in str(caught.value)


def test_a_certificate_without_its_key(certificates: Path) -> None:
    with pytest.raises(CertificateFileError):
        open_backend("rest:https://127.0.0.1/", StoreAccess(client_certificate=certificates / "server.pem"))


def test_tls_where_there_is_none_and_none_where_there_is(tls_server: RcloneServer, rest_server: RcloneServer) -> None:
    with pytest.raises(NotARepositoryServerError) as caught:
        _try("rest:" + rest_server.url(scheme="https"))
    assert "http://" in str(caught.value)
    with pytest.raises(NotARepositoryServerError) as caught:
        _try("rest:" + tls_server.url())
    assert "https://" in str(caught.value)


@pytest.mark.parametrize("scheme", ["rest", "webdav"])
@pytest.mark.parametrize("login", ["", "planter@", "planter:wrong@", "other:a%20p%40ss%2Fw%3Aord@"])
def test_a_wrong_password_of_the_server(request: pytest.FixtureRequest, scheme: str, login: str) -> None:
    server: RcloneServer = request.getfixturevalue(f"{scheme}_server")
    with pytest.raises(WrongLoginError) as caught:
        _try(f"{scheme}:{server.url(login=login)}")
    assert not caught.value.retryable
    assert "wrong" not in caught.value.text().partition("does not")[0]


def test_passwords_from_variables(webdav_server: RcloneServer) -> None:
    _try("webdav:" + webdav_server.url("from-variables", login=""),
         StoreAccess({"WEBDAV_USERNAME": "planter", "WEBDAV_PASSWORD": "a p@ss/w:ord"}))


def test_a_repository_server_is_no_webdav_server(rest_server: RcloneServer) -> None:
    with pytest.raises(NotARepositoryServerError) as caught:
        _try("webdav:" + rest_server.url("x"))
    assert "WebDAV" in str(caught.value)


def test_a_server_on_a_socket(rclone: str) -> None:
    server = RcloneServer(rclone, "restic", socket_name="socket")
    try:
        assert server.socket is not None
        _try(f"rest:http+unix://planter:a%20p%40ss%2Fw%3Aord@{server.socket}:/below/it/")
    finally:
        server.remove()


@pytest.mark.parametrize("login", ["", "me:p@ss"])
def test_a_proxy_leads_to_a_server(rest_server: RcloneServer, login: str) -> None:
    proxy = ForwardProxy(rest_server.port, login)
    url = f"http://{login.replace('p@', 'p%40')}{'@' * bool(login)}127.0.0.1:{proxy.port}"
    location = "rest:" + rest_server.url("through-a-proxy").replace("127.0.0.1", "store.invalid")
    _try(location, StoreAccess({"http_proxy": url}))
    assert proxy.asked[0].startswith("POST http://store.invalid:")
    proxy.close()


def test_a_proxy_leads_to_a_server_with_tls(tls_server: RcloneServer, certificates: Path) -> None:
    proxy = ForwardProxy(tls_server.port)
    location = "rest:" + tls_server.url("through-a-proxy", scheme="https").replace("127.0.0.1", "store.invalid")
    _try(location, StoreAccess({"https_proxy": f"http://127.0.0.1:{proxy.port}"},
                               ca_certificates=certificates / "authority.pem",
                               client_certificate=certificates / "client.pem"))
    assert proxy.asked[0].startswith("CONNECT store.invalid:")
    proxy.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(scheme: str) -> None:
    proxy = ForwardProxy(free_port(), "me:secret")
    access = StoreAccess({f"{scheme}_proxy": f"http://me:wrong@127.0.0.1:{proxy.port}"})
    with pytest.raises(ProxyLoginError) as caught:
        _try(f"rest:{scheme}://store.invalid/", access)
    assert not caught.value.retryable
    assert "wrong" not in str(caught.value)
    proxy.close()


def test_a_proxy_that_is_not_there() -> None:
    store = open_backend("rest:http://store.invalid/", StoreAccess({"http_proxy": f"http://127.0.0.1:{free_port()}"}))
    with pytest.raises(ProxyAwayError) as caught:
        store.load(CONFIG_HANDLE)
    assert caught.value.retryable


def test_a_proxy_of_a_kind_that_is_not_spoken() -> None:
    with pytest.raises(UnusableProxyError) as caught:
        open_backend("rest:http://store.invalid/", StoreAccess({"all_proxy": "socks5://user:secret@127.0.0.1:1"}))
    assert "socks5://127.0.0.1:1" in str(caught.value)
