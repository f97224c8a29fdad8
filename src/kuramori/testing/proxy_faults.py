"""What can go wrong between a program and a server that speaks HTTP, and for which requests."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

_FOLDERS = frozenset({"data", "index", "keys", "locks", "snapshots"})


class Moment(enum.Enum):
    """When, in the life of a request, something happens. Where a body is empty, its middle is before its head: what
    happens there happens before the message could be complete."""

    BEFORE = "before"
    """Its head was read, and nothing of it has reached the server."""
    IN_REQUEST = "in the request"
    """Half of its body has reached the server."""
    IN_ANSWER = "in the answer"
    """The head of the answer and half of its body have reached the client."""
    AFTER = "after"
    """The server has carried it out and answered; nothing of that has reached the client."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers in place of the server, which never sees the request."""

    status: int
    retry_after: int | None = None
    """Seconds, for a ``Retry-After``."""
    body: bytes = b"out of order\n"


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks. :attr:`Moment.AFTER` loses the answer to what was carried out."""

    moment: Moment = Moment.BEFORE


@dataclass(frozen=True, slots=True)
class Stall:
    """From some moment on nothing moves, until the client gives up."""

    moment: Moment = Moment.BEFORE


@dataclass(frozen=True, slots=True)
class Call:
    """Something else happens at some moment, such as the death of the server; then the request goes on."""

    action: Callable[[], object]
    moment: Moment = Moment.BEFORE


@dataclass(frozen=True, slots=True)
class TruncateAnswer:
    """Half of the answer's body arrives, with the ``Content-Length`` of the whole; then the connection ends in
    good order."""


@dataclass(frozen=True, slots=True)
class ShortenAnswer:
    """Half of the answer's body arrives, and ``Content-Length`` says that this is all."""


@dataclass(frozen=True, slots=True)
class FlipBit:
    """One bit of the answer's body is wrong; which one depends on the proxy's seed."""


class RangeLie(enum.Enum):
    """What is wrong with the answer to a request for a range."""

    ANOTHER = "another range"
    """206, and ``Content-Range`` says that other bytes were sent than were asked for."""
    WHOLE = "the whole file"
    """200 with the whole file. What lies outside the range is noise: only the range came from the server."""
    SHIFTED = "shifted bytes"
    """206 with the right ``Content-Range``, but the bytes are shifted by one."""


@dataclass(frozen=True, slots=True)
class WrongRange:
    """A request for a range is answered with something else. Answers that hold no range are left alone."""

    lie: RangeLie


@dataclass(frozen=True, slots=True)
class EmptyListing:
    """A listing says that there is nothing."""


@dataclass(frozen=True, slots=True)
class StaleListing:
    """A listing is that of some time ago: what the last ``writes`` uploads and removals of its kind through the proxy
    changed is not in it yet."""

    writes: int


@dataclass(frozen=True, slots=True)
class LateDuplicate:
    """The request is carried out and answered, and arrives at the server once more: right before the ``requests``-th
    one after it, or at :meth:`~kuramori.testing.fault_proxy.FaultProxy.deliver_late`."""

    requests: int


Fault: TypeAlias = (Answer | Reset | Stall | Call | TruncateAnswer | ShortenAnswer | FlipBit | WrongRange
                    | EmptyListing | StaleListing | LateDuplicate)


@dataclass(slots=True)
class ProxiedRequest:
    """One request that reached the proxy, and what became of it."""

    number: int
    """From 1, over all connections."""
    method: str
    target: str
    """Path and query, as the client wrote them."""
    range: str
    """Its ``Range``; empty where there is none."""
    kind: str
    """What it is about: ``config``, ``data``, ``index``, ``keys``, ``locks``, ``snapshots``, or empty."""
    name: str
    """The last part of its path; empty for a listing."""
    listing: bool
    status: int | None = None
    """Of the answer that the client got, or should have got; None where there was none."""
    uploaded: int = 0
    """Bytes of its body."""
    downloaded: int = 0
    """Bytes of the answer's body."""
    faults: tuple[Fault, ...] = ()

    @property
    def what(self) -> str:
        """Method and kind for counting: ``GET data``; a listing ends with a slash: ``GET snapshots/``."""
        return f"{self.method} {self.kind or 'other'}{'/' if self.listing else ''}"


def describe_request(number: int, method: str, target: str, byte_range: str) -> ProxiedRequest:
    """Return what a request is about: by the layout of a repository (format section 7) below any prefix, as restic's
    REST servers and S3 stores show it."""
    split = urlsplit(target)
    query = parse_qs(split.query)
    path = unquote(split.path)
    # A listing of S3 is a request to the bucket.
    listed = query["prefix"][0] if method == "GET" and "prefix" in query else None
    parts = (path if listed is None else listed).split("/")
    folders, name = parts[:-1], parts[-1]
    inner = next((folder for folder in reversed(folders[-2:]) if folder in _FOLDERS), "")
    if listed is not None and name in _FOLDERS:
        inner, name = name, ""
    kind = inner or ("config" if name == "config" else "")
    listing = listed is not None or method == "PROPFIND" or (method == "GET" and bool(kind) and not name)
    return ProxiedRequest(number, method, target, byte_range, kind, "" if listing else name, listing)


@dataclass(frozen=True, slots=True)
class Which:
    """Which requests a fault meets: those that match, from the ``first``-th on, ``times`` of them."""

    methods: frozenset[str] | None = None
    """None for all."""
    kinds: frozenset[str] | None = None
    """Of :attr:`ProxiedRequest.kind`; None for all."""
    listing: bool | None = None
    """Whether it is a listing; None for either."""
    first: int = 1
    times: int | None = 1
    """None for all from there on."""

    def matches(self, request: ProxiedRequest) -> bool:
        """Tell whether a request is one of those that are counted."""
        return ((self.methods is None or request.method in self.methods)
                and (self.kinds is None or request.kind in self.kinds)
                and (self.listing is None or request.listing == self.listing))

    def meets(self, position: int) -> bool:
        """Tell whether the fault meets the ``position``-th (from 1) of those that match."""
        return position >= self.first and (self.times is None or position < self.first + self.times)


def requests_of(methods: str = "", kinds: str = "", *, listing: bool | None = None, first: int = 1,
                times: int | None = 1) -> Which:
    """Return a :class:`Which` from words: ``requests_of("PUT POST", "data index")``. No word means all."""
    return Which(frozenset(methods.split()) or None, frozenset(kinds.split()) or None, listing, first, times)
