"""Serving a virtual tree over HTTP, read-only, for file managers and browsers."""

from __future__ import annotations

import base64
import hmac
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kuramori.errors import N_, MissingExtraError, Phrase, ServingError, UsageError
from kuramori.mounting.virtual_tree import VirtualTree
from kuramori.secret import Secret

_THREADS = 8
_BLOCK = 256 * 1024
_READING = ("GET", "HEAD", "OPTIONS", "PROPFIND")
_HEADERS = [
    # Pages of a backup run no scripts: they would see everything else that is served here.
    ("Content-Security-Policy",
     "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self' 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen, and who may read.

    Raises:
        UsageError: others than this machine could read, and nobody said that they may, or there is no
            password for them.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any that is free."""
    allow_remote: bool = False
    """Listen also where other machines can ask."""
    user: str = ""
    password: Secret | None = None
    """Both or none."""
    certificate: Path | None = None
    """File of the TLS certificate in PEM, with those above it; None for plain HTTP."""
    certificate_key: Path | None = None
    """File of its key, without a password; None if it is in the same file."""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise UsageError(detail=N_("give both a user and a file with the password, or neither"))
        if is_loopback(self.host):
            return
        if not self.allow_remote:
            raise UsageError(detail=Phrase(N_("other machines could read the backups at {host}; if that is meant, add "
                                              "--allow-remote"), host=self.host))
        if not self.user:
            raise UsageError(detail=N_("other machines may read the backups only with --web-user and "
                                       "--web-password-file"))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class WebdavServer:
    """A server that runs in threads of its own until it is closed."""

    def __init__(self, tree: VirtualTree, options: ServeOptions | None = None) -> None:
        """Listen and serve.

        Raises:
            MissingExtraError: WsgiDAV or cheroot is not installed.
            ServingError: the address cannot be had, or the certificate cannot be read.
        """
        options = options or ServeOptions()
        self._server = _make_server(tree, options)
        try:
            self._server.prepare()
        except OSError as error:
            raise ServingError(address=f"{options.host}:{options.port}", detail=_reason(error)) from None
        host, port = self._server.bind_addr[:2]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if options.certificate else 'http'}://{shown}:{port}/"
        """Where it is found."""
        self._thread = threading.Thread(target=self._server.serve, name="kuramori-webdav", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the server to end, at most so long; tell whether it runs on."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def close(self) -> None:
        """End it. May be called more than once."""
        self._server.stop()
        self._thread.join()


def _make_server(tree: VirtualTree, options: ServeOptions) -> Any:
    try:
        from cheroot.ssl.builtin import BuiltinSSLAdapter
        from cheroot.wsgi import Server
        from wsgidav.dir_browser import WsgiDavDirBrowser
        from wsgidav.error_printer import ErrorPrinter
        from wsgidav.request_resolver import RequestResolver
        from wsgidav.wsgidav_app import WsgiDAVApp

        from kuramori.mounting.webdav_provider import TreeProvider
    except ImportError:
        raise MissingExtraError(feature=N_("serve-webdav"), package="wsgidav, cheroot", extra="webdav") from None
    for name in ("wsgidav", "cheroot"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    application = WsgiDAVApp({
        "provider_mapping": {"/": TreeProvider(tree)}, "verbose": 0, "logging": {"enable": False},
        "lock_storage": None, "property_manager": None, "block_size": _BLOCK, "suppress_version_info": True,
        "middleware_stack": [ErrorPrinter, WsgiDavDirBrowser, RequestResolver],
        "dir_browser": {"enable": True, "show_user": False, "davmount": False, "ms_sharepoint_support": False,
                        "libre_office_support": False, "response_trailer": "", "ignore": []},
    })
    server: Any = Server((options.host, options.port), _Gate(application, options), numthreads=_THREADS,
                    server_name="kuramori")
    server.error_log = _ignore  # clients that hang up; what cannot be read is reported where it is read
    if options.certificate is not None:
        try:
            server.ssl_adapter = BuiltinSSLAdapter(str(options.certificate),
                                                   str(options.certificate_key or options.certificate))
        except OSError as error:
            raise ServingError(address=f"{options.host}:{options.port}", detail=_reason(error)) from None
    return server


def _ignore(msg: str = "", level: int = 20, traceback: bool = False) -> None:
    pass


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


_Start = Callable[..., Callable[[bytes], object]]


class _Gate:
    """Lets in who may read, and only what reads."""

    def __init__(self, application: Callable[[dict[str, Any], _Start], Iterable[bytes]],
                 options: ServeOptions) -> None:
        self._application = application
        self._local = is_loopback(options.host)
        self._expected = None
        if options.password is not None:
            plain = f"{options.user}:{options.password.reveal()}".encode()
            self._expected = Secret("Basic " + base64.b64encode(plain).decode())

    def __call__(self, environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        """Answer one request."""
        refusal = self._refusal(environ)
        if refusal is not None:
            status, headers = refusal
            start(status, [*headers, ("Content-Length", "0")])
            return [b""]

        def start_guarded(status: str, headers: list[tuple[str, str]], *more: object) -> Callable[[bytes], object]:
            return start(status, [*headers, *_HEADERS], *more)

        return self._application(environ, start_guarded)

    def _refusal(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]]] | None:
        if self._local and not _names_this_machine(environ.get("HTTP_HOST", "")):
            # A page of another site whose name was made to mean this machine asks for it.
            return "403 Forbidden", []
        given = environ.get("HTTP_AUTHORIZATION", "")
        if self._expected is not None and not hmac.compare_digest(given.encode(), self._expected.reveal().encode()):
            return "401 Unauthorized", [("WWW-Authenticate", 'Basic realm="kuramori", charset="UTF-8"')]
        method = environ.get("REQUEST_METHOD", "")
        if method not in _READING:
            return "405 Method Not Allowed", [("Allow", ", ".join(_READING))]
        if method == "PROPFIND" and environ.get("HTTP_DEPTH", "infinity") not in ("0", "1"):
            return "403 Forbidden", []  # a whole repository in one answer
        return None if _is_plain(environ.get("PATH_INFO", "")) else ("404 Not Found", [])


def _is_plain(path: str) -> bool:
    """Tell whether a path of a request (as WSGI has it: bytes as characters) can name anything here."""
    try:
        parts = path.encode("latin-1").decode().split("/")
    except UnicodeError:
        return False
    return "." not in parts and ".." not in parts


def _names_this_machine(header: str) -> bool:
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
    return not host or is_loopback(host.strip("[]"))
