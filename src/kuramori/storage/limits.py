"""No more bytes per second than were allowed, over all threads together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import overload

from kuramori.clock import Clock
from kuramori.storage.backend import Backend, Buffer, Handle, StagedFile
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.spooled_file import PieceSequence, SpooledFile, in_pieces

_SAVED_SECONDS = 0.5
"""What was not used of the last half second may be caught up: a pause between two requests costs nothing."""
_PIECE_SECONDS = 0.25
_SMALLEST_PIECE = 1024
_LARGEST_PIECE = 256 * 1024


class TokenBucket:
    """Lets so many bytes pass in a second. Used by any number of threads: each waits until its bytes are due, in the
    order in which they came, so that together they keep the rate."""

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        """Begin with nothing saved.

        Args:
            bytes_per_second: at least 1.
            clock: measures and waits.
        """
        self._rate = bytes_per_second
        self._clock = clock
        self._guard = threading.Lock()
        self._paid_until = clock.monotonic()

    @property
    def piece(self) -> int:
        """Bytes that are best paid for at once: what passes in a quarter of a second, within bounds. A transfer in
        such pieces always moves, and is not taken for stalled."""
        return max(_SMALLEST_PIECE, min(_LARGEST_PIECE, int(self._rate * _PIECE_SECONDS)))

    def pay(self, count: int) -> None:
        """Return when ``count`` more bytes may have passed."""
        with self._guard:
            now = self._clock.monotonic()
            self._paid_until = max(self._paid_until, now - _SAVED_SECONDS) + count / self._rate
            wait = self._paid_until - now
        if wait > 0:
            self._clock.sleep(wait)


class LimitedBackend(ForwardingBackend):
    """Passes everything on, not faster than was allowed.

    What is sent is held back piece by piece while the store takes it; what was fetched is paid for afterwards, before
    it is given on. Wrap this by what tries again, so that bytes that are sent twice count twice. Requests themselves,
    listings and headers are not counted.
    """

    def __init__(self, inner: Backend, *, upload: TokenBucket | None, download: TokenBucket | None) -> None:
        """Wrap ``inner``; a bucket that is None limits nothing."""
        super().__init__(inner)
        self._upload = upload
        self._download = download

    @property
    def worker_location(self) -> str | None:
        """None: another process would not know what this one has sent."""
        return None

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file, not too fast."""
        self._inner.save(handle, parts if self._upload is None else _PaidPieces(parts, self._upload))

    def stage(self) -> StagedFile:
        """Begin a pack: paid for when it is saved, or as it is written where it lies in the store already."""
        staged = self._inner.stage()
        if self._upload is None:
            return staged
        return staged.through(self.save) if isinstance(staged, SpooledFile) else _PaidFile(staged, self._upload)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, not too fast."""
        data = self._inner.load(handle, offset, length)
        if self._download is not None:
            self._download.pay(len(data))
        return data


class _PaidPieces(PieceSequence):
    """Content whose pieces are given when their time has come."""

    def __init__(self, parts: Sequence[Buffer], bucket: TokenBucket) -> None:
        self._pieces = in_pieces(parts, bucket.piece)
        self._bucket = bucket

    @property
    def total_size(self) -> int:
        """Bytes of all pieces together."""
        return self._pieces.total_size

    @property
    def content(self) -> Sequence[Buffer]:
        """The pieces, unpaid."""
        return self._pieces

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, number: int) -> Buffer: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Buffer]: ...

    def __getitem__(self, number: int | slice) -> Buffer | Sequence[Buffer]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        piece = self._pieces[number]
        self._bucket.pay(len(piece))
        return piece


class _PaidFile:
    """A staged file that goes to the store as it is written."""

    def __init__(self, inner: StagedFile, bucket: TokenBucket) -> None:
        self._inner = inner
        self._bucket = bucket

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._inner.size

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order, not too fast."""
        self._inner.write(_PaidPieces(parts, self._bucket))

    def read_back(self) -> bytes:
        """Return everything written so far."""
        return self._inner.read_back()

    def commit(self, handle: Handle) -> None:
        """Make the file durable under its name."""
        self._inner.commit(handle)

    def discard(self) -> None:
        """Drop it."""
        self._inner.discard()


def limited(backend: Backend, limit_upload: int | None, limit_download: int | None, clock: Clock) -> Backend:
    """Return ``backend`` with limits in bytes per second, or as it is where there are none."""
    if limit_upload is None and limit_download is None:
        return backend
    return LimitedBackend(backend, upload=None if limit_upload is None else TokenBucket(limit_upload, clock),
                          download=None if limit_download is None else TokenBucket(limit_download, clock))
