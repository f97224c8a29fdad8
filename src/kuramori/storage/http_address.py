"""Where an HTTP server is, as the addresses of stores say it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from kuramori.errors import N_, UnknownLocationError
from kuramori.secret import Secret

_ADDRESS = re.compile(r"(https?|http\+unix)://(?:([^/?#@]*(?:@[^/?#@]*)*)@)?([^/?#@]*)([^?#]*)", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A server, and a folder on it."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """A name in ASCII or a number; an IPv6 number in brackets. ``localhost`` for a socket."""
    port: int
    path: str
    """Of the folder, percent-encoded, with a slash at each end."""
    user: str = ""
    password: Secret | None = None
    socket: str | None = None
    """Path of a Unix socket that is connected to instead."""

    @property
    def origin(self) -> str:
        """Scheme, host and port as a URL begins, without user and path."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def place(self) -> str:
        """What is connected to, for errors."""
        return self.socket or f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The address for people: with the user, never with the password."""
        user = f"{quote(self.user)}@" if self.user else ""
        if self.socket is not None:
            return f"http+unix://{user}{self.socket}:{self.path}"
        scheme, rest = self.origin.split("//", 1)
        return f"{scheme}//{user}{rest}{self.path}"


def parse_http_address(text: str, *, sockets: bool = False) -> HttpAddress:
    """Return what an address means: ``http(s)://user:password@host:port/path``. A slash at the end may be missing.

    Args:
        text: percent-encoding in user and password is undone, that of the path is kept.
        sockets: whether ``http+unix:///path/of/socket:/path`` is understood too.

    Raises:
        UnknownLocationError: it is none. The text is not shown: it may hold a password.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or (match[1].lower() == "http+unix" and not sockets):
        raise UnknownLocationError(detail=N_("an address such as https://host:8000/path/ is expected after the kind of "
                                             "store"))
    scheme, login, place, path = match[1].lower(), match[2] or "", match[3], match[4]
    user, colon, password = login.partition(":")
    user, secret = unquote(user), Secret(unquote(password)) if colon else None
    if scheme == "http+unix":
        return _socket_address(place, path, user, secret)
    found = _HOST.fullmatch(place)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        raise UnknownLocationError(detail=N_("the host or its port is wrong in the address"))
    try:
        host = found[1].lower().encode("idna").decode("ascii")
    except UnicodeError:
        raise UnknownLocationError(detail=N_("the host or its port is wrong in the address")) from None
    return HttpAddress(scheme, host, int(found[2] or _PORTS[scheme]), _folder(path), user, secret)


def basic_login(user: str, password: str) -> str:
    """Return what stands after ``Authorization:`` for a user and a password (RFC 7617, in UTF-8)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"


def without_login(url: str) -> str:
    """Return a URL without user, password and query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.partition("?")[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _socket_address(place: str, path: str, user: str, password: Secret | None) -> HttpAddress:
    socket, colon, folder = path.partition(":")
    if place or not colon or not socket.strip("/"):
        raise UnknownLocationError(detail=N_("an address of a socket looks like this: http+unix:///path/of/socket:/path/"))
    return HttpAddress("http", "localhost", 80, _folder(folder), user, password, unquote(socket))


def _folder(path: str) -> str:
    """Return a path with a slash at each end, and what a URL cannot hold percent-encoded."""
    inner = quote(path.strip("/"), safe="/%:@!$&'()*+,;=~")
    return f"/{inner}/" if inner else "/"
