"""What a stream is: where it comes from, what it is called, and who says whether it was whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kuramori.errors import N_, KuramoriError, Phrase, UsageError

HEAD_BYTES = 64
"""How much of its beginning a stream's :class:`StreamEnd` holds."""
TAIL_BYTES = 4096
"""How much of its end."""


class StreamEnd(NamedTuple):
    """What is known of a stream that came to its end."""

    size: int
    """Bytes."""
    head: bytes
    """The first :data:`HEAD_BYTES` bytes, or all."""
    tail: bytes
    """The last :data:`TAIL_BYTES` bytes, or all."""
    messages: str
    """What the command said on its standard error, if that was kept: the last part of it."""


class CommandFailure(NamedTuple):
    """How a command failed."""

    program: str
    """Without arguments, which may hold secrets."""
    status: int
    """Exit status; negative for the signal that ended it."""
    messages: str
    """What it said on its standard error, if that was kept: the last part of it."""

    @property
    def ended(self) -> Phrase:
        """The status in words."""
        if self.status > 0:
            return Phrase(N_("exit status {status}"), status=self.status)
        return Phrase(N_("signal {signal}"), signal=-self.status)


@dataclass(frozen=True, slots=True)
class StreamSource:
    """Where a stream comes from and what it is called. Give one of ``descriptor``, ``command`` and ``prepare``."""

    filename: bytes = b"stdin"
    """Path in the snapshot."""
    descriptor: int | None = None
    """An open file descriptor to read to its end; it is not closed."""
    command: tuple[str, ...] = ()
    """A command and its arguments; its standard output is read. If it fails there is no snapshot."""
    prepare: Callable[[], tuple[str, ...]] | None = None
    """Makes the command, when its turn comes."""
    environment: Mapping[str, str] | None = None
    """Variables for the command, besides those that this process has. No secrets: other programs of
    the same user can read them."""
    background: bool = False
    """Nobody sits at a terminal: the command gets a session of its own, so that all that it starts can be
    ended with it, and its standard error is kept for the error. Otherwise it shares the terminal."""
    empty: bool = False
    """Whether a stream without a byte is taken for what it is, instead of being refused."""
    watch: Callable[[memoryview], None] | None = None
    """Sees every byte that passes, in order, in pieces of any size. The view is valid during the call only."""
    verdict: Callable[[StreamEnd], None] | None = None
    """Called when the stream ended and its command succeeded. It raises a :class:`KuramoriError` if the
    stream is not whole: then there is no snapshot."""
    explain: Callable[[CommandFailure], KuramoriError | None] | None = None
    """Makes a better error of a failure of the command, or None."""

    def snapshot_path(self) -> bytes:
        """Return the path in the snapshot."""
        return os.path.normpath(b"/" + self.filename.lstrip(b"/"))

    def parts(self) -> Sequence[bytes]:
        """Return the components of the path in the snapshot.

        Raises:
            UsageError: it names no file.
        """
        parts = [part for part in self.snapshot_path().split(b"/") if part]
        if not parts or b".." in parts:
            raise UsageError(detail=N_("--stdin-filename must name a file"))
        return parts
