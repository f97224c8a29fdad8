"""A worker process that looks whether folders are as the parent snapshot has them, while the main process looks at
others.

It is given the parent's tree of each folder, so it needs neither the repository nor a key. What it finds unchanged is
taken as it says; at everything else the main process looks by itself.
"""

from __future__ import annotations

import gc
import os

import msgspec

from kuramori.archiving.file_processor import open_directory
from kuramori.archiving.metadata import NodeBuilder, read_attributes
from kuramori.archiving.unchanged_folders import FolderComparer
from kuramori.model.node import encode_node
from kuramori.model.tree import decode_tree
from kuramori.repository.worker_channel import WorkerChannel, leave_signals_to_the_main_process


class ScoutSettings(msgspec.Struct):
    """What a scout must know."""

    with_atime: bool
    """Whether nodes of folders hold the time of last access."""


class FolderQuestion(msgspec.Struct, array_like=True):
    """To a scout: is this folder unchanged?"""

    path: bytes
    device: int
    inode: int
    """Which folder must be there; 0 for any."""
    document: bytes
    """The parent's tree of it."""


class FolderAnswer(msgspec.Struct, array_like=True):
    """From a scout, in the order of the questions."""

    node: bytes
    """The encoded node of the folder, without its tree; empty if it is not plainly unchanged, or is another one."""
    files: int = 0
    size: int = 0
    """Bytes of the files."""
    folders: list[tuple[str, int, int]] = []
    """Name, device and inode of each folder in it."""


encode = msgspec.msgpack.Encoder().encode
decode_answer = msgspec.msgpack.Decoder(FolderAnswer).decode
_decode_settings = msgspec.msgpack.Decoder(ScoutSettings).decode
_decode_question = msgspec.msgpack.Decoder(FolderQuestion).decode
_CHANGED = FolderAnswer(b"")


def _answer(question: FolderQuestion, nodes: NodeBuilder, comparer: FolderComparer) -> FolderAnswer:
    try:
        before = {node.name: node for node in decode_tree(question.document).nodes}
        fd = open_directory(question.path)
    except (OSError, msgspec.DecodeError, ValueError):
        return _CHANGED
    try:
        status = os.fstat(fd)
        if question.inode and (status.st_dev, status.st_ino) != (question.device, question.inode):
            return _CHANGED
        folder = nodes.build(os.path.basename(question.path), status)
        folder.extended_attributes = read_attributes(fd)
        found = comparer.compare(before, list(os.scandir(fd)))
    except OSError:
        return _CHANGED
    finally:
        os.close(fd)
    if found is None:
        return _CHANGED
    return FolderAnswer(encode_node(folder), found.files, found.size,
                        [(name, inner.st_dev, inner.st_ino) for name, inner in found.folders.items()])


def run(fd: int) -> None:
    """Be a scout that talks over the socket ``fd``. Called in a process of its own."""
    leave_signals_to_the_main_process()
    gc.set_threshold(100_000)
    connection = WorkerChannel(fd)
    try:
        nodes = NodeBuilder(_decode_settings(connection.recv_bytes()).with_atime)
        comparer = FolderComparer(nodes.names, None)
        while True:
            connection.send_bytes(encode(_answer(_decode_question(connection.recv_bytes()), nodes, comparer)))
    except (EOFError, OSError):
        return
