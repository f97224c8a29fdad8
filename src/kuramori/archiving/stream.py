"""A snapshot made of a stream: standard input, or what a command prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kuramori.archiving.file_processor import FileProcessor
from kuramori.errors import N_, NothingToBackUpError, SourceCommandError, UsageError
from kuramori.model.names import quote_name
from kuramori.model.node import Node, encode_node
from kuramori.model.times import format_nanoseconds
from kuramori.model.tree import join_nodes

_DIRECTORY_MODE = (1 << 31) | 0o755
_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class StreamSource:
    """Where a stream comes from and what it is called. Give one of ``descriptor`` and ``command``."""

    filename: bytes = b"stdin"
    """Path in the snapshot."""
    descriptor: int | None = None
    """An open file descriptor to read to its end; it is not closed."""
    command: tuple[str, ...] = ()
    """A command and its arguments; its standard output is read. If it fails there is no snapshot."""

    def snapshot_path(self) -> bytes:
        """Return the path that the snapshot records."""
        return os.path.normpath(b"/" + self.filename.lstrip(b"/"))

    def wrap(self, node: Node, store_tree: Callable[[bytes], str]) -> str:
        """Store the trees that lead to the file; return the root's hexadecimal id."""
        parts = self._parts()
        tree = store_tree(join_nodes([encode_node(node)]))
        for part in reversed(parts[:-1]):
            folder = _node(part, "dir", _DIRECTORY_MODE, node.mtime)
            folder.subtree = tree
            tree = store_tree(join_nodes([encode_node(folder)]))
        return tree

    def _parts(self) -> Sequence[bytes]:
        parts = [part for part in self.snapshot_path().split(b"/") if part]
        if not parts or b".." in parts:
            raise UsageError(detail=N_("--stdin-filename must name a file"))
        return parts

    def name(self) -> bytes:
        """Return the last component of the path."""
        return self._parts()[-1]


def _node(name: bytes, kind: str, mode: int, time: str) -> Node:
    return Node(name=quote_name(name), type=kind, mode=mode, mtime=time, atime=time, ctime=time,
                uid=os.getuid(), gid=os.getgid(), content=None)


def save_stream(source: StreamSource, processor: FileProcessor, now_nanoseconds: int) -> Node:
    """Save the stream; return the node of its file.

    Raises:
        SourceCommandError: the command could not be started or failed.
        NothingToBackUpError: the stream was empty.
    """
    node = _node(source.name(), "file", _FILE_MODE, format_nanoseconds(now_nanoseconds))
    content: list[str] = []
    with _opened(source) as descriptor:
        for blob_id, length in processor.save_stream(lambda view: os.readv(descriptor, [view])):
            content.append(blob_id.hex())
            node.size += length
    if not content:
        raise NothingToBackUpError(detail=N_("the stream was empty"))
    node.content = content
    return node


@contextmanager
def _opened(source: StreamSource) -> Iterator[int]:
    if not source.command:
        if source.descriptor is None:
            raise UsageError(detail=N_("no stream was named"))
        yield source.descriptor
        return
    shown = source.command[0]  # arguments may hold secrets
    try:
        process = subprocess.Popen(source.command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        raise SourceCommandError(command=shown, detail=str(error)) from None
    assert process.stdout is not None
    try:
        yield process.stdout.fileno()
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
    if status != 0:
        detail = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise SourceCommandError(command=shown, detail=detail)
