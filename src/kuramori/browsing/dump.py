"""``dump``: a file's content, or a folder as a tar or zip archive, to a stream."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kuramori.browsing.archives import ArchiveWriter, TarWriter, ZipWriter
from kuramori.browsing.walk import WalkedNode, checked_name, subtree_of, walk_tree
from kuramori.errors import (
    N_,
    DamagedError,
    MissingBlobError,
    NoSuchPathError,
    NotADirectoryInSnapshotError,
    Phrase,
    UsageError,
)
from kuramori.ids import Id, parse_id
from kuramori.model.blob import BlobType
from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import EVERY_SNAPSHOT, SnapshotFilter, resolve_tree


class Writer(Protocol):
    """Where the bytes go: an open binary file, a pipe, a socket's file. It need not seek."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``."""
        ...

    def flush(self) -> None:
        """Hand on what is held back."""
        ...


class ArchiveFormat(enum.Enum):
    """How a folder is written."""

    TAR = "tar"
    """PAX; extended attributes as ``SCHILY.xattr.*``."""
    ZIP = "zip"
    """Files, folders and symlinks only."""


@dataclass(frozen=True, slots=True)
class DumpOptions:
    """What to write, and how."""

    path: bytes = b"/"
    """Absolute path in the snapshot, or in the subfolder that was named with it."""
    archive: ArchiveFormat = ArchiveFormat.TAR
    """How to write a folder; a file is written as it is."""


@dataclass(frozen=True, slots=True)
class DumpResult:
    """What was written."""

    snapshot: StoredSnapshot
    is_archive: bool
    entries: int
    """Entries of the archive, or 1."""
    bytes: int
    """Plain bytes of the files' content."""


def dump(repository: Repository, snapshot: str, writer: Writer, options: DumpOptions | None = None,
         snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT) -> DumpResult:
    """Write a file or folder of a snapshot; the index must be loaded.

    Memory: one blob, and the trees of one path.

    Args:
        snapshot: ``latest``, an id or its beginning; ``:subfolder`` may follow.
        writer: gets the bytes; what its ``write`` raises comes through.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError, NoSuchPathError, NotADirectoryInSnapshotError: before
            anything is written.
        UsageError: the path is neither a file nor a folder.
        DamagedError, StorageError: something cannot be read; what was written is not complete.
        HostileNameError: a name could leave its folder.
    """
    options = options or DumpOptions()
    stored, tree, _ = resolve_tree(repository, snapshot, snapshot_filter)
    found = _find(repository, stored, tree, options.path)
    if isinstance(found, WalkedNode) and found.node.type != "dir":
        if found.node.type != "file":
            raise UsageError(
                detail=Phrase(N_("{path} is neither a file nor a folder, but a {type}"),
                              path=display_text(found.path), type=found.node.type))
        size = _write_file(repository, found, writer)
        return DumpResult(stored, False, 1, size)
    path = b""
    if isinstance(found, WalkedNode):
        path, tree = found.path, subtree_of(found.path, found.node)
    entries, size = _write_archive(repository, tree, path, options.archive, writer)
    return DumpResult(stored, True, entries, size)


def file_content(repository: Repository, node: Node, path: bytes) -> Iterator[bytes]:
    """Yield the content of a file's node, blob by blob, verified.

    Args:
        path: for errors.

    Raises:
        MissingBlobError, DamagedError, StorageError: a blob cannot be had.
    """
    for text in node.content_ids:
        try:
            blob_id = parse_id(text)
        except ValueError as error:
            raise DamagedError(what=display_text(path), detail=str(error)) from None
        yield repository.load_blob(BlobType.DATA, blob_id)


def _find(repository: Repository, stored: StoredSnapshot, tree: Id, path: bytes) -> WalkedNode | None:
    """Return the node of a path; None for the root."""
    found: WalkedNode | None = None
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        above = found.path if found else b""
        if found is not None:
            if found.node.type != "dir":
                raise NotADirectoryInSnapshotError(path=display_text(above), snapshot=stored.short_id)
            tree = subtree_of(above, found.node)
        node = _entry(repository, tree, above, part)
        if node is None:
            raise NoSuchPathError(path=display_text(path), snapshot=stored.short_id)
        found = WalkedNode(above + b"/" + part, node, tree)
    return found


def _entry(repository: Repository, tree: Id, path: bytes, name: bytes) -> Node | None:
    for node in repository.load_tree(tree).nodes:
        if checked_name(path, node) == name:
            return node
    return None


def _write_file(repository: Repository, found: WalkedNode, writer: Writer) -> int:
    size = 0
    for content in file_content(repository, found.node, found.path):
        writer.write(content)
        size += len(content)
    writer.flush()
    if size != found.node.size:
        raise DamagedError(what=display_text(found.path),
                           detail=Phrase(N_("it should have {size} bytes, and its blobs have {found}"),
                                         size=found.node.size, found=size))
    return size


def _write_archive(repository: Repository, tree: Id, path: bytes, archive: ArchiveFormat,
                   writer: Writer) -> tuple[int, int]:
    target: ArchiveWriter = TarWriter(writer) if archive is ArchiveFormat.TAR else ZipWriter(writer)
    entries = size = 0
    try:
        for walked in walk_tree(repository, tree, path):
            content: Iterator[bytes] = iter(())
            if walked.node.type == "file":
                _require_fitting_size(repository, walked)
                content = file_content(repository, walked.node, walked.path)
                size += walked.node.size
            entries += target.add(walked.path, walked.node, content)
        target.finish()
    except BaseException:
        target.abandon()
        raise
    writer.flush()
    return entries, size


def _require_fitting_size(repository: Repository, walked: WalkedNode) -> None:
    """Refuse a file whose blobs do not have its size: an archive names the size first, and one
    that is wrong would spoil all that follows."""
    size = 0
    for text in walked.node.content_ids:
        try:
            length = repository.index.plain_length(BlobType.DATA, parse_id(text))
        except ValueError as error:
            raise DamagedError(what=display_text(walked.path), detail=str(error)) from None
        if length is None:
            raise MissingBlobError(kind="data", blob=text)
        size += length
    if size != walked.node.size:
        raise DamagedError(what=display_text(walked.path),
                           detail=Phrase(N_("it should have {size} bytes, and its blobs have {found}"),
                                         size=walked.node.size, found=size))
