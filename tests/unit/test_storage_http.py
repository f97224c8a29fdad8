"""Addresses, proxies and texts of stores that speak HTTP."""

from __future__ import annotations

import pytest

from kuramori.errors import StorageError, UnknownLocationError
from kuramori.storage.access import StoreAccess
from kuramori.storage.http_address import HttpAddress, parse_http_address, without_login
from kuramori.storage.http_failures import retry_after
from kuramori.storage.http_pools import proxy_for
from kuramori.storage.http_transport import _pieces
from kuramori.storage.last_words import LastWords
from kuramori.storage.location import open_backend
from kuramori.storage.rclone import without_secrets


@pytest.mark.parametrize(("text", "shown", "password"), [
    ("http://host", "http://host/", None),
    ("https://HOST:8443/a/b", "https://host:8443/a/b/", None),
    ("https://host:443/", "https://host/", None),
    ("http://user:p%40ss@host:8000/x/", "http://user@host:8000/x/", "p@ss"),
    ("http://user:p@ss@host/", "http://user@host/", "p@ss"),
    ("http://user:p:w@[::1]:8000/a b/ü", "http://user@[::1]:8000/a%20b/%C3%BC/", "p:w"),
    ("https://倉.example/", "https://xn--0vq.example/", None),
    ("http://u%2Fx:@host/", "http://u/x@host/", ""),
    ("http+unix:///run/rest.sock:/repo", "http+unix:///run/rest.sock:/repo/", None),
    ("http+unix://user:pw@/run/rest%20x:", "http+unix://user@/run/rest x:/", "pw"),
])
def test_addresses(text: str, shown: str, password: str | None) -> None:
    address = parse_http_address(text, sockets=True)
    assert address.shown == shown
    assert (None if address.password is None else address.password.reveal()) == password


@pytest.mark.parametrize("text", [
    "", "host", "ftp://host/", "http://", "http:///path", "http://host:port/", "http://host:0/", "http://host:70000/",
    "http://a:b:c/", "http://user:secret@/", "user:secret@host",
    "http://host/?query", "http://host/#part", "http+unix://host/socket:/x", "http+unix:///socket",
    "http+unix://:/x", "http://[::1/", f"http://{'x' * 70}.example/",
])
def test_what_is_no_address_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UnknownLocationError) as caught:
        parse_http_address(text, sockets=True)
    assert "secret" not in str(caught.value)


def test_sockets_only_where_they_make_sense() -> None:
    with pytest.raises(UnknownLocationError):
        open_backend("webdav:http+unix:///run/socket:/x")


@pytest.mark.parametrize(("variables", "found"), [
    ({}, None),
    ({"http_proxy": "http://one:1"}, None),
    ({"https_proxy": "http://one:1"}, "http://one:1"),
    ({"HTTPS_PROXY": "one:1"}, "http://one:1"),
    ({"ALL_PROXY": "http://all:1"}, "http://all:1"),
    ({"https_proxy": "http://one:1", "no_proxy": "other.example"}, "http://one:1"),
    ({"https_proxy": "http://one:1", "no_proxy": "other, example.com"}, None),
    ({"https_proxy": "http://one:1", "no_proxy": ".example.com"}, None),
    ({"https_proxy": "http://one:1", "no_proxy": "*.example.com"}, None),
    ({"https_proxy": "http://one:1", "no_proxy": "ample.com"}, "http://one:1"),
    ({"https_proxy": "http://one:1", "NO_PROXY": "store.example.com:8443"}, None),
    ({"https_proxy": "http://one:1", "NO_PROXY": "store.example.com:443"}, "http://one:1"),
    ({"https_proxy": "http://one:1", "no_proxy": "*"}, None),
])
def test_proxies(variables: dict[str, str], found: str | None) -> None:
    assert proxy_for(HttpAddress("https", "store.example.com", 8443, "/"), variables) == found


@pytest.mark.parametrize(("host", "rules", "direct"), [
    ("localhost", "", True), ("127.0.0.1", "", True), ("[::1]", "", True), ("10.1.2.3", "", False),
    ("10.1.2.3", "10.0.0.0/8", True), ("10.1.2.3", "10.1.2.3:80", True), ("10.1.2.3", "10.1.2.3:81", False),
    ("[fd00::5]", "fd00::/8", True), ("[fd00::5]", "[fd00::5]:80", True), ("11.1.2.3", "10.0.0.0/8,,x", False),
])
def test_hosts_that_are_reached_without_the_proxy(host: str, rules: str, direct: bool) -> None:
    variables = {"http_proxy": "http://one:1", "no_proxy": rules}
    assert (proxy_for(HttpAddress("http", host, 80, "/"), variables) is None) == direct


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None), ({"Retry-After": "12"}, 12.0), ({"Retry-After": "soon"}, None), ({"Retry-After": "-5"}, None),
    ({"Retry-After": "Thu, 26 Nov 2026 11:00:30 GMT", "Date": "Thu, 26 Nov 2026 11:00:00 GMT"}, 30.0),
    ({"Retry-After": "Thu, 26 Nov 2026 10:00:00 GMT", "Date": "Thu, 26 Nov 2026 11:00:00 GMT"}, 0.0),
    ({"Retry-After": "Thu, 26 Nov 2026 11:00:30 GMT"}, None),
])
def test_how_long_a_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("sizes", [[], [0], [1], [0, 5, 0], [32768], [32767, 1], [1, 32768], [100_000], [3] * 40_000,
                                   [70_000, 1, 70_000]])
def test_what_is_sent_comes_in_pieces_of_one_size(sizes: list[int]) -> None:
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    pieces = [*_pieces(parts)]
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) == 32768 for piece in pieces[:-1])
    assert all(0 < len(piece) <= 32768 for piece in pieces)


def test_urls_are_shown_without_what_is_secret() -> None:
    assert without_login("https://user:pw@host:1/path?token=x") == "https://host:1/path"
    assert without_login("/path?token=x") == "/path"


def test_remotes_of_rclone_are_shown_without_passwords() -> None:
    text = ''':sftp,host=h,pass=secret,user="x":path'''
    assert without_secrets(text) == ''':sftp,host=h,pass=***,user="x":path'''
    assert "hidden" not in without_secrets(":s3,secret_access_key='a,hidden:b',region=x:bucket")
    assert open_backend("rclone:" + text).location == f"rclone:{without_secrets(text)}"


@pytest.mark.parametrize("timeout", ["soon", "1x", "-1s", "1m 3s"])
def test_durations_that_are_none(timeout: str) -> None:
    with pytest.raises(StorageError):
        open_backend("rclone:remote:path", StoreAccess(options={"rclone.timeout": timeout}))


def test_the_last_complaint_counts() -> None:
    words = LastWords()
    assert words.text() == ""
    words.take(b"2026/11/26 11:00:00 NOTICE: Config file not found\n")
    assert words.text() == "NOTICE: Config file not found"
    words.take(b"2026/11/26 11:00:00 ERROR : x\x1b[31m: broke\n")
    words.take(b"2026/11/26 11:00:00 NOTICE: bye\n")
    words.take(b"\n")
    assert words.text() == "ERROR : x\\x1b[31m: broke"
