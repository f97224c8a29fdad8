"""Connections to one HTTP server: over TLS, through a proxy, or to a Unix socket."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import unquote

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from kuramori.errors import N_, CertificateFileError, UnusableProxyError
from kuramori.storage.access import StoreAccess
from kuramori.storage.http_address import HttpAddress, basic_login, without_login

_CONNECT_SECONDS = 15.0


class HttpResponse(Protocol):
    """What urllib3 gives for an answer, as far as it is used here."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        ...

    @property
    def length_remaining(self) -> int | None:
        """Bytes that are still to be read; None where nobody said how many."""
        ...

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Return so many bytes, or all that are left."""
        ...

    def release_conn(self) -> None:
        """Let others use the connection."""
        ...

    def close(self) -> None:
        """Give up what was not read."""
        ...


class HttpPool(Protocol):
    """Sends requests over connections that are kept, and never tries one twice."""

    def send(self, method: str, target: str, headers: Mapping[str, str],
             body: Iterator[bytes] | None) -> HttpResponse:
        """Send a request to a path of the server; return the answer, of which the body is still to be read.

        Raises:
            urllib3.exceptions.HTTPError, http.client.HTTPException, OSError: it was not answered.
        """
        ...

    def close(self) -> None:
        """Close what is idle."""
        ...


def open_pool(address: HttpAddress, access: StoreAccess, *, connections: int) -> HttpPool:
    """Return connections to a server; none is made yet.

    Args:
        address: the server; its user, password and path are not looked at.
        access: certificates, proxies, and for how long a connection on which nothing moves is good.
        connections: the most at once; whoever comes when all are busy waits.

    Raises:
        CertificateFileError: a file of certificates cannot be used.
        UnusableProxyError: the variables name a proxy that nobody here can speak with.
    """
    stall = access.stall_seconds
    timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, stall), read=stall)
    if address.socket is not None:
        return _SinglePool(_SocketPool(address.socket, stall, maxsize=connections, block=True, timeout=timeout))
    context = tls_context(access) if address.scheme == "https" else None
    if access.insecure_tls:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user asked for it
    proxy = proxy_for(address, access.variables)
    if proxy is None:
        manager = urllib3.PoolManager(1, maxsize=connections, block=True, timeout=timeout, ssl_context=context)
    else:
        manager = _proxy_manager(proxy, timeout, connections, context)
    manager.pool_classes_by_scheme = {"http": _pool_class(HTTPConnectionPool, HTTPConnection, stall),
                                      "https": _pool_class(HTTPSConnectionPool, HTTPSConnection, stall)}
    return _ManagedPool(manager, address.origin)


def tls_context(access: StoreAccess) -> ssl.SSLContext:
    """Return how servers are judged, and what is shown to them.

    Raises:
        CertificateFileError: a file cannot be read, or holds no certificates.
    """
    path = access.ca_certificates
    try:
        context = ssl.create_default_context(cafile=None if path is None else str(path))
        path = access.client_certificate
        if path is not None:
            context.load_cert_chain(path, password=_no_password)
    except ssl.SSLError as error:
        detail = (error.reason or "").replace("_", " ").lower() or N_("it holds none")
        raise CertificateFileError(path=path, detail=detail) from error
    except (OSError, ValueError) as error:
        raise CertificateFileError(path=path, detail=getattr(error, "strerror", None) or str(error)) from error
    if access.insecure_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """Answer for OpenSSL, which would ask at the terminal."""
    raise ValueError(N_("its key is protected by a password"))


# --- proxies ---------------------------------------------------------------------------------


def proxy_for(address: HttpAddress, variables: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy through which a server is reached, or None; as curl and Go read the variables.

    ``https_proxy`` or ``http_proxy``, else ``all_proxy``; in capitals too. ``no_proxy`` names hosts, domains with
    everything below them, numbers and networks, each with a port or without, or ``*``. This machine itself is never
    reached through a proxy.
    """
    found = next((value for name in (f"{address.scheme}_proxy", "all_proxy")
                  for value in (variables.get(name), variables.get(name.upper())) if value), None)
    host = address.host.strip("[]").lower()
    if found is None or host == "localhost" or _is_loopback(host):
        return None
    for rule in (variables.get("no_proxy") or variables.get("NO_PROXY") or "").split(","):
        if _is_named_by(rule.strip().lower(), host, address.port):
            return None
    return found if "://" in found else f"http://{found}"


def _is_named_by(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return bool(rule) and (host == rule.lstrip(".") or host.endswith("." + rule.lstrip(".")))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy_manager(proxy: str, timeout: urllib3.Timeout, connections: int,
                   context: ssl.SSLContext | None) -> urllib3.ProxyManager:
    try:
        login = urllib3.util.parse_url(proxy).auth
        headers = {"Proxy-Authorization": basic_login(*map(unquote, login.partition(":")[::2]))} if login else None
        return urllib3.ProxyManager(proxy, 1, proxy_headers=headers, maxsize=connections, block=True, timeout=timeout,
                                    ssl_context=context)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise UnusableProxyError(proxy=without_login(proxy)) from None


# --- urllib3 ---------------------------------------------------------------------------------


class _ManagedPool:
    """Goes through a manager, which knows how a proxy wants to be asked."""

    def __init__(self, manager: urllib3.PoolManager, origin: str) -> None:
        self._manager = manager
        self._origin = origin

    def send(self, method: str, target: str, headers: Mapping[str, str],
             body: Iterator[bytes] | None) -> HttpResponse:
        return self._manager.urlopen(method, self._origin + target, headers=headers, body=body, redirect=False,
                                     retries=False, preload_content=False, decode_content=False)

    def close(self) -> None:
        self._manager.clear()


class _SinglePool:
    """Goes straight to one pool."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool

    def send(self, method: str, target: str, headers: Mapping[str, str],
             body: Iterator[bytes] | None) -> HttpResponse:
        return self._pool.urlopen(method, target, headers=headers, body=body, redirect=False, retries=False,
                                  preload_content=False, decode_content=False)

    def close(self) -> None:
        self._pool.close()


def _pool_class(pool: type[HTTPConnectionPool], connection: type[HTTPConnection],
                stall_seconds: float) -> type[HTTPConnectionPool]:
    """Return a pool whose connections, once made, have more patience for what is sent than for being made. urllib3
    itself gives uploads the time-out of connecting."""

    def connect(self: HTTPConnection) -> None:
        connection.connect(self)
        self.sock.settimeout(stall_seconds)

    patient = type(f"Patient{connection.__name__}", (connection,), {"connect": connect})
    return type(f"Patient{pool.__name__}", (pool,), {"ConnectionCls": patient})


class _SocketConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, stall_seconds: float, host: str, port: int | None) -> None:
        super().__init__(host, port)
        self._path = path
        self._stall_seconds = stall_seconds

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(self._stall_seconds)
            made.connect(self._path)
        except OSError as error:
            made.close()
            raise urllib3.exceptions.NewConnectionError(self, str(error.strerror)) from error
        self.sock = made


class _SocketPool(HTTPConnectionPool):
    """Connections to a Unix socket."""

    def __init__(self, path: str, stall_seconds: float, *, maxsize: int, block: bool, timeout: urllib3.Timeout) -> None:
        super().__init__("localhost", maxsize=maxsize, block=block, timeout=timeout)
        self._path = path
        self._stall_seconds = stall_seconds

    def _new_conn(self) -> _SocketConnection:  # the one way that urllib3 has to make connections differently
        self.num_connections += 1
        return _SocketConnection(self._path, self._stall_seconds, self.host, self.port)
