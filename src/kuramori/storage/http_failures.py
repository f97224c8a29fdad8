"""What goes wrong over HTTP, as our own errors: decided here for all stores that speak it."""

from __future__ import annotations

import email.utils
import socket
import ssl
from collections.abc import Mapping

import urllib3.exceptions as http_errors

from kuramori.errors import (
    N_,
    FileTooLargeForServerError,
    MovedLocationError,
    NotARepositoryServerError,
    Phrase,
    ProxyAwayError,
    ProxyLoginError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    StoreUnreachableError,
    UnknownHostError,
    UntrustedServerError,
    WrongLoginError,
)
from kuramori.storage.http_address import without_login

_BUSY = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
FULL_WORDS = (b"no space left", b"quota exceeded", b"disk quota", b"too big for remaining disk space",
              b"insufficient storage", b"storagequotaexceeded")
"""In small letters, what programs and services say of a place that is full."""
_PLAIN_TO_TLS = b"HTTP request to an HTTPS server"
_LONGEST_REASON = 200


class HttpFailures:
    """Makes errors of one store. ``reached`` turns true with the first answer of the right server: what looks like a
    wrong location before it (no such host, a certificate that is not trusted, a page for people) may be an accident of
    the network after it, and is tried again."""

    def __init__(self, location: str, kind: str) -> None:
        """Name the store.

        Args:
            location: for people.
            kind: what the server shall be, such as ``restic REST``.
        """
        self.location = location
        self.kind = kind
        self.reached = False

    # --- no answer ---------------------------------------------------------------------------

    def of_connection(self, error: BaseException, operation: str, name: str, *, host: str) -> StorageError:
        """Return the error of our own for one of the network.

        Args:
            error: of urllib3, ssl or the system.
            operation, name: what was being done, to what.
            host: host and port that were to be reached.
        """
        fields = {"location": self.location, "operation": operation, "name": name}
        chain = _chain(error)
        if any(isinstance(each, http_errors.ProxyError) for each in chain):
            refused = any("407" in str(each) for each in chain if isinstance(each, OSError))
            return (ProxyLoginError if refused else ProxyAwayError)(**fields, detail=_system_text(chain))
        certificate = next((each for each in chain if isinstance(each, ssl.SSLCertVerificationError)), None)
        if certificate is not None:
            detail = certificate.verify_message or N_("it cannot be verified")
            return self._certain(UntrustedServerError(**fields, detail=detail, host=host), fields, detail)
        unknown = next((each for each in chain if isinstance(each, socket.gaierror)), None)
        if unknown is not None:
            found = UnknownHostError(**fields, host=host)
            passing = unknown.errno == socket.EAI_AGAIN
            return StorageRetryableError(**fields, detail=found) if passing else self._certain(found, fields, found)
        if any(isinstance(each, (http_errors.NewConnectionError, http_errors.ConnectTimeoutError)) for each in chain):
            return StoreUnreachableError(**fields, detail=_system_text(chain), host=host)
        if _speaks_no_tls(chain):
            detail = N_("it does not speak TLS; write http:// if that is meant")
            return self._certain(NotARepositoryServerError(**fields, kind=self.kind, detail=detail), fields, detail)
        return StorageRetryableError(**fields, detail=_system_text(chain))

    def _certain(self, error: StorageError, fields: Mapping[str, object], detail: object) -> StorageError:
        return StorageRetryableError(**fields, detail=detail) if self.reached else error

    # --- an answer that says no --------------------------------------------------------------

    def of_status(self, status: int, headers: Mapping[str, str], body: bytes, operation: str,
                  name: str) -> StorageError:
        """Return the error for an answer that is no success.

        Args:
            status: of HTTP.
            headers, body: of the answer; of the body the beginning.
            operation, name: what was being done, to what.
        """
        fields = {"location": self.location, "operation": operation, "name": name}
        detail = _reason(status, headers, body)
        if status == 401:
            asked = headers.get("WWW-Authenticate", "Basic")
            return WrongLoginError(**fields, detail=detail if "basic" in asked.lower() else Phrase(
                N_("it asks for {method}, and only Basic is known here"), method=asked.partition(" ")[0]))
        if status == 407:
            return ProxyLoginError(**fields, detail=detail)
        if status == 403:
            return StoragePermissionError(**fields, detail=detail)
        if status in (405, 406, 415, 501):
            return NotARepositoryServerError(**fields, kind=self.kind, detail=detail)
        if status == 413:
            return FileTooLargeForServerError(**fields, detail=detail)
        if status == 507 or any(word in body.lower() for word in FULL_WORDS):
            return StorageFullError(**fields)
        if status in _BUSY or status >= 500:
            wait = retry_after(headers)
            return StorageRetryableError(**fields, detail=detail, **({} if wait is None else {"retry_after": wait}))
        if 300 <= status < 400:
            return MovedLocationError(**fields, target=without_login(headers.get("Location", "")))
        if _PLAIN_TO_TLS in body:
            return NotARepositoryServerError(**fields, kind=self.kind,
                                             detail=N_("it speaks TLS only; write https://"))
        return StorageError(**fields, detail=detail)

    def strange_answer(self, detail: str | Phrase, operation: str, name: str) -> StorageError:
        """Return the error for a success that no server of the kind gives."""
        fields = {"location": self.location, "operation": operation, "name": name}
        return self._certain(NotARepositoryServerError(**fields, kind=self.kind, detail=detail), fields, detail)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a server asks to be left alone; None if it does not say.

    A moment is measured from the ``Date`` of the same answer, so that this machine's clock does not matter.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
        began = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        return max((moment - began).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def is_page_for_people(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether an answer is an HTML page. By its words too: some servers guess the type of a sealed file by its
    first bytes, and one in a million looks like HTML to them."""
    if not headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        return False
    try:
        text = body[:256].decode("ascii", "strict")
    except UnicodeDecodeError:
        return "<" in body[:256].decode("utf-8", "ignore") and b"<html" in body[:2048].lower()
    return text.isprintable() or "<" in text


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what caused it, the first cause last."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or each in found:
            continue
        found.append(each)
        waiting += [each.__cause__, getattr(each, "original_error", None), getattr(each, "reason", None), *each.args]
    return found


def _system_text(chain: list[BaseException]) -> str:
    """Return what happened, without quoting any URL. The first cause comes last in the chain, and tells the most."""
    for error in reversed(chain):
        if isinstance(error, ssl.SSLError):
            return (error.reason or "TLS").replace("_", " ").lower()
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
    if any(isinstance(error, (http_errors.TimeoutError, TimeoutError)) for error in chain):
        return N_("no answer in time")
    if any(isinstance(error, (http_errors.IncompleteRead, http_errors.InvalidChunkLength)) for error in chain):
        return N_("the answer was cut off")
    if any(isinstance(error, http_errors.ProtocolError) for error in chain):
        return N_("the connection was closed")
    return type(chain[0]).__name__


def _speaks_no_tls(chain: list[BaseException]) -> bool:
    reasons = [error.reason for error in chain if isinstance(error, ssl.SSLError)]
    return any(reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
               for reason in reasons)


def _reason(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return the status, and what the server says if that is one line of plain text."""
    said = ""
    if headers.get("Content-Type", "").startswith("text/plain") and len(body) <= _LONGEST_REASON:
        said = body.decode("utf-8", "replace").strip()
    return f"HTTP {status}" + (f": {said}" if said.isprintable() and said else "")
