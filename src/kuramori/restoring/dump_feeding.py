"""From the repository into a program: the content of one file of a snapshot, verified, through a pipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from kuramori.browsing.dump import DumpOptions, dump
from kuramori.errors import N_, Phrase, RestoreError
from kuramori.repository.repository import Repository
from kuramori.sources.child_process import Check, ChildProcess, last_line, never_gives_up
from kuramori.sources.stream_source import CommandFailure


class StoredDump(NamedTuple):
    """A file of a snapshot that is to be fed to a program. The repository's index is loaded."""

    repository: Repository
    snapshot: str
    """The snapshot's id."""
    path: bytes
    """The file's path in the snapshot."""


class _EnoughError(Exception):
    """The program reads no more."""


class _Pipe:
    """Takes what the repository gives, and hands it to the program."""

    def __init__(self, child: ChildProcess, check: Check, alter: Callable[[bytes], bytes] | None) -> None:
        self._child = child
        self._check = check
        self._alter = alter

    def write(self, data: bytes, /) -> int:
        """Hand on one piece."""
        try:
            self._child.write(data if self._alter is None else self._alter(data), self._check)
        except BrokenPipeError:
            raise _EnoughError from None
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def feed(stored: StoredDump, command: Sequence[str], *, environment: Mapping[str, str] | None = None,
         check: Check = never_gives_up, alter: Callable[[bytes], bytes] | None = None,
         explain: Callable[[CommandFailure], Exception]) -> int:
    """Feed a program with a file of a snapshot; return how many bytes of the file that were.

    Both ends must succeed. Where the repository is damaged the program is ended before it can take what came
    for the whole.

    Args:
        check: called often; raises to end it.
        alter: changes each piece on its way (one blob at a time), and gets ``b""`` at the end: what it
            returns then comes last.
        explain: makes an error of the program's failure.

    Raises:
        DamagedError, StorageError, NoSuchPathError: the file cannot be read.
        OSError: the program cannot be started.
        Exception: what ``explain`` made.
    """
    child = ChildProcess(command, environment=environment, fed=True, read=False)
    good = False
    try:
        pipe, whole, size = _Pipe(child, check, alter), True, 0
        try:
            size = dump(stored.repository, stored.snapshot, pipe, DumpOptions(stored.path)).bytes
            if alter is not None:
                pipe.write(b"")
        except _EnoughError:
            whole = False
        child.close_input()
        status = child.wait(check)
        if status != 0 or not whole:
            raise explain(CommandFailure(child.program, status, child.messages))
        good = True
        return size
    finally:
        child.end(kill=not good)


def feed_command(stored: StoredDump, command: Sequence[str], check: Check = never_gives_up) -> int:
    """Feed a user's own command with what another one printed when it was saved; return the bytes.

    Raises:
        RestoreError: the command cannot be started, failed, or did not read to the end.
        DamagedError, StorageError, NoSuchPathError: the repository does not have it whole.
    """
    def explain(failure: CommandFailure) -> Exception:
        return RestoreError(path=os.fsdecode(stored.path), detail=Phrase(
            N_("the command {command} failed ({detail})"), command=failure.program, detail=_why(failure)))

    try:
        return feed(stored, command, check=check, explain=explain)
    except OSError as error:
        raise RestoreError(path=os.fsdecode(stored.path), detail=Phrase(
            N_("the command {command} failed ({detail})"), command=command[0],
            detail=error.strerror or str(error))) from None


def _why(failure: CommandFailure) -> str | Phrase:
    if failure.status == 0:
        return N_("it did not read to the end")
    return last_line(failure.messages) or failure.ended


def feed_and_read(stored: StoredDump, command: Sequence[str], *, environment: Mapping[str, str] | None, limit: int,
                  check: Check = never_gives_up, explain: Callable[[CommandFailure], Exception]) -> bytes:
    """Feed a program with as much of a file as it cares to read, and return what it prints.

    Args:
        limit: bytes of the answer that are kept; what is longer is cut off.

    Raises:
        As :func:`feed`; but the program need not read to the end.
    """
    child = ChildProcess(command, environment=environment, fed=True, read=False, keep_output=limit)
    good = False
    try:
        with suppress(_EnoughError):
            dump(stored.repository, stored.snapshot, _Pipe(child, check, None), DumpOptions(stored.path))
        child.close_input()
        status = child.wait(check)
        if status != 0:
            raise explain(CommandFailure(child.program, status, child.messages))
        good = True
        return child.output
    finally:
        child.end(kill=not good)


def read_beginning(stored: StoredDump, limit: int) -> bytes:
    """Return a file's content, as far as it is not longer than ``limit`` bytes.

    Raises:
        DamagedError, StorageError, NoSuchPathError: it cannot be read.
    """
    beginning = _Beginning(limit)
    with suppress(_EnoughError):
        dump(stored.repository, stored.snapshot, beginning, DumpOptions(stored.path))
    return bytes(beginning.content[:limit])


class _Beginning:
    """Takes what the repository gives until it is enough."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit

    def write(self, data: bytes, /) -> int:
        """Take one piece."""
        if len(self.content) >= self._limit:
            raise _EnoughError
        self.content += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
