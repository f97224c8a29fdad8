"""Reads files, cuts, hashes, seals and packs them: the work that a worker does."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kuramori.archiving.databases import SavedImage
from kuramori.archiving.metadata import BETWEEN_IDS, NodeBuilder, read_attributes
from kuramori.archiving.storing import ChunkStore
from kuramori.chunking.content_defined import MAXIMUM_SIZE, MINIMUM_SIZE, ContentDefinedChunker
from kuramori.errors import N_
from kuramori.ids import ID_LENGTH, Id, hash_id
from kuramori.model.databases import DatabaseRecord
from kuramori.model.node import decode_node, encode_node
from kuramori.model.times import format_nanoseconds
from kuramori.sources.sqlite_files import MAGIC, is_database_header, newest_change, sibling_statuses

if TYPE_CHECKING:
    from kuramori.archiving.database_saving import DatabaseSaver

_FILL = 4 * 1024 * 1024
_GATHER_BYTES = 2 * 1024 * 1024
_GATHER_FILES = 128
_DIGITS = 2 * ID_LENGTH
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_QUIET_FLAGS = _READ_FLAGS | getattr(os, "O_NOATIME", 0)


class FileOutcome(NamedTuple):
    """What became of one file."""

    node: bytes
    """The encoded node; empty if the file could not be saved, or is left out (no problem then)."""
    size: int
    """Bytes read."""
    problem: str
    """Why it was not saved, or how it changed while it was read; empty if all is well."""
    error: str = ""
    """Name of the class in :mod:`kuramori.errors` that the problem is; empty for the usual one."""
    database: DatabaseRecord | None = None
    """What was found out, if the file is a database and was saved as an image."""
    content: tuple[str, ...] = ()
    """Ids of the chunks of an image that is still to be checked; otherwise empty."""


NOTHING_MORE = ("", "", None, ())
"""What an outcome has behind node and size, if all is well and the file is no database."""
_NEVER = format_nanoseconds(0)
"""The ctime of a database with which something is wrong: so it is read, and told of, next time too."""
_LEFT_OUT = FileOutcome(b"", 0, "")


class _Gathered(msgspec.Struct, gc=False):
    """A small file that was read and waits for its claim."""

    position: int
    name: bytes
    status: os.stat_result
    data: bytes
    attributes: object
    problem: str


class ReadFiles(NamedTuple):
    """Files of one directory, of which the last small ones are read but not stored yet."""

    ids: list[Id]
    """Of the blobs that are to be claimed."""
    gathered: list[_Gathered]
    outcomes: list[FileOutcome | None]
    """Of all files, in order; None for those that are gathered."""

    @property
    def held(self) -> int:
        """Bytes of the content that is held."""
        return sum(len(small.data) for small in self.gathered)

    def blobs(self) -> list[bytes]:
        """Return the content of those files that have any: one for each of :attr:`ids`."""
        return [small.data for small in self.gathered if small.data]


class SavedFiles(NamedTuple):
    """Files of one directory that were saved, and of which there is no more to say."""

    nodes: list[bytes]
    """Encoded, in the order of the names."""
    sizes: list[int]


class _FoundDatabase(NamedTuple):
    """A file that begins as a database does."""

    status: os.stat_result
    attributes: object
    changed: int
    """Nanoseconds: when it, its log or its journal changed last."""


class FileProcessor:
    """Saves regular files. Used by one thread."""

    def __init__(self, store: ChunkStore, chunker: ContentDefinedChunker, with_atime: bool = False,
                 databases: DatabaseSaver | None = None) -> None:
        """Cut with ``chunker``, keep in ``store``.

        Args:
            databases: saves those that are met; None to treat them as any file.
        """
        self._store = store
        self._databases = databases
        self._chunker = chunker
        self._builder = NodeBuilder(with_atime)
        self._buffer: bytearray | None = None

    def process(self, directory: bytes, names: Sequence[bytes]) -> list[FileOutcome]:
        """Save files of one directory.

        Returns:
            One outcome for each name, in order. Only the storage may fail the whole.

        Raises:
            StorageError, SealVerificationError
        """
        read = self.read(directory, names)
        self._store.store(read.ids, read.blobs())
        return self._conclude(read)

    def finish(self, read: ReadFiles, wanted: Sequence[int]) -> list[FileOutcome] | SavedFiles:
        """Store what is left of files that were read; for whoever asks which of it to store in his own time.

        Args:
            wanted: what a :data:`~kuramori.archiving.storing.Claim` answered for ``read.ids``.

        Returns:
            What :meth:`process` does, or the short form of it where all is well.
        """
        self._store.store_wanted(read.ids, read.blobs(), wanted)
        return self._conclude_together(read) or self._conclude(read)

    def read(self, directory: bytes, names: Sequence[bytes]) -> ReadFiles:
        """Read files of one directory, and store all but some small ones, at most 2 MB or 128 of them, which
        :meth:`finish` stores.

        Raises:
            StorageError, SealVerificationError
        """
        try:
            directory_fd = open_directory(directory)
        except OSError as error:
            return ReadFiles([], [], [FileOutcome(b"", 0, error.strerror or str(error))] * len(names))
        outcomes: list[FileOutcome | None] = [None] * len(names)
        gathered: list[_Gathered] = []
        gathered_bytes = 0
        try:
            for position, name in enumerate(names):
                if gathered_bytes >= _GATHER_BYTES or len(gathered) >= _GATHER_FILES:
                    self._finish_gathered(gathered, outcomes)
                    gathered, gathered_bytes = [], 0
                if self._databases is not None and self._databases.leaves_out(name, directory_fd):
                    outcomes[position] = _LEFT_OUT
                    continue
                small = self._begin(directory_fd, position, name, outcomes)
                if isinstance(small, _FoundDatabase):
                    outcomes[position] = self._save_database(directory_fd, name, small)
                    continue
                if small is None:
                    continue
                gathered.append(small)
                gathered_bytes += len(small.data)
        finally:
            os.close(directory_fd)
        return _hash(gathered, outcomes)

    def _save_database(self, directory_fd: int, name: bytes, found: _FoundDatabase) -> FileOutcome:
        """Save a database, whose file must not be open here. One that SQLite cannot read is saved as any
        file."""
        assert self._databases is not None
        try:
            saved = self._databases.save(name, directory_fd)
        except OSError as error:
            return FileOutcome(b"", 0, error.strerror or str(error))
        if isinstance(saved, SavedImage):
            outcome = self._outcome(name, found.status, found.attributes, saved.content, saved.size, "",
                                    format_nanoseconds(found.changed) if saved.record.sound else _NEVER)
            return outcome._replace(database=saved.record, content=tuple(saved.content) if saved.unchecked else ())
        if saved.busy:
            return FileOutcome(b"", 0, saved.problem, "DatabaseBusyError")
        raw: list[FileOutcome | None] = [None]
        small = self._begin(directory_fd, 0, name, raw, as_database=False)
        if isinstance(small, _Gathered):
            self._finish_gathered([small], raw)
        outcome = raw[0] or FileOutcome(b"", 0, saved.problem)
        if not outcome.node:
            return outcome
        node = decode_node(outcome.node)
        node.ctime = _NEVER
        return FileOutcome(encode_node(node), outcome.size, saved.problem, "DatabaseSavedRawError")

    def _begin(self, directory_fd: int, position: int, name: bytes,
               outcomes: list[FileOutcome | None], *, as_database: bool = True) -> _Gathered | _FoundDatabase | None:
        """Read a small file whole; save a large one; recognise a database. Errors of the file become
        its outcome."""
        try:
            fd = self._open(name, directory_fd)
        except OSError as error:
            outcomes[position] = FileOutcome(b"", 0, error.strerror or str(error))
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                outcomes[position] = FileOutcome(b"", 0, "it is no longer a regular file")
                return None
            if as_database and self._databases is not None and is_database_header(os.pread(fd, len(MAGIC), 0)):
                changed = newest_change(status, sibling_statuses(name, directory_fd))
                return _FoundDatabase(status, read_attributes(fd), changed)
            if status.st_size > MINIMUM_SIZE or (status.st_size == 0 and _has_content(fd)):
                outcomes[position] = self._save_large(fd, name, status)
                return None
            return self._read_small(fd, position, name, status)
        except OSError as error:
            outcomes[position] = FileOutcome(b"", 0, error.strerror or str(error))
            return None
        finally:
            os.close(fd)

    def _open(self, name: bytes, directory_fd: int) -> int:
        # Without O_NOATIME every backup would write the time of access of every file it reads; only
        # the owner and root may ask for it.
        try:
            return os.open(name, _QUIET_FLAGS, dir_fd=directory_fd)
        except PermissionError:
            if _QUIET_FLAGS == _READ_FLAGS:
                raise
            return os.open(name, _READ_FLAGS, dir_fd=directory_fd)

    def _read_small(self, fd: int, position: int, name: bytes, status: os.stat_result) -> _Gathered:
        size = status.st_size
        data = os.read(fd, size)
        while len(data) < size:
            more = os.read(fd, size - len(data))
            if not more:
                break
            data += more
        attributes = read_attributes(fd)
        after = os.fstat(fd)
        same = after.st_mtime_ns == status.st_mtime_ns and after.st_size == size == len(data)
        return _Gathered(position, name, status, data, attributes, "" if same else _change(status, after, len(data)))

    def _finish_gathered(self, gathered: list[_Gathered], outcomes: list[FileOutcome | None]) -> None:
        read = _hash(gathered, outcomes)
        self._store.store(read.ids, read.blobs())
        self._conclude(read)

    def _conclude(self, read: ReadFiles) -> list[FileOutcome]:
        """Fill in the outcomes of what is stored now."""
        outcomes = read.outcomes
        following = iter(read.ids)
        for small in read.gathered:
            content = [next(following).hex()] if small.data else []
            outcomes[small.position] = self._outcome(
                small.name, small.status, small.attributes, content, len(small.data), small.problem
            )
        return [outcome for outcome in outcomes if outcome is not None]

    def _conclude_together(self, read: ReadFiles) -> SavedFiles | None:
        """Return the nodes of small files; None where they are not all there is to say."""
        gathered = read.gathered
        if not len(gathered) == len(read.ids) == len(read.outcomes):
            return None
        if any(small.problem or small.attributes is not None for small in gathered):
            return None
        digits = b"".join(read.ids).hex()
        sizes = [len(small.data) for small in gathered]
        nodes = self._builder.encode_plain_files(
            [small.name for small in gathered], [small.status for small in gathered], sizes,
            [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)])
        return SavedFiles(nodes, sizes) if nodes else None

    def _outcome(self, name: bytes, status: os.stat_result, attributes: object,
                 content: list[str], size: int, problem: str, changed: str = "") -> FileOutcome:
        if attributes is None and not changed:
            encoded = self._builder.encode_plain_files([name], [status], [size], [BETWEEN_IDS.join(content)])
            if encoded is not None:
                return FileOutcome(encoded[0], size, problem)
        node = self._builder.build(name, status)
        node.ctime = changed or node.ctime
        node.size = size
        node.content = content
        node.extended_attributes = attributes  # type: ignore[assignment]
        return FileOutcome(encode_node(node), size, problem)

    def _save_large(self, fd: int, name: bytes, status: os.stat_result) -> FileOutcome:
        content: list[str] = []
        size = taken = 0
        # What is appended meanwhile is left out: a log that grows faster than we read would never
        # end. A size of zero says nothing (files of /proc have it), so those are read to their end.
        limit = status.st_size or None

        def read_into(view: memoryview) -> int:
            nonlocal taken
            count = os.readv(fd, [view if limit is None else view[: limit - taken]])
            taken += count
            return count

        for blob_id, length in self.save_stream(read_into):
            content.append(blob_id.hex())
            size += length
        problem = _change(status, os.fstat(fd), size) if limit is not None else ""
        return self._outcome(name, status, read_attributes(fd), content, size, problem)

    def save_stream(self, read_into: Callable[[memoryview], int]) -> Iterator[tuple[Id, int]]:
        """Save everything a source gives; yield the id and length of each chunk in order.

        Args:
            read_into: fills a view and returns how many bytes it put there; 0 at the end.
        """
        if self._buffer is None:
            self._buffer = bytearray(MAXIMUM_SIZE)
        view = memoryview(self._buffer)
        start = end = 0
        final = False
        while not final or end > start:
            end = _move_to_front(view, start, end)
            start = 0
            target = _FILL if end < _FILL else MAXIMUM_SIZE
            while not final and end < target:
                count = read_into(view[end:target])
                final = count == 0
                end += count
            lengths = list(self._chunker.lengths(view[start:end], final))
            chunks = []
            for length in lengths:
                chunks.append(view[start : start + length])
                start += length
            ids = [hash_id(chunk) for chunk in chunks]
            self._store.store(ids, chunks)
            yield from zip(ids, lengths, strict=True)


def _hash(gathered: list[_Gathered], outcomes: list[FileOutcome | None]) -> ReadFiles:
    return ReadFiles([Id(sha256(small.data).digest()) for small in gathered if small.data], gathered, outcomes)


def _move_to_front(view: memoryview, start: int, end: int) -> int:
    if start:
        view[: end - start] = view[start:end]
    return end - start


def _has_content(fd: int) -> bool:
    """Tell whether a file that claims to be empty is not."""
    try:
        return bool(os.pread(fd, 1, 0))
    except OSError:
        return False


def _change(before: os.stat_result, after: os.stat_result, read: int) -> str:
    """Say how a file changed while it was read; an empty string if it did not."""
    if read < before.st_size:
        return N_("it became shorter")
    if after.st_size != before.st_size:
        return N_("its size changed")
    if after.st_mtime_ns != before.st_mtime_ns:
        return N_("it was written to")
    return ""


def open_directory(path: bytes) -> int:
    """Return a descriptor of a directory, which may be deeper than a path may be long. The last
    component is not followed if it is a link.

    Raises:
        OSError: it is not there, no directory, or not ours to read.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if len(path) < 4000:
        return os.open(path, flags | os.O_NOFOLLOW)
    parts = path.split(b"/")
    fd = os.open(b"/" if path.startswith(b"/") else b".", flags)
    for part in parts:
        if not part:
            continue
        try:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd
