"""Files of a server that are read by GET, with what HTTP allows servers to answer checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from kuramori.errors import N_, FileNotInStorageError, Phrase, ShortReadError, StorageError, StorageRetryableError
from kuramori.storage.backend import Buffer
from kuramori.storage.http_failures import is_page_for_people
from kuramori.storage.http_transport import MOST_BYTES, HttpAnswer, HttpTransport
from kuramori.storage.spooled_file import total_size

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d+)")
_BEGINNING = 512


class HttpFiles:
    """Reads files through a transport. May be used by several threads at once."""

    def __init__(self, transport: HttpTransport) -> None:
        """Read below the address of ``transport``."""
        self._transport = transport
        self._failures = transport.failures

    def load(self, path: str, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``offset``, or everything from there on: never others, and never fewer.

        Args:
            path: below the transport's address, percent-encoded.
            name: of the file, for errors.

        Raises:
            FileNotInStorageError: it is not there.
            ShortReadError: it ends before ``offset + length``.
            StorageRetryableError: another range was answered, or fewer bytes than were announced.
            NotARepositoryServerError: a page for people came.
        """
        if length == 0:
            if offset > (size := self.size(path, name)):
                raise self._short(name, offset, size)
            return b""
        if not offset and length is None:
            return self._load_all(path, name)
        last = "" if length is None else str(offset + length - 1)
        answer = self._transport.ask("GET", path, operation="load", name=name, accept=(200, 206, 404, 416),
                                     headers={"Range": f"bytes={offset}-{last}"},
                                     most=MOST_BYTES if length is None else offset + length)
        self._refuse_odd(answer, name)
        if answer.status == 416:
            return self._past_the_end(answer, path, name, offset, length)
        if answer.status == 200:  # ranges are an offer that a server need not take
            content = answer.body[offset:]
            if len(answer.body) < offset + (length or 0):
                raise self._short(name, offset + (length or 0), len(answer.body))
            return content
        return self._judge_range(answer, path, name, offset, length)

    def _load_all(self, path: str, name: str) -> bytes:
        answer = self._transport.ask("GET", path, operation="load", name=name, accept=(200, 404))
        self._refuse_odd(answer, name)
        marked = "Content-Length" in answer.headers or "chunked" in answer.headers.get("Transfer-Encoding", "")
        if not marked and self.size(path, name) != len(answer.body):
            raise self._passing(N_("the answer was cut off"), name)
        return answer.body

    def _judge_range(self, answer: HttpAnswer, path: str, name: str, offset: int, length: int | None) -> bytes:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None:
            raise self._passing(N_("the answer does not say which range it is"), name)
        size = int(found[3]) if found[3] != "*" else self.size(path, name)
        if offset + (length or 0) > size:
            raise self._short(name, offset + (length or 0), size)
        wanted = size - offset if length is None else length
        if wanted and (int(found[1]) != offset or int(found[2]) != offset + wanted - 1):
            raise self._passing(
                Phrase(N_("bytes {first} to {last} were answered in place of {wanted} from {offset} on"),
                       first=int(found[1]), last=int(found[2]), wanted=wanted, offset=offset), name)
        if len(answer.body) != wanted:
            raise self._passing(N_("the answer was cut off"), name)
        return answer.body

    def _past_the_end(self, answer: HttpAnswer, path: str, name: str, offset: int, length: int | None) -> bytes:
        found = _UNSATISFIED.fullmatch(answer.headers.get("Content-Range", ""))
        size = int(found[1]) if found is not None else self.size(path, name)
        if offset + (length or 0) > size:
            raise self._short(name, offset + (length or 0), size)
        if length is None and offset == size:
            return b""
        raise self._passing(N_("the server does not find a range that is there"), name)

    def size(self, path: str, name: str) -> int:
        """Return a file's size in bytes.

        Raises:
            FileNotInStorageError: it is not there.
            NotARepositoryServerError: there is a page for people.
        """
        answer = self._transport.ask("HEAD", path, operation="look at", name=name, accept=(200, 404))
        if answer.status == 404:
            raise self._missing("look at", name)
        size = answer.headers.get("Content-Length", "")
        if answer.headers.get("Content-Type", "").lower().startswith("text/html") and size != "0":
            beginning = self._transport.ask("GET", path, operation="look at", name=name, most=_BEGINNING)
            self._refuse_odd(beginning, name)
        if not size.isdigit():
            raise self._failures.strange_answer(N_("it does not say how large a file is"), "look at", name)
        return int(size)

    def holds(self, path: str, name: str, parts: Sequence[Buffer]) -> bool:
        """Tell whether a file that is there holds this content. Its size is looked at first.

        Raises:
            FileNotInStorageError: it is not there.
        """
        if self.size(path, name) != total_size(parts):
            return False
        expected = hashlib.sha256()
        for part in parts:
            expected.update(part)
        return hashlib.sha256(self.load(path, name)).digest() == expected.digest()

    def _refuse_odd(self, answer: HttpAnswer, name: str) -> None:
        if answer.status == 404:
            raise self._missing("load", name)
        if answer.status == 416:
            return
        if is_page_for_people(answer.headers, answer.body):
            raise self._failures.strange_answer(N_("a web page came in place of a file"), "load", name)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise StorageError(location=self._failures.location, operation="load", name=name,
                               detail=N_("the server, or a proxy before it, changes (compresses) what it sends"))
        self._failures.reached = True

    def _missing(self, operation: str, name: str) -> FileNotInStorageError:
        return FileNotInStorageError(location=self._failures.location, operation=operation, name=name)

    def _short(self, name: str, wanted: int, size: int) -> ShortReadError:
        return ShortReadError(location=self._failures.location, operation="load", name=name,
                              detail=Phrase(N_("{wanted} bytes were expected and it has {size}"),
                                            wanted=wanted, size=size))

    def _passing(self, detail: str | Phrase, name: str) -> StorageRetryableError:
        return StorageRetryableError(location=self._failures.location, operation="load", name=name, detail=detail)
