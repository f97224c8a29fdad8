"""A repository in any store that rclone knows: ``rclone serve restic`` is started, and asked over its pipes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping

from kuramori.errors import (
    N_,
    FileNotInStorageError,
    Phrase,
    RcloneAwayError,
    RcloneFailedError,
    RcloneMissingError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    UnknownLocationError,
)
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.http_address import HttpAddress
from kuramori.storage.http_failures import FULL_WORDS, HttpFailures
from kuramori.storage.http_over_pipe import PipeAnswer, PipeClosedError, PipeConnection
from kuramori.storage.http_transport import HttpTransport
from kuramori.storage.last_words import LastWords
from kuramori.storage.rest import RestBackend

_PROGRAM = "rclone"
_ARGUMENTS = "serve restic --stdio --b2-hard-delete"
_START_SECONDS = 60.0
_THINKING = 5
"""How many times ``stall_seconds`` rclone may need for an answer. It may have to send a pack on as a whole when it has
all of it, and looks for stalls on its own way there."""
_NO_FOLDER, _PASSING = 3, 5
"""Exit codes of rclone."""
_PATIENCE = 0.5
"""Seconds that what rclone says of an error may come later than its answer."""
_REFUSED = ("permission denied", "access denied", "accessdenied", "forbidden", "unauthorized", "invalid_grant",
            "invalidaccesskeyid", "signaturedoesnotmatch")
"""In small letters, what rclone hands on from systems and services that refuse: rclone answers 500 to all."""
_SECRET = re.compile(r"""(\b\w*(?:pass|secret|key|token|credential)\w*)=("[^"]*"|'[^']*'|[^,:\s]*)""", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def open_rclone(remote: str, access: StoreAccess) -> RestBackend:
    """Return the store at ``remote:path``, as rclone names it. rclone starts with the first operation.

    Of the access: the options ``rclone.program``, ``rclone.args`` and ``rclone.timeout`` as restic has them; its
    variables are those of rclone.

    Raises:
        UnknownLocationError: the remote cannot be one.
        StorageError: an option makes no sense.
    """
    if remote.startswith("-"):
        raise UnknownLocationError(detail=N_("after rclone: stands the name of a remote of rclone, a colon and a path"))
    connections = access.connections or DEFAULT_CONNECTIONS
    words = LastWords(without_secrets)
    failures = RcloneFailures(f"rclone:{without_secrets(remote)}", words)
    pool = _RclonePool(remote, access, failures, words)
    return RcloneBackend(remote, access, HttpTransport(HttpAddress("http", "localhost", 80, "/"), pool, failures),
                         connections=connections)


class RcloneBackend(RestBackend):
    """A :class:`~kuramori.storage.backend.Backend` that asks an rclone of its own."""

    def __init__(self, remote: str, access: StoreAccess, transport: HttpTransport, *, connections: int) -> None:
        """Use a transport to rclone, which is closed with this."""
        super().__init__(transport, connections=connections)
        self._remote = remote
        self._access = access

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders at the location (see :class:`~kuramori.storage.prefixes.FolderLister`): what
        ``rclone serve restic`` does not tell, ``rclone lsjson`` does."""
        access, fields = self._access, {"location": self.location, "operation": "list", "name": "/"}
        program = _split(access.options.get("rclone.program") or _PROGRAM, self.location)
        command = [*program, "lsjson", "--dirs-only", "--no-modtime", "--no-mimetype", self._remote]
        try:
            done = subprocess.run(command, env=dict(access.variables), stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=access.stall_seconds * _THINKING, check=False)
            names = [str(entry["Name"]) for entry in json.loads(done.stdout)] if done.returncode == 0 else []
        except subprocess.TimeoutExpired:
            raise StorageRetryableError(**fields, detail=N_("there was no answer")) from None
        except OSError as error:
            raise RcloneMissingError(location=self.location, program=program[0],
                                     detail=error.strerror or type(error).__name__) from error
        except (ValueError, TypeError, KeyError):
            raise StorageError(**fields, detail=N_("its listing makes no sense")) from None
        if done.returncode == _NO_FOLDER:
            raise FileNotInStorageError(**fields)
        if done.returncode != 0:
            words = without_secrets(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
            kind = StorageRetryableError if done.returncode == _PASSING else StorageError
            raise kind(**fields, detail=words)
        yield from names


def _split(words: str, location: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError:
        raise StorageError(location=location, operation=N_("start"), name=_PROGRAM,
                           detail=N_("a quotation mark is missing in rclone.program or rclone.args")) from None


def without_secrets(text: str) -> str:
    """Return a text without the passwords that a remote may hold (``:sftp,host=h,pass=p:path``)."""
    return _SECRET.sub(r"\1=***", text)


class RcloneFailures(HttpFailures):
    """Tells what rclone said with what it answered, which is never more than a status."""

    def __init__(self, location: str, words: LastWords) -> None:
        """Name the store.

        Args:
            words: what rclone says.
        """
        super().__init__(location, "restic REST")
        self.answered = False
        self._words = words

    def of_connection(self, error: BaseException, operation: str, name: str, *, host: str) -> StorageError:
        """Return the error for no answer: rclone may have ended."""
        if not isinstance(error, PipeClosedError):
            found = super().of_connection(error, operation, name, host=host)
            return type(found)(**self._with_words(found.fields))
        kind = RcloneAwayError if self.answered else RcloneFailedError
        return kind(location=self.location, detail=self._words.text() or str(error))

    def of_status(self, status: int, headers: Mapping[str, str], body: bytes, operation: str,
                  name: str) -> StorageError:
        """Return the error for an answer that is no success, by what rclone says of it."""
        found = super().of_status(status, headers, body, operation, name)
        if status < 500:
            return found
        fields = self._with_words(found.fields)
        said = self._words.text().lower()
        if any(words.decode() in said for words in FULL_WORDS):
            return StorageFullError(**fields)
        return (StoragePermissionError if any(words in said for words in _REFUSED) else type(found))(**fields)

    def _with_words(self, fields: Mapping[str, object]) -> dict[str, object]:
        words, detail = self._words.text(_PATIENCE), fields.get("detail")
        if not words or detail is None:
            return dict(fields)
        return {**fields, "detail": Phrase(N_("{detail} (rclone says: {words})"), detail=detail, words=words)}


class _RclonePool:
    """Starts rclone when it is needed, and again when it ended."""

    def __init__(self, remote: str, access: StoreAccess, failures: RcloneFailures, words: LastWords) -> None:
        options = access.options
        self._command = [*_split(options.get("rclone.program") or _PROGRAM, failures.location),
                         *_split(options.get("rclone.args") or _ARGUMENTS, failures.location), remote]
        self._start_seconds = _seconds(options.get("rclone.timeout", ""), failures)
        self._access = access
        self._failures = failures
        self._words = words
        self._guard = threading.Lock()
        self._connection: PipeConnection | None = None

    def send(self, method: str, target: str, headers: Mapping[str, str],
             body: Iterator[bytes] | None) -> PipeAnswer:
        connection = self._running()
        try:
            answer = connection.send(method, target, headers, body)
        except PipeClosedError:
            connection.close()  # and hear its last words
            raise
        self._failures.answered = True
        return answer

    def close(self) -> None:
        with self._guard:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _running(self) -> PipeConnection:
        with self._guard:
            if self._connection is not None and not self._connection.alive:
                self._connection.close()
                self._connection = None
            if self._connection is None:
                self._connection = self._start()
            return self._connection

    def _start(self) -> PipeConnection:
        stall = self._access.stall_seconds
        try:
            return PipeConnection(self._command, self._access.variables, self._words, stall_seconds=stall,
                                  start_seconds=self._start_seconds, answer_seconds=stall * _THINKING)
        except OSError as error:
            fields = {"location": self._failures.location, "program": self._command[0],
                      "detail": error.strerror or type(error).__name__}
            raise RcloneMissingError(**fields) from error


def _seconds(text: str, failures: HttpFailures) -> float:
    """Return what a duration such as ``1m30s`` means; a number alone means seconds."""
    if not text:
        return _START_SECONDS
    if text.replace(".", "", 1).isdigit():
        return float(text)
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise StorageError(location=failures.location, operation=N_("start"), name=_PROGRAM,
                           detail=N_("rclone.timeout is a duration such as 1m30s"))
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
