"""A snapshot made of streams: standard input, or what commands print."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from kuramori.archiving.file_processor import FileProcessor
from kuramori.errors import N_, NothingToBackUpError, Phrase, SourceCommandError, UsageError
from kuramori.model.names import quote_name
from kuramori.model.node import Node, encode_node
from kuramori.model.times import format_nanoseconds
from kuramori.model.tree import join_nodes
from kuramori.sources.child_process import Check, ChildProcess, last_line, read_when_ready
from kuramori.sources.stream_source import HEAD_BYTES, TAIL_BYTES, CommandFailure, StreamEnd, StreamSource

__all__ = ["StreamSource", "save_stream", "store_stream_trees", "stream_roots"]

_DIRECTORY_MODE = (1 << 31) | 0o755
_FILE_MODE = 0o644

_Folder = dict[bytes, "_Folder | Node"]


def stream_roots(sources: Iterable[StreamSource]) -> list[bytes]:
    """Return the paths that a snapshot of several streams records: what lies at its root. So it stays
    the same while databases come and go, and finds its parent."""
    return sorted({b"/" + source.parts()[0] for source in sources})


def store_stream_trees(saved: Iterable[tuple[StreamSource, Node]], store_tree: Callable[[bytes], str],
                       now_nanoseconds: int) -> str:
    """Store the trees that lead to the files of streams; return the root's hexadecimal id.

    Raises:
        UsageError: two streams have the same path, or one lies below another.
    """
    root: _Folder = {}
    for source, node in saved:
        folder = root
        *above, name = source.parts()
        for part in above:
            inner = folder.setdefault(part, {})
            if isinstance(inner, Node):
                raise UsageError(detail=N_("two streams have the same name"))
            folder = inner
        if name in folder:
            raise UsageError(detail=N_("two streams have the same name"))
        folder[name] = node
    return _store_folder(root, store_tree, format_nanoseconds(now_nanoseconds))


def _store_folder(folder: _Folder, store_tree: Callable[[bytes], str], time: str) -> str:
    encoded = []
    for name in sorted(folder):
        entry = folder[name]
        if not isinstance(entry, Node):
            subtree = _store_folder(entry, store_tree, time)
            entry = _node(name, "dir", _DIRECTORY_MODE, time)
            entry.subtree = subtree
        encoded.append(encode_node(entry))
    return store_tree(join_nodes(encoded))


def _node(name: bytes, kind: str, mode: int, time: str) -> Node:
    return Node(name=quote_name(name), type=kind, mode=mode, mtime=time, atime=time, ctime=time,
                uid=os.getuid(), gid=os.getgid(), content=None)


class _Watched:
    """Keeps of a stream what its verdict needs."""

    def __init__(self, source: StreamSource) -> None:
        self._watch = source.watch
        self.size = 0
        self.head = b""
        self.tail = b""

    def see(self, piece: memoryview) -> None:
        """Take note of the next piece."""
        if self.size < HEAD_BYTES:
            self.head += bytes(piece[: HEAD_BYTES - self.size])
        self.size += len(piece)
        last = bytes(piece[-TAIL_BYTES:])
        self.tail = last if len(last) == TAIL_BYTES else (self.tail + last)[-TAIL_BYTES:]
        if self._watch is not None:
            self._watch(piece)


def save_stream(source: StreamSource, processor: FileProcessor, now_nanoseconds: int, *, check: Check,
                advance: Callable[[int], None]) -> Node:
    """Save the stream; return the node of its file.

    Args:
        check: called often, also while nothing comes; raises to end the backup.
        advance: told how many more bytes were saved.

    Raises:
        SourceCommandError: the command could not be started or failed.
        NothingToBackUpError: the stream was empty.
        KuramoriError: whatever the source's own ``verdict`` or ``explain`` says.
    """
    node = _node(source.parts()[-1], "file", _FILE_MODE, format_nanoseconds(now_nanoseconds))
    content: list[str] = []
    watched = _Watched(source)
    with _opened(source, watched, check) as read:

        def read_into(view: memoryview) -> int:
            count = read(view)
            if count:
                watched.see(view[:count])
            return count

        for blob_id, length in processor.save_stream(read_into):
            content.append(blob_id.hex())
            node.size += length
            advance(length)
    if not content and not source.empty:
        raise NothingToBackUpError(detail=N_("the stream was empty"))
    node.content = content
    return node


@contextmanager
def _opened(source: StreamSource, watched: _Watched, check: Check) -> Iterator[Callable[[memoryview], int]]:
    command = source.command if source.prepare is None else source.prepare()
    if not command:
        descriptor = source.descriptor
        if descriptor is None:
            raise UsageError(detail=N_("no stream was named"))
        yield lambda view: read_when_ready(descriptor, view, check)
        _judge(source, watched, "")
        return
    try:
        child = ChildProcess(command, environment=source.environment, background=source.background)
    except (OSError, ValueError) as error:
        # Only the program is named: arguments may hold secrets.
        raise SourceCommandError(command=command[0], detail=_reason(error)) from None
    good = False
    try:
        yield lambda view: child.read_into(view, check)
        status = child.wait(check)
        if status != 0:
            raise _failure(source, CommandFailure(child.program, status, child.messages))
        _judge(source, watched, child.messages)
        good = True
    finally:
        child.end(kill=not good)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _judge(source: StreamSource, watched: _Watched, messages: str) -> None:
    if source.verdict is not None:
        source.verdict(StreamEnd(watched.size, watched.head, watched.tail, messages))


def _failure(source: StreamSource, failure: CommandFailure) -> Exception:
    explained = source.explain(failure) if source.explain is not None else None
    if explained is not None:
        return explained
    line = last_line(failure.messages)
    detail = Phrase(N_("{ended}: {line}"), ended=failure.ended, line=line) if line else failure.ended
    return SourceCommandError(command=failure.program, detail=detail)
